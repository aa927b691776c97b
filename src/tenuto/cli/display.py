"""What commands print, and how: colours, signs, streams that break."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TextIO

import click

from tenuto._base.masking import mask
from tenuto.cli.errors import Foreseen

__all__ = ["Display", "can_redraw", "display_of", "prepare_streams", "with_display_options"]

BRANCH = "└──"
ASCII_BRANCH = "|--"


class Display:
    """
    Prints results to stdout and errors to stderr.

    A reader that has gone (`tenuto history | head`) is no error: what follows is not printed.

    Attributes:
        ascii: no signs beyond ASCII.
        colour: colours where the stream is a terminal.
        debug: tracebacks in full.
    """

    def __init__(self) -> None:
        self.ascii = False
        self.colour = not os.environ.get("NO_COLOR")
        self.debug = False
        self._results: TextIO | None = None

    @property
    def branch(self) -> str:
        """The sign before lines that belong to the one above."""
        return ASCII_BRANCH if self.ascii else BRANCH

    def line(self, text: str = "", *, colour: str | None = None, end: str = "\n") -> None:
        """Print text to stdout."""
        write(sys.stdout, self.styled(text, sys.stdout, colour) + end)

    def result(self, text: str) -> None:
        """Print the result of a command to stdout, also inside `results_only`."""
        write(self._results or sys.stdout, f"{text}\n")

    @contextmanager
    def results_only(self) -> Iterator[None]:
        """Send to stderr what anybody prints meanwhile, but for `result`."""
        self._results = sys.stdout
        try:
            with redirect_stdout(sys.stderr):
                yield
        finally:
            self._results = None

    def notice(self, text: str, *, colour: str | None = "yellow") -> None:
        """Print a remark to stderr."""
        write(sys.stderr, self.styled(mask(text), sys.stderr, colour) + "\n")

    def problem(self, message: str, *remedies: str) -> None:
        """Print an error to stderr: red, and below it what to do."""
        self.notice(message, colour="red")
        for remedy in remedies:
            self.notice(remedy, colour=None)

    def traceback(self, error: BaseException) -> None:
        """Print a traceback in full, for `--debug`."""
        import traceback

        write(sys.stderr, mask("".join(traceback.format_exception(error))))

    def styled(self, text: str, stream: TextIO, colour: str | None = None, *, bold: bool = False) -> str:
        """Return text in a colour, where the stream shows colours."""
        if not (colour or bold) or not self.is_colourful(stream):
            return text
        return click.style(text, fg=colour, bold=bold or None)

    def is_colourful(self, stream: TextIO) -> bool:
        """Say whether colours may be written to a stream."""
        return self.colour and can_redraw(stream)

    def flush(self) -> None:
        """Write out what is still held back, so that Python has nothing to complain of when it ends."""
        for stream in (sys.stdout, sys.stderr):
            write(stream, "")


def can_redraw(stream: TextIO) -> bool:
    """Say whether a stream is a terminal that knows more than text."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def write(stream: TextIO, text: str) -> None:
    """
    Write text and flush.

    Raises:
        Foreseen: when it cannot be written, as on a full disk; not when its reader has gone.
    """
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        silence(stream)
    except OSError as error:
        silence(stream)
        raise Foreseen(f"The output cannot be written: {error.strerror or error}") from error


def silence(stream: TextIO) -> None:
    """Let a stream whose reader has gone swallow what follows, up to the flush at Python's end."""
    try:
        descriptor = stream.fileno()
    except (AttributeError, OSError, ValueError):
        return  # No stream of the system's: nothing will be flushed into it.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def prepare_streams(display: Display) -> None:
    """Have text that an encoding does not know escaped, and draw no signs that it does not know."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # Closed by who started us (`tenuto ... >&-`).
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # for as long as the process lasts
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    try:
        BRANCH.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        display.ascii = True


# ----------------------------------------------------------------------------------- options of every command


def display_of(context: click.Context) -> Display:
    """Return the display of a command line; a new one where nobody handed one in."""
    root = context.find_root()
    if not isinstance(root.obj, Display):
        root.obj = Display()
    return root.obj


def with_display_options(command: click.Command) -> None:
    """Give a command `--no-color`, `--ascii` and `--debug`: they may stand before and behind its name."""
    command.params += [
        _switch("--no-color", "No colours, as with the variable NO_COLOR.", "colour", False),
        _switch("--ascii", f"{ASCII_BRANCH} in place of {BRANCH}.", "ascii", True),
        _switch("--debug", "Tracebacks in full.", "debug", True),
    ]


def _switch(name: str, text: str, attribute: str, value: bool) -> click.Option:
    def apply(context: click.Context, _: click.Parameter, given: bool) -> None:
        if given:
            setattr(display_of(context), attribute, value)

    return click.Option([name], is_flag=True, is_eager=True, expose_value=False, callback=apply, help=text)
