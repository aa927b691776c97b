"""`tenuto server`: the server of this machine."""

from __future__ import annotations

import click

from tenuto.cli.group import Entry, LazyGroup

__all__ = ["command"]

COMMANDS = [
    Entry("Commands", "start", "Start the server, in the foreground.", "server_start"),
    Entry("Commands", "open", "Open the server in the browser.", "server_open"),
]


@click.group("server", cls=LazyGroup, entries=COMMANDS)
def command() -> None:
    """Run the server that knows all runs."""
