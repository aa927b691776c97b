"""Which times of a schedule get a run now, and which of those that were missed are run late. Pure."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

import msgspec

from tenuto._base.datetimes import microseconds
from tenuto.schedules.adjustments import Add
from tenuto.schedules.clocks import ClockEvent
from tenuto.schedules.schedules import Schedule
from tenuto.server.domain.timings import Timings

__all__ = ["CatchUp", "Look", "Slot", "Waiting", "clock_key", "jitters_of", "look_ahead", "missed"]

FEW = 10
# Beyond so many in one look the rest waits for the next: a schedule of every second that stood for a year
# must not fill the memory.
SLOTS_MAX = 1_000

_DAY = timedelta(days=1)

CatchUp = Literal["all", "latest", "none"]
_canonical = msgspec.json.Encoder(order="sorted")


class Slot(NamedTuple):
    """
    A time of a schedule, which has one run.

    Attributes:
        clock_key: tells the runs of one time apart.
        at: the time, in UTC.
        start: when its run may start: later by the jitter of its clock.
        event: what the clock gives to the run.
    """

    clock_key: str
    at: datetime
    start: datetime
    event: ClockEvent


@dataclass(frozen=True, slots=True)
class Look:
    """
    What one look at a schedule finds.

    Attributes:
        slots: that have a run from now on, the earliest first.
        newest_due: the start of the newest one that is due, also of those that a later look finds.
        is_complete: whether there are no more of them.
    """

    slots: list[Slot]
    newest_due: datetime | None
    is_complete: bool


def look_ahead(
    schedule: Schedule,
    *,
    jitters: Mapping[str, float],
    salt: str,
    since: datetime,
    now: datetime,
    timings: Timings,
) -> Look:
    """
    Find the times that have a run from now on (reliability 3.15).

    They are those up to the horizon, the missed ones included, and a few after it within a day. Two looks at
    one range find the same, whoever looks.

    Args:
        schedule: whose.
        jitters: seconds by the key of a clock, as `jitters_of` gives them.
        salt: what tells this schedule's jitters from those of others.
        since: up to then they have a run; aware.
        now: the time.
        timings: of the horizons.
    """
    horizon = now + timings.horizon
    slots: list[Slot] = []
    newest_due: datetime | None = None
    is_complete, few = True, 0
    for event in _events_between(schedule, since, now + timings.horizon_few):
        at = event.instant
        few += at > horizon
        is_enough = few > FEW or len(slots) >= SLOTS_MAX
        # Never between two of one time: the next look begins after that time.
        is_last = is_enough and bool(slots) and at > slots[-1].at
        key = clock_key(event.parameter_defaults, event.labels)
        start = at + _jitter(jitters.get(key, 0.0), salt, key, at)
        if start <= now:
            newest_due = start if newest_due is None else max(newest_due, start)
        if is_last:
            is_complete = at > horizon
            break
        slots.append(Slot(key, at, start, event))
    return Look(slots, newest_due, is_complete)


def _events_between(schedule: Schedule, after: datetime, until: datetime) -> Iterator[ClockEvent]:
    """
    Yield the events after a time and up to another, the earliest first.

    Adjustments move events out of the range that their clocks are asked for, and into it: clocks are asked
    for so much more as adjustments can move them.
    """
    if not schedule.adjustments:
        yield from schedule.events(after, until)
        return
    later = earlier = timedelta(0)
    for adjust in schedule.adjustments:
        # A Saturday becomes a Monday; and days have up to a day more or fewer where clocks change.
        by = adjust.interval if isinstance(adjust, Add) else 2 * _DAY
        if by > timedelta(0):
            later += by + _DAY
        else:
            earlier += _DAY - by
    events = schedule.events(after - later, until + earlier)
    found = [event for event in events if after < event.instant <= until]
    yield from sorted(found, key=lambda event: event.instant)


def clock_key(parameter_defaults: Mapping[str, Any], labels: Iterable[str] | None) -> str:
    """Return what tells the runs of one time apart: two clocks may fire together (R-BE-65)."""
    known = [parameter_defaults, None if labels is None else sorted(labels)]
    return hashlib.sha256(_canonical.encode(known)).hexdigest()[:32]


def jitters_of(described: Mapping[str, Any]) -> dict[str, float]:
    """
    Return by how many seconds the runs of each clock are spread, by the keys of the clocks (R-BE-73).

    Args:
        described: a schedule, as `tenuto.serialization.schedule` writes it; a clock may have `jitter_seconds`
            beside what is written there.

    Raises:
        ValueError: if one is no number, or less than 0.
    """
    found = {}
    for clock in described.get("clocks") or ():
        seconds = clock.get("jitter_seconds") or 0.0
        is_number = isinstance(seconds, int | float) and math.isfinite(seconds)
        if not is_number or not 0 <= seconds <= _DAY.total_seconds():
            raise ValueError(f"The jitter of a clock is a number of seconds up to a day, not {seconds!r}.")
        if seconds:
            found[clock_key(clock.get("parameter_defaults") or {}, clock.get("labels"))] = float(seconds)
    return found


def _jitter(seconds: float, salt: str, key: str, at: datetime) -> timedelta:
    """Return by how much a run starts later: at random, and the same whenever one asks."""
    if not seconds:
        return timedelta(0)
    drawn = hashlib.sha256(f"{salt} {key} {microseconds(at)}".encode()).digest()[:8]
    return timedelta(seconds=seconds * int.from_bytes(drawn) / (1 << 64))


class Waiting(NamedTuple):
    """A run that waits although its time has come: its id and its time."""

    run_id: str
    due: datetime


def missed(
    waiting: Sequence[Waiting],
    policy: CatchUp,
    grace: timedelta,
    now: datetime,
    newest_due: datetime | None = None,
) -> list[Waiting]:
    """
    Return which runs of a schedule are too late to start, of those that wait (R-BE-71).

    Args:
        waiting: all runs of the schedule that are due.
        policy: `all`: every one is run, however late; `latest`: the newest; `none`: none.
        grace: up to so late a run is as good as on time.
        now: the time.
        newest_due: the newest time that is due, whether its run waits, or is still to be made.
    """
    if policy == "all":
        return []
    too_late = sorted((run for run in waiting if run.due < now - grace), key=lambda run: run.due)
    if policy == "none" or not too_late:
        return too_late
    newest = max(run.due for run in waiting)
    if newest_due is not None:
        newest = max(newest, newest_due)
    return [run for run in too_late if run.due < newest]
