"""The command `tenuto`: parse, call, print. Each command is a module, imported only when it is used."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command line and return its exit code.

    0 is done, 1 failed, 2 wrong usage, 5 not found, 130 interrupted.

    Args:
        arguments: without the program's name; default: those of this process.
    """
    from tenuto.cli.app import execute

    return execute(arguments)
