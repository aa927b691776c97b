"""Which times of a schedule get a run now, and which of those that were missed are run late. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import msgspec

from tenuto.schedules.clocks import ClockEvent
from tenuto.schedules.schedules import Schedule
from tenuto.server.domain.timings import Timings

__all__ = ["CatchUp", "Late", "clock_key", "missed", "times_ahead"]

FEW = 10
# Beyond so many in one look the rest waits for the next: a schedule of every second that stood for a year
# must not fill the memory.
TIMES_MAX = 1_000

CatchUp = Literal["all", "latest", "none"]
_canonical = msgspec.json.Encoder(order="sorted")


def times_ahead(schedule: Schedule, since: datetime, now: datetime, timings: Timings) -> list[ClockEvent]:
    """
    Return the events that have a run from now on (reliability 3.15).

    Args:
        schedule: whose.
        since: up to then they have; aware.
        now: the time.

    Returns:
        All up to the horizon, those that were missed included, and after it a few within a day; the earliest
        1,000 of them.
    """
    horizon = now + timings.horizon
    found: list[ClockEvent] = []
    few = 0
    for event in schedule.events(since, now + timings.horizon_few):
        few += event.instant > horizon
        if few > FEW or len(found) == TIMES_MAX:
            break
        found.append(event)
    return found


def clock_key(event: ClockEvent) -> str:
    """Return what tells the runs of one time apart: two clocks may fire together (R-BE-65)."""
    labels = None if event.labels is None else sorted(event.labels)
    return hashlib.sha256(_canonical.encode([event.parameter_defaults, labels])).hexdigest()[:32]


class Late(NamedTuple):
    """A run that waits although its time has come: its id and its time."""

    run_id: str
    due: datetime


def missed(late: Sequence[Late], policy: CatchUp, grace: timedelta, now: datetime) -> list[Late]:
    """
    Return which runs of a schedule are too late to start, of those that wait (R-BE-71).

    Args:
        late: all runs of the schedule that are due.
        policy: `all`: every one is run, however late; `latest`: the newest; `none`: none.
        grace: up to so late a run is as good as on time.
        now: the time.
    """
    if policy == "all":
        return []
    too_late = sorted((run for run in late if run.due < now - grace), key=lambda run: run.due)
    if policy == "none":
        return too_late
    # One that is on time is newer than all of them.
    newest_is_on_time = len(too_late) < len(late)
    return too_late if newest_is_on_time else too_late[:-1]
