"""A group of commands of which only the one that is used gets imported."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from tenuto.cli.display import with_display_options

__all__ = ["Command", "Entry", "LazyGroup"]

_HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}


@dataclass(frozen=True, slots=True)
class Entry:
    """A command as help lists it. Its code is `command` in `tenuto.cli.MODULE`; default: its name."""

    section: str
    name: str
    help: str
    module: str = ""


class Command(click.Command):
    """A command with the options that every command has."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", _HELP_OPTIONS)
        super().__init__(*args, **kwargs)
        with_display_options(self)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples as they are: click would fill them up to paragraphs."""
        if self.epilog:
            formatter.write_paragraph()
            formatter.write(f"{self.epilog.strip()}\n")


class LazyGroup(click.Group):
    """
    A group that imports a command when it is used, and knows the others by name only.

    Args:
        entries: its commands, in the order and the sections of its help.
    """

    def __init__(self, *args: Any, entries: Sequence[Entry] = (), **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", _HELP_OPTIONS)
        super().__init__(*args, **kwargs)
        self.entries = {entry.name: entry for entry in entries}
        with_display_options(self)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; None when there is none of that name."""
        if cmd_name not in self.entries:
            return None
        module = self.entries[cmd_name].module or cmd_name
        command: click.Command = importlib.import_module(f"tenuto.cli.{module}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments begin with; UsageError naming what comes near."""
        name = args[0]
        if name not in self.entries and not name.startswith("-"):
            near = difflib.get_close_matches(name, self.entries, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"No such command {name!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by section, from their entries."""
        for section in dict.fromkeys(entry.section for entry in self.entries.values()):
            rows = [(entry.name, entry.help) for entry in self.entries.values() if entry.section == section]
            with formatter.section(section):
                formatter.write_dl(rows, col_spacing=4)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete names of commands without importing one."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(entry.name, help=entry.help)
            for entry in self.entries.values()
            if entry.name.startswith(incomplete)
        ]
        return (
            found if not incomplete.startswith("-") else click.Command.shell_complete(self, ctx, incomplete)
        )
