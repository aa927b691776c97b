"""`tenuto history`: the runs recorded on this machine."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from tenuto.cli.completion import complete_flows
from tenuto.cli.display import Display, display_of
from tenuto.cli.errors import Foreseen
from tenuto.cli.group import Command
from tenuto.cli.states import chip_of, known_state
from tenuto.cli.table import Cell, print_table
from tenuto.cli.texts import age_text, local_time, printable, seconds_text, size_text

if TYPE_CHECKING:
    from tenuto.journal.home import Home
    from tenuto.journal.runs import RunSummary

__all__ = ["command"]

UNITS = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
EXAMPLES = """
Examples:

  tenuto history --flow data-engineer --state failed
  tenuto history --since 24h -o wide
  tenuto history --json --limit 100
  tenuto history --prune --dry-run
  tenuto history --ship           send what the server does not have yet
"""


def parse_since(context: click.Context, parameter: click.Parameter, text: str | None) -> datetime | None:
    """
    Return an aware time: how long ago (`24h`, `90min`, `7d`), or an ISO date-time.

    One that names no zone is local.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text.strip())
    try:
        if found and found[2] in UNITS:
            return datetime.now(UTC) - timedelta(**{UNITS[found[2]]: float(found[1])})
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter(
            f"{printable(text)!r} is no time. Write 24h, 90min, 7d or 2026-01-31 09:00."
        ) from None


def parse_state(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    """Return the name of a state, in any case, or of a cause."""
    if text is not None:
        known, near = known_state(text)
        if not known:
            hint = f" Did you mean {near!r}?" if near else ""
            raise click.BadParameter(f"{printable(text)!r} is no state of a run.{hint}")
    return text


@click.command("history", cls=Command, epilog=EXAMPLES)
@click.option("--flow", metavar="NAME", help="Only runs of this flow.", shell_complete=complete_flows)
@click.option(
    "--state", callback=parse_state, metavar="STATE", help="Only runs in this state; also: crashed."
)
@click.option(
    "--since", callback=parse_since, metavar="TIME", help="Only runs since then: 24h, 90min, 7d, or a date."
)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="As many at most.")
@click.option("--prune", is_flag=True, help="Remove what the settings `history.*` say is to go.")
@click.option("--dry-run", is_flag=True, help="With --prune: only say what would go.")
@click.option("--ship", is_flag=True, help="Send to the server the runs that it does not have yet.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "json", "jsonl", "name"]),
    default="table",
    show_default=True,
    help="Form of the list.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as -o json.")
@click.option("--no-headers", is_flag=True, help="A table without its first line.")
@click.pass_context
def command(
    context: click.Context,
    flow: str | None,
    state: str | None,
    since: datetime | None,
    limit: int,
    prune: bool,
    dry_run: bool,
    ship: bool,
    output: str,
    as_json: bool,
    no_headers: bool,
) -> None:
    """List the runs recorded on this machine, newest first."""
    from tenuto.configuration import home_path
    from tenuto.journal.home import Home
    from tenuto.journal.runs import list_runs

    display = display_of(context)
    home = Home(home_path())
    form = "json" if as_json else output
    if dry_run and not prune:
        raise click.UsageError("--dry-run needs --prune.")
    if prune and ship:
        raise click.UsageError("--prune removes runs and --ship sends them: give one of the two.")
    if ship:
        from tenuto.cli.history_ship import ship_home

        ship_home(display, home, as_json=form == "json")
        return
    if prune:
        prune_home(display, home, dry_run=dry_run, as_json=form == "json")
        return
    runs = list_runs(home, flow, state, since, limit)
    if form == "json":
        display.result(json.dumps([run.as_rest() for run in runs], indent=2, ensure_ascii=False))
    elif form == "jsonl":
        for run in runs:
            display.result(json.dumps(run.as_rest(), ensure_ascii=False))
    elif not runs:
        display.line(nothing_found(home, flow, state, since))
    elif form == "name":
        for run in runs:
            display.result(printable(run.name))
    else:
        print_runs(display, runs, wide=form == "wide", with_headers=not no_headers)


def print_runs(display: Display, runs: list[RunSummary], *, wide: bool, with_headers: bool) -> None:
    """Print the table."""
    headers = ["name", "flow", "state", "started", "duration", "resumable"]
    if wide:
        headers += ["start time", "id", "source"]
    colourful = sys.stdout.isatty()
    rows = []
    for run in runs:
        row = [
            Cell(run.name, may_be_cut=True),
            Cell(run.header.flow, may_be_cut=True),
            Cell(state_text(run), chip=chip_of(run.state) if colourful else ""),
            Cell(age_text(run.started)),
            Cell(seconds_text(run.duration_seconds)),
            Cell("yes" if is_resumable(run) else ""),
        ]
        if wide:
            row += [
                Cell(local_time(run.started)),
                Cell(run.run_id),
                Cell(run.header.source_path, may_be_cut=True),
            ]
        rows.append(row)
    print_table(display, headers, rows, with_headers=with_headers)


def state_text(run: RunSummary) -> str:
    """Return a state, with what went wrong where that was not the flow's own code."""
    return f"{run.state} ({run.cause})" if run.cause in ("crashed", "storage") else run.state


def is_resumable(run: RunSummary) -> bool:
    """Say whether `--resume` may continue a run: it has no good end, is over, and its record is whole."""
    return not run.is_successful and not run.alive and not run.incomplete


def nothing_found(home: Home, flow: str | None, state: str | None, since: datetime | None) -> str:
    """Return the sentence for an empty list; it names the filter."""
    filters = []
    if flow is not None:
        filters.append(f" of flow {flow!r}")
    if state is not None:
        filters.append(f" in state {state!r}")
    if since is not None:
        filters.append(f" since {since.astimezone().strftime('%Y-%m-%d %H:%M:%S')}")
    return f"No runs{''.join(filters)} are recorded in {printable(str(home.path))}."


def prune_home(display: Display, home: Home, *, dry_run: bool, as_json: bool) -> None:
    """Apply the limits of the settings, and say what went."""
    from tenuto.configuration import config
    from tenuto.journal.retention import prune
    from tenuto.journal.settings import RecordSettings

    try:
        report = prune(home, RecordSettings.from_config(config), dry_run=dry_run)
    except ValueError as error:
        raise Foreseen(
            f"A setting cannot be used: {error}", "See the settings with: tenuto config"
        ) from error
    except OSError as error:
        raise Foreseen(f"Cannot prune {str(home.path)!r}: {error.strerror or error}") from error
    if as_json:
        found = {
            "dry_run": dry_run,
            "runs": report.runs_removed,
            "kept_results": report.kept_removed,
            "bytes": report.bytes_freed,
        }
        display.result(json.dumps(found, indent=2))
        return
    runs, kept = len(report.runs_removed), len(report.kept_removed)
    if not runs and not kept:
        display.line("Nothing to remove.")
        return
    verb = "Would remove" if dry_run else "Removed"
    display.line(
        f"{verb} {runs} {'run' if runs == 1 else 'runs'} and the kept results of {kept} "
        f"{'run' if kept == 1 else 'runs'}: {size_text(report.bytes_freed)}."
    )
