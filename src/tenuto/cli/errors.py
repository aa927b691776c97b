"""Errors that the command line foresees."""

from __future__ import annotations

import click

__all__ = ["Foreseen", "NotFound"]


class Foreseen(click.ClickException):
    """
    An error that gets one red line, lines that say what to do, and an exit code; never a traceback of ours.

    Args:
        message: what happened.
        remedies: what to do about it, a line each.
    """

    exit_code = 1

    def __init__(self, message: str, *remedies: str) -> None:
        super().__init__(message)
        self.remedies = remedies


class NotFound(Foreseen):
    """What was asked for is not there."""

    exit_code = 5
