"""`tenuto schedule next`: the next times of a flow's schedule."""

from __future__ import annotations

import json
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any

import click

from tenuto.cli.display import display_of
from tenuto.cli.errors import Foreseen
from tenuto.cli.group import Command
from tenuto.cli.loading import load_flow, module_option, path_option
from tenuto.cli.table import Cell, print_table
from tenuto.cli.texts import printable, until_text

if TYPE_CHECKING:
    from tenuto.core.flow import Flow
    from tenuto.schedules.clocks import ClockEvent

__all__ = ["command"]

EXAMPLES = """
Examples:

  tenuto schedule next -p flow.py
  tenuto schedule next -p flow.py -n 20 --after 2026-03-28
  tenuto schedule next -p flow.py --zone Europe/Berlin --json
"""


def parse_zone(context: click.Context, parameter: click.Parameter, name: str | None) -> tzinfo | None:
    """Return the zone of that name."""
    from tenuto.schedules.zones import zone_named

    try:
        return None if name is None else zone_named(name)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def parse_after(context: click.Context, parameter: click.Parameter, text: str | None) -> datetime:
    """Return an aware time; a text without a zone is local."""
    try:
        return datetime.now(UTC) if text is None else datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter(f"{printable(text or '')!r} is no time. Write 2026-01-31 09:00.") from None


@click.command("next", cls=Command, epilog=EXAMPLES)
@path_option
@module_option
@click.option("--name", help="Name of the flow, where there are several.")
@click.option(
    "-n", "count", type=click.IntRange(min=1), default=10, show_default=True, help="How many times."
)
@click.option(
    "--after", callback=parse_after, metavar="TIME", help="Times after this one, local; default: now."
)
@click.option(
    "--zone", callback=parse_zone, metavar="ZONE", help="Show them in this zone; default: that of each clock."
)
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
@click.pass_context
def command(
    context: click.Context,
    path: str | None,
    module: str | None,
    name: str | None,
    count: int,
    after: datetime,
    zone: tzinfo | None,
    as_json: bool,
) -> None:
    """Show the next times of a flow's schedule, in each clock's own zone."""
    display = display_of(context)
    events = next_events(load_flow(display, path, module, name), count, after)
    if as_json:
        objects = [as_object(event, zone) for event in events]
        display.result(json.dumps(objects, indent=2, ensure_ascii=False, default=str))
        return
    with_defaults = any(event.parameter_defaults for event in events)
    with_labels = any(event.labels is not None for event in events)
    headers = ["time", "zone", "in", *["parameters"] * with_defaults, *["labels"] * with_labels]
    rows = []
    for event in events:
        time = event.start_time if zone is None else event.start_time.astimezone(zone)
        row = [
            Cell(f"{time:%a} {time.isoformat(sep=' ')}"),
            Cell(str(time.tzinfo)),
            Cell(until_text(event.instant)),
        ]
        if with_defaults:
            row.append(Cell(json.dumps(event.parameter_defaults, ensure_ascii=False, default=repr)))
        if with_labels:
            row.append(Cell(", ".join(event.labels or ())))
        rows.append(row)
    print_table(display, headers, rows)


def next_events(flow: Flow, count: int, after: datetime) -> list[ClockEvent]:
    """
    Return the next events of a flow's schedule.

    Raises:
        Foreseen: if it has no schedule, or none comes.
    """
    if flow.schedule is None:
        raise Foreseen(
            f"The flow {flow.name!r} has no schedule.",
            "Give it one: Flow(name, schedule=CronSchedule('0 9 * * *')).",
        )
    events = flow.schedule.next(count, after=after, return_events=True)
    if not events:
        raise Foreseen(f"The flow {flow.name!r} has no more scheduled times.", flow.schedule.why_none(after))
    return events


def as_object(event: ClockEvent, zone: tzinfo | None) -> dict[str, Any]:
    """Return what `--json` shows of an event."""
    time = event.start_time if zone is None else event.start_time.astimezone(zone)
    return {
        "start_time": time.isoformat(),
        "zone": str(time.tzinfo),
        "parameter_defaults": event.parameter_defaults,
        "labels": event.labels,
    }
