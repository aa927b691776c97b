"""`tenuto auth`: keys of the server."""

from __future__ import annotations

import click

from tenuto.cli.group import Entry, LazyGroup

__all__ = ["command"]

COMMANDS = [Entry("Commands", "create-key", "Make an API key of the server.", "auth_create_key")]


@click.group("auth", cls=LazyGroup, entries=COMMANDS)
def command() -> None:
    """Say who may do what on the server."""
