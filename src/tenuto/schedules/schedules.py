"""Schedules: clocks, filtered and adjusted."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from functools import reduce
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any, Literal, overload

from tenuto._base.callsite import note_callsite
from tenuto._base.datetimes import ensure_aware, utc_now
from tenuto.schedules.clocks import Clock, ClockEvent, CronClock, IntervalClock, RRuleClock
from tenuto.schedules.zones import instant

if TYPE_CHECKING:
    from dateutil.rrule import rrule, rruleset

__all__ = ["CronSchedule", "IntervalSchedule", "RRuleSchedule", "Schedule"]

CANDIDATES_MAX = 10_000


class Schedule:
    """
    When runs of a flow start: the events of all clocks that pass the filters, moved by the adjustments.

    Args:
        clocks: their events are merged in order of time; equal ones count once.
        filters: functions datetime -> bool; all must be true.
        or_filters: at least one must be true, if there are any.
        not_filters: none may be true.
        adjustments: functions datetime -> datetime, applied one after the other.

    Raises:
        TypeError: if one of them is not a list of such things.
    """

    def __init__(
        self,
        clocks: Iterable[Clock],
        filters: Iterable[Callable[[datetime], bool]] | None = None,
        or_filters: Iterable[Callable[[datetime], bool]] | None = None,
        not_filters: Iterable[Callable[[datetime], bool]] | None = None,
        adjustments: Iterable[Callable[[datetime], datetime]] | None = None,
    ) -> None:
        self.clocks = _listed("clocks", clocks, lambda clock: callable(getattr(clock, "events", None)))
        self.filters = _listed("filters", filters or (), callable)
        self.or_filters = _listed("or_filters", or_filters or (), callable)
        self.not_filters = _listed("not_filters", not_filters or (), callable)
        self.adjustments = _listed("adjustments", adjustments or (), callable)

    @property
    def start_date(self) -> datetime | None:
        """The earliest start date of the clocks, None if none has one."""
        return min((clock.start_date for clock in self.clocks if clock.start_date), key=instant, default=None)

    @property
    def end_date(self) -> datetime | None:
        """The latest end date of the clocks, None if none has one."""
        return max((clock.end_date for clock in self.clocks if clock.end_date), key=instant, default=None)

    @overload
    def next(
        self, n: int, after: datetime | None = None, return_events: Literal[False] = False
    ) -> list[datetime]: ...

    @overload
    def next(
        self, n: int, after: datetime | None = None, *, return_events: Literal[True]
    ) -> list[ClockEvent]: ...

    @overload
    def next(
        self, n: int, after: datetime | None = None, return_events: bool = False
    ) -> list[datetime] | list[ClockEvent]: ...

    def next(
        self, n: int, after: datetime | None = None, return_events: bool = False
    ) -> list[datetime] | list[ClockEvent]:
        """
        Return up to `n` next times, earliest first.

        Args:
            n: how many.
            after: all are strictly after it; default: now. Taken as UTC if it has no zone.
            return_events: return `ClockEvent`s, which carry parameter defaults and labels.

        Returns:
            Fewer if the clocks end, or if filters let too few of their next 10,000 times through.
        """
        since = ensure_aware(utc_now() if after is None else after)
        # What is moved back to before `after` is no next time: asked again and again, it would stay the next.
        events = self.events(since, candidates_max=CANDIDATES_MAX)
        events = (event for event in events if event.instant > instant(since))
        found = sorted(islice(events, max(n, 0)), key=lambda event: event.instant)
        return found if return_events else [event.start_time for event in found]

    def events(
        self, after: datetime, until: datetime | None = None, candidates_max: int | None = None
    ) -> Iterator[ClockEvent]:
        """
        Yield the events in a range of time, filtered and adjusted.

        Pure: nothing but the schedule and the range decides, so that ranges side by side give what one range
        over both gives. An event is in the range that the time of its clock is in; adjustments may move it
        out of that.

        Args:
            after: aware; not in the range.
            until: aware; in the range. None: without end.
            candidates_max: how many times of the clocks are looked at; None: all.
        """
        candidates: Iterator[ClockEvent] = islice(self._merged(after), candidates_max)
        if until is not None:
            end = instant(until)
            candidates = takewhile(lambda event: event.instant <= end, candidates)
        return self._adjusted(event for event in candidates if self.passes(event.start_time))

    def passes(self, time: datetime) -> bool:
        """Say whether a time passes the filters."""
        return (
            all(test(time) for test in self.filters)
            and (not self.or_filters or any(test(time) for test in self.or_filters))
            and not any(test(time) for test in self.not_filters)
        )

    def why_none(self, after: datetime) -> str:
        """Return a sentence on why `next` finds nothing after a time."""
        if not self.clocks:
            return "Its schedule has no clocks."
        if next(self._merged(after), None) is None:
            return f"Its clocks have no time after {after:%Y-%m-%d %H:%M:%S %Z}."
        return f"None of the next {CANDIDATES_MAX:,} times of its clocks passes the filters."

    def _merged(self, after: datetime) -> Iterator[ClockEvent]:
        """Yield the clocks' events by time, at one time in the order of the clocks; equal ones once."""
        streams = [clock.events(after) for clock in self.clocks]
        return _without_repeated(heapq.merge(*streams, key=lambda event: event.instant))

    def _adjusted(self, events: Iterator[ClockEvent]) -> Iterator[ClockEvent]:
        if not self.adjustments:
            return events
        return _without_repeated(
            ClockEvent(
                reduce(lambda time, adjust: adjust(time), self.adjustments, event.start_time),
                event.parameter_defaults,
                event.labels,
            )
            for event in events
        )

    def __repr__(self) -> str:
        return f"<Schedule: {', '.join(type(clock).__name__ for clock in self.clocks) or 'no clocks'}>"


def _without_repeated(events: Iterator[ClockEvent]) -> Iterator[ClockEvent]:
    """Leave out events that are equal to an earlier one at the same time."""
    at_one_time: list[ClockEvent] = []
    for event in events:
        if at_one_time and at_one_time[0].instant != event.instant:
            at_one_time = []
        if event not in at_one_time:
            at_one_time.append(event)
            yield event


def _listed(name: str, values: Any, is_one: Callable[[Any], bool]) -> list[Any]:
    what = "clocks" if name == "clocks" else "functions"
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise note_callsite(TypeError(f"{name} should be a list of {what}."))
    found = list(values)
    for value in found:
        if not is_one(value):
            raise note_callsite(TypeError(f"{name} should be a list of {what}; {value!r} is none."))
    return found


def IntervalSchedule(
    start_date: datetime | None = None, interval: timedelta | None = None, end_date: datetime | None = None
) -> Schedule:
    """Return a schedule with one `IntervalClock`. The start date comes first."""
    # What is missing is told by the clock.
    return Schedule([IntervalClock(interval, start_date, end_date)])  # type: ignore[arg-type]


def CronSchedule(
    cron: str,
    start_date: datetime | None = None,
    end_date: datetime | None = None,
    day_or: bool | None = None,
) -> Schedule:
    """Return a schedule with one `CronClock`."""
    return Schedule([CronClock(cron, start_date, end_date, day_or=day_or)])


def RRuleSchedule(
    rrule_obj: rrule | rruleset, start_date: datetime | None = None, end_date: datetime | None = None
) -> Schedule:
    """Return a schedule with one `RRuleClock`."""
    return Schedule([RRuleClock(rrule_obj, start_date, end_date)])
