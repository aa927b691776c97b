"""Clocks: the times that a schedule is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import count, takewhile
from typing import Any

from dateutil.rrule import rrule, rruleset

from tenuto._base.callsite import note_callsite, warn
from tenuto._base.datetimes import ensure_aware, utc_now
from tenuto.schedules.cron import check_cron, cron_times
from tenuto.schedules.zones import instant, resolved, standard

__all__ = ["Clock", "ClockEvent", "CronClock", "DatesClock", "IntervalClock", "RRuleClock"]

_ANCHOR = datetime(2019, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)


class ClockEvent:
    """
    One time of a clock.

    Args:
        start_time: when a run starts.
        parameter_defaults: name -> value, for that run.
        labels: for that run; None: those of the flow.
    """

    def __init__(
        self,
        start_time: datetime,
        parameter_defaults: Mapping[str, Any] | None = None,
        labels: Iterable[str] | None = None,
    ) -> None:
        self.start_time = start_time
        self.parameter_defaults = dict(parameter_defaults or {})
        self.labels = None if labels is None else list(labels)

    @property
    def instant(self) -> datetime:
        """The start time in UTC."""
        return instant(ensure_aware(self.start_time))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, datetime):
            return self.instant == instant(ensure_aware(other))
        if not isinstance(other, ClockEvent):
            return NotImplemented
        return (
            self.instant == other.instant
            and self.parameter_defaults == other.parameter_defaults
            and self.labels == other.labels
        )

    def __hash__(self) -> int:
        return hash(self.instant)

    def __lt__(self, other: ClockEvent | datetime) -> bool:
        return self.instant < _instant_of(other)

    def __gt__(self, other: ClockEvent | datetime) -> bool:
        return self.instant > _instant_of(other)

    def __repr__(self) -> str:
        return f"<{self.start_time},{self.labels},{self.parameter_defaults}>"


def _instant_of(value: ClockEvent | datetime) -> datetime:
    return value.instant if isinstance(value, ClockEvent) else instant(ensure_aware(value))


class Clock:
    """
    Base of the clocks. One of your own defines `times`, or `events`.

    Args:
        start_date: no event is before it. Its zone is that of the events; without one it is taken as UTC.
        end_date: no event is after it.
        parameter_defaults: name -> value, for the runs that it starts.
        labels: for the runs that it starts; None: those of the flow.

    Raises:
        ValueError: if a date is no datetime, or the end lies before the start.
    """

    def __init__(
        self,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        parameter_defaults: Mapping[str, Any] | None = None,
        labels: Iterable[str] | None = None,
    ) -> None:
        self.start_date = _date("start_date", start_date)
        self.end_date = _date("end_date", end_date)
        if self.start_date and self.end_date and instant(self.end_date) < instant(self.start_date):
            raise note_callsite(
                ValueError(f"The end_date {self.end_date} lies before the start_date {self.start_date}.")
            )
        if isinstance(labels, str):
            raise note_callsite(TypeError(f"labels must be a list of texts, not the text {labels!r}."))
        self.parameter_defaults = dict(parameter_defaults or {})
        self.labels = None if labels is None else list(labels)

    def times(self, since: datetime) -> Iterator[datetime]:
        """
        Yield this clock's times from `since` (aware, inclusive) on, earliest first.

        Start and end date have been seen to already.
        """
        raise NotImplementedError(f"{type(self).__name__} defines neither `times` nor `events`.")

    def events(self, after: datetime | None = None) -> Iterator[ClockEvent]:
        """
        Yield the events strictly after a time (default: now), earliest first; one at the start date counts.

        Args:
            after: taken as UTC if it has no zone.
        """
        since = instant(ensure_aware(utc_now() if after is None else after)) + _MICROSECOND
        if self.start_date is not None:
            since = max(since, instant(self.start_date))
        times = self.times(since)
        if self.end_date is not None:
            end = instant(self.end_date)
            times = takewhile(lambda time: instant(time) <= end, times)
        return (ClockEvent(time, self.parameter_defaults, self.labels) for time in times)


class IntervalClock(Clock):
    """
    A time each interval, counted from the start date, or from 2019-01-01 UTC without one.

    Intervals of a day and more follow the wall clock of the start date's zone: a daily clock stays at nine
    when clocks change. Shorter ones follow elapsed time.

    Args:
        interval: positive.
        start_date, end_date, parameter_defaults, labels: as for `Clock`.

    Raises:
        TypeError: if the interval is no timedelta.
        ValueError: if it is not positive.
    """

    def __init__(
        self,
        interval: timedelta,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        parameter_defaults: Mapping[str, Any] | None = None,
        labels: Iterable[str] | None = None,
    ) -> None:
        if not isinstance(interval, timedelta):
            raise note_callsite(TypeError("Interval must be a timedelta."))
        if interval <= timedelta(0):
            raise note_callsite(ValueError("Interval must be greater than 0."))
        super().__init__(start_date, end_date, parameter_defaults, labels)
        self.interval = interval

    def times(self, since: datetime) -> Iterator[datetime]:
        """Yield this clock's times from `since` on."""
        start = self.start_date or _ANCHOR
        # Two before the first that can be due, as clocks may have gone forward or back by a day meanwhile.
        first = (since - instant(start)) // self.interval - 2
        last = None
        try:
            for k in count(max(first, 0) if self.start_date else first):
                time = self._time(start, k)
                at = instant(time)
                if at >= since and at != last:
                    yield time
                    last = at
        except OverflowError:
            return  # The calendar ends with the year 9999.

    def _time(self, start: datetime, k: int) -> datetime:
        zone = start.tzinfo
        assert zone is not None
        if k == 0:
            return start
        if self.interval < _DAY:
            return (instant(start) + k * self.interval).astimezone(zone)
        return resolved(start.replace(tzinfo=None, fold=0) + k * self.interval, zone)


class CronClock(Clock):
    """
    The times of a cron text, in the zone of the start date, or UTC without one.

    On the nights when clocks change, an entry with fixed hours fires once: the first of two times, and right
    after a gap. One with `*` or a step in the hour field fires whenever clocks show a time that matches.

    Args:
        cron: five fields (minute, hour, day of the month, month, day of the week), six (with the second
            last), or a name such as `@daily`.
        day_or: whether one of the two day fields is enough when both are given; False: both must match.
        start_date, end_date, parameter_defaults, labels: as for `Clock`.

    Raises:
        ValueError: if the text is no cron text, naming the field; or if no date matches it.
    """

    def __init__(
        self,
        cron: str,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        parameter_defaults: Mapping[str, Any] | None = None,
        labels: Iterable[str] | None = None,
        day_or: bool | None = None,
    ) -> None:
        self.cron = cron
        self.day_or = True if day_or is None else day_or
        try:
            check_cron(cron, self.day_or)
        except ValueError as error:
            raise note_callsite(error) from error.__cause__
        super().__init__(start_date, end_date, parameter_defaults, labels)

    def times(self, since: datetime) -> Iterator[datetime]:
        """Yield this clock's times from `since` on."""
        zone: tzinfo = (self.start_date and self.start_date.tzinfo) or UTC
        return cron_times(self.cron, self.day_or, zone, since)


class DatesClock(Clock):
    """
    Times that are given one by one.

    Args:
        dates: in any order; those without a zone are taken as UTC.
        parameter_defaults, labels: as for `Clock`.

    Raises:
        ValueError: if there are none, or one is no datetime.
    """

    def __init__(
        self,
        dates: Iterable[datetime],
        parameter_defaults: Mapping[str, Any] | None = None,
        labels: Iterable[str] | None = None,
    ) -> None:
        found = [date for date in (_date("dates", date) for date in dates) if date is not None]
        if not found:
            raise note_callsite(ValueError("A DatesClock needs at least one date."))
        self.dates = sorted(found, key=instant)
        super().__init__(self.dates[0], self.dates[-1], parameter_defaults, labels)

    def times(self, since: datetime) -> Iterator[datetime]:
        """Yield this clock's times from `since` on."""
        return (date for date in self.dates if instant(date) >= since)


class RRuleClock(Clock):
    """
    The times of a recurrence rule of `dateutil`.

    Args:
        rrule_obj: if its dates have a zone, they keep it, and their wall time when clocks change; else they
            are taken as UTC.
        start_date, end_date, parameter_defaults, labels: as for `Clock`.

    Raises:
        TypeError: if it is no rule, or some of its dates have a zone and others have none.
    """

    def __init__(
        self,
        rrule_obj: rrule | rruleset,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        parameter_defaults: Mapping[str, Any] | None = None,
        labels: Iterable[str] | None = None,
    ) -> None:
        if not isinstance(rrule_obj, rrule | rruleset):
            raise note_callsite(
                TypeError(f"rrule_obj must be an rrule or rruleset, not {type(rrule_obj).__name__}.")
            )
        super().__init__(start_date, end_date, parameter_defaults, labels)
        self.rrule_obj = rrule_obj

    def events(self, after: datetime | None = None) -> Iterator[ClockEvent]:
        """Yield the events strictly after a time, or from now on if none is given (R-CLOCK-16)."""
        return super().events(utc_now() - _MICROSECOND if after is None else after)

    def times(self, since: datetime) -> Iterator[datetime]:
        """Yield this clock's times from `since` on."""
        last = None
        for date in self._dates(since):
            time = resolved(date.replace(tzinfo=None, fold=0), date.tzinfo) if date.tzinfo else date
            at = instant(ensure_aware(time))
            if at >= since and at != last:
                yield ensure_aware(time)
                last = at

    def _dates(self, since: datetime) -> Iterator[datetime]:
        """Yield the rule's dates from a day before `since` on: what a gap moves forward may be due."""
        try:
            first = next(iter(self.rrule_obj), None)
        except TypeError as error:
            raise TypeError(
                "Some dates of the rule have a time zone and others have none; give all of them one."
            ) from error
        if first is None:
            return iter(())
        since -= _DAY
        since = since.replace(tzinfo=None) if first.tzinfo is None else since.astimezone(first.tzinfo)
        dates: Iterator[datetime] = self.rrule_obj.xafter(since, inc=True)
        return dates


def _date(name: str, value: object) -> datetime | None:
    """Check a date that was given, and return it as a standard datetime with a zone."""
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise note_callsite(ValueError(f"{name} must be a datetime, not {value!r}."))
    if value.tzinfo is None or value.utcoffset() is None:
        warn(
            f"{name} has no time zone and is taken as UTC; give it one, such as datetime(2026, 1, 31, "
            "tzinfo=ZoneInfo('Europe/Berlin'))."
        )
        return value.replace(tzinfo=UTC)
    return standard(value)
