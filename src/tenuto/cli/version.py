"""`tenuto version`."""

from __future__ import annotations

import click

from tenuto.cli.display import display_of
from tenuto.cli.group import Command

__all__ = ["command"]


@click.command("version", cls=Command)
@click.option("--full", is_flag=True, help="Also those of Python and of the machine.")
@click.pass_context
def command(context: click.Context, full: bool) -> None:
    """Print the version."""
    from tenuto import __version__

    display = display_of(context)
    if not full:
        display.line(__version__)
        return
    import platform

    display.line(f"tenuto    {__version__}")
    display.line(f"Python    {platform.python_version()} ({platform.python_implementation()})")
    display.line(f"Platform  {platform.platform()}")
