"""`tenuto schedule`: when flows run."""

from __future__ import annotations

import click

from tenuto.cli.group import Entry, LazyGroup

__all__ = ["command"]

COMMANDS = [Entry("Commands", "next", "Show the next times of a flow's schedule.", "schedule_next")]


@click.group("schedule", cls=LazyGroup, entries=COMMANDS)
def command() -> None:
    """Show when flows run."""
