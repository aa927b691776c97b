"""Tables: with colours on a terminal, plain columns elsewhere."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from tenuto.cli.display import Display
from tenuto.cli.texts import middle_cut, printable

__all__ = ["Cell", "print_table"]

NAME_WIDTH_MIN = 15
"""Nearly all names that runs are given fit, and two such columns of `tenuto history` in 80 characters."""
_GAP = 2


@dataclass(frozen=True, slots=True)
class Cell:
    """
    A text in a table.

    Attributes:
        text: shown on one line, whatever is in it.
        chip: a colour (`#rrggbb`) for the ground behind it.
        may_be_cut: where the terminal is narrow, this text loses its middle.
    """

    text: str
    chip: str = ""
    may_be_cut: bool = False
    shown: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shown", printable(self.text))


def print_table(
    display: Display, headers: Sequence[str], rows: Sequence[Sequence[Cell]], *, with_headers: bool = True
) -> None:
    """Print rows below their headers (R-CLI-5, R-CLI-6)."""
    if sys.stdout.isatty():
        print_for_terminal(display, headers, rows, with_headers)
    else:
        print_plain(display, headers, rows, with_headers)


def print_plain(
    display: Display, headers: Sequence[str], rows: Sequence[Sequence[Cell]], with_headers: bool
) -> None:
    """Print columns that are two spaces apart or more, without colours or borders."""
    lines = [[header.upper() for header in headers]] if with_headers else []
    lines += [[cell.shown for cell in row] for row in rows]
    widths = [max((len(line[column]) for line in lines), default=0) for column in range(len(headers))]
    for line in lines:
        padded = [text.ljust(width) for text, width in zip(line, widths, strict=True)]
        display.line((" " * _GAP).join(padded).rstrip())


def print_for_terminal(
    display: Display, headers: Sequence[str], rows: Sequence[Sequence[Cell]], with_headers: bool
) -> None:
    """Print a table as wide as the terminal; wider, so that lines wrap, if even cut names leave no room."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    columns = shutil.get_terminal_size().columns
    limits = limits_for([[len(cell.shown) for cell in row] for row in rows], headers, rows, columns)
    table = Table(
        box=None if display.ascii else box.SIMPLE_HEAD,
        show_header=with_headers,
        pad_edge=False,
        show_edge=False,
        header_style="bold",
    )
    for header in headers:
        table.add_column(header.upper(), no_wrap=True)
    for row in rows:
        texts = []
        for cell, limit in zip(row, limits, strict=True):
            text = middle_cut(cell.shown, limit) if cell.may_be_cut else cell.shown
            texts.append(Text(f" {text} ", style=f"#ffffff on {cell.chip}") if cell.chip else Text(text))
        table.add_row(*texts)
    colourful = display.is_colourful(sys.stdout)
    # With less room than that, Rich would shorten whatever it likes, names to nothing.
    width = max(columns, sum(limits) + (_GAP + 1) * len(limits))
    console = Console(file=sys.stdout, width=width, force_terminal=colourful, highlight=False)
    console.print(table)


def limits_for(
    widths: Sequence[Sequence[int]], headers: Sequence[str], rows: Sequence[Sequence[Cell]], columns: int
) -> list[int]:
    """Return how wide each column may be so that the whole table fits, if cutting names can make it fit."""
    limits = [
        max(len(header), *(row[number] for row in widths), 0) if widths else len(header)
        for number, header in enumerate(headers)
    ]
    cuttable = [number for number, cell in enumerate(rows[0]) if cell.may_be_cut] if rows else []
    too_much = sum(limits) + (_GAP + 1) * len(limits) - columns
    while too_much > 0 and cuttable:
        widest = max(cuttable, key=lambda number: limits[number])
        if limits[widest] <= NAME_WIDTH_MIN:
            break
        step = min(too_much, limits[widest] - NAME_WIDTH_MIN, max(1, too_much // len(cuttable)))
        limits[widest] -= step
        too_much -= step
    return limits
