"""`tenuto graph`: what a flow consists of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tenuto.cli.display import display_of
from tenuto.cli.errors import Foreseen
from tenuto.cli.group import Command
from tenuto.cli.loading import flow_options, load_flow

if TYPE_CHECKING:
    from tenuto.core.flow import Flow

__all__ = ["command"]

EXAMPLES = """
Examples:

  tenuto graph -p flow.py
  tenuto graph -p flow.py --format mermaid -o flow.md
  tenuto graph -p flow.py --format dot | dot -Tsvg > flow.svg
"""


@click.command("graph", cls=Command, epilog=EXAMPLES)
@flow_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["tree", "dot", "mermaid"]),
    default="tree",
    show_default=True,
    help="A tree of text, Graphviz or Mermaid.",
)
@click.option("-o", "--output", "output", type=click.Path(), metavar="FILE", help="Write to a file instead.")
@click.pass_context
def command(
    context: click.Context,
    path: str | None,
    module: str | None,
    name: str | None,
    form: str,
    output: str | None,
) -> None:
    """Show what a flow consists of, without running it."""
    display = display_of(context)
    flow = load_flow(display, path, module, name)
    try:
        text = drawn(flow, form)
    except ValueError as error:
        # A flow with a cycle has no order to be drawn in.
        raise Foreseen(str(error), *getattr(error, "__notes__", ())) from error
    except ImportError as error:
        raise Foreseen(str(error)) from error
    if output is None:
        display.line(text.rstrip("\n"))
        return
    try:
        with open(output, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise Foreseen(f"Cannot write {output!r}: {error.strerror or error}") from error


def drawn(flow: Flow, form: str) -> str:
    """Return the text of a flow in a form."""
    from tenuto import visualization

    if form == "dot":
        return str(visualization.dot(flow).source)
    return visualization.mermaid(flow) if form == "mermaid" else visualization.tree(flow)
