"""The root command: which commands there are, and what becomes of errors that none of them handles."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence

import click

from tenuto.cli.display import Display, display_of, prepare_streams
from tenuto.cli.errors import Foreseen
from tenuto.cli.group import Entry, LazyGroup
from tenuto.exceptions import PrefectException

__all__ = ["COMMANDS", "execute", "tenuto"]

COMMANDS = [
    Entry("Query", "history", "List the runs recorded on this machine."),
    Entry("Query", "show", "Show one run: its tasks, failures and logs."),
    Entry("Query", "graph", "Show what a flow consists of, without running it."),
    Entry("Query", "schedule", "Show when a flow runs."),
    Entry("Action", "run", "Run a flow from a file or a module."),
    Entry("Setup", "auth", "Say who may do what on the server."),
    Entry("Setup", "server", "Start the server that knows all runs."),
    Entry("Setup", "completion", "Print the script that completes commands in a shell."),
    Entry("Setup", "migrate", "Rewrite files of Prefect 1 for Tenuto."),
    Entry("Miscellaneous", "version", "Print the version."),
    Entry("Miscellaneous", "config", "Print the settings in effect, secrets hidden."),
]


def print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print the version and end, for `--version`."""
    if wanted and not context.resilient_parsing:
        from tenuto import __version__

        display_of(context).line(__version__)
        context.exit()


@click.group(cls=LazyGroup, entries=COMMANDS, invoke_without_command=True)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_version,
    help="Print the version.",
)
@click.pass_context
def tenuto(context: click.Context) -> None:
    """Write a flow, run it, keep what succeeded."""
    if context.invoked_subcommand is None:
        display_of(context).line(context.get_help())


def execute(arguments: Sequence[str] | None) -> int:
    """Run the command line and return its exit code. Nothing but the exit of Python itself gets past this."""
    display = Display()
    prepare_streams(display)
    try:
        returned = tenuto.main(arguments, prog_name="tenuto", standalone_mode=False, obj=display)
        return returned if isinstance(returned, int) else 0
    except Foreseen as error:
        report(display, error)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except PrefectException as error:
        display.problem(str(error), *getattr(error, "__notes__", ()))
        return 1
    except Exception as error:  # noqa: BLE001  # the outermost boundary: a user sees one line, not our frames
        report_unexpected(display, error)
        return 1
    finally:
        display.flush()


def report(display: Display, error: Foreseen) -> None:
    """Print an error that a command foresaw; with `--debug` also where it came from."""
    if display.debug and error.__cause__ is not None:
        display.traceback(error.__cause__)
    display.problem(error.message, *error.remedies)


def report_unexpected(display: Display, error: Exception) -> None:
    """Print an error that nobody foresaw."""
    if display.debug:
        display.traceback(error)
        return
    with contextlib.suppress(BrokenPipeError):
        display.problem(
            f"{type(error).__name__}: {error}",
            f"This is a fault of Tenuto, or of this machine. For the traceback: tenuto {_with_debug()}",
        )


def _with_debug() -> str:
    import shlex

    return shlex.join([*sys.argv[1:], "--debug"])
