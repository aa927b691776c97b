"""`tenuto completion`: scripts that complete commands, and the names that they complete."""

from __future__ import annotations

from typing import Any

import click

from tenuto.cli.display import display_of
from tenuto.cli.group import Command

__all__ = ["command", "complete_flows", "complete_runs"]

RUNS_MAX = 50
INSTRUCTIONS = """
Add to ~/.bashrc, ~/.zshrc or ~/.config/fish/completions/tenuto.fish:

  bash    eval "$(tenuto completion bash)"
  zsh     eval "$(tenuto completion zsh)"
  fish    tenuto completion fish | source
"""


@click.command("completion", cls=Command, epilog=INSTRUCTIONS)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the script that completes commands, options and names of runs and flows in a shell."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    root = context.find_root()
    completion = kind(root.command, {}, "tenuto", "_TENUTO_COMPLETE")
    # Not `completion.source()`: for bash that asks the bash of this machine for its version, and complains.
    display_of(context).result(completion.source_template % completion.source_vars())


def complete_runs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[Any]:
    """Complete the name of a run: the newest ones."""
    from click.shell_completion import CompletionItem

    runs = {run.name: f"{run.header.flow}, {run.state}" for run in reversed(_newest_runs())}
    names = reversed([(name, text) for name, text in runs.items() if name.startswith(incomplete)])
    return [CompletionItem(name, help=text) for name, text in names]


def complete_flows(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a flow that has run."""
    names = dict.fromkeys(run.header.flow for run in _newest_runs())
    return [name for name in names if name.startswith(incomplete)]


def _newest_runs() -> list[Any]:
    try:
        from tenuto.configuration import home_path
        from tenuto.journal.home import Home
        from tenuto.journal.runs import list_runs

        return list_runs(Home(home_path()), limit=RUNS_MAX)
    except Exception:  # noqa: BLE001  # whatever is wrong with the home: a key pressed in a shell must not print it
        return []
