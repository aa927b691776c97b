"""
Filters: which of a schedule's times count.

A filter is a function datetime -> bool, called with the time in its own zone. Those below that take arguments
return one.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from tenuto._base.callsite import note_callsite
from tenuto._base.datetimes import ensure_aware
from tenuto.schedules.zones import instant

__all__ = [
    "at_time",
    "between_dates",
    "between_datetimes",
    "between_times",
    "is_day_of_week",
    "is_month_end",
    "is_month_start",
    "is_weekday",
    "is_weekend",
    "on_date",
    "on_datetime",
]

_FRIDAY = 4


@dataclass(frozen=True)
class Filter:
    """A filter with arguments; a value and not a closure, so that schedules can be pickled and described."""

    maker: Callable[..., Filter]
    test: Callable[..., bool]
    arguments: tuple[Any, ...]

    def __call__(self, dt: datetime) -> bool:
        """Say whether the time passes."""
        return self.test(dt, *self.arguments)


def on_datetime(dt: datetime) -> Filter:
    """Let through one moment."""
    return Filter(on_datetime, _is_on_datetime, (dt,))


def on_date(month: int, day: int) -> Filter:
    """Let through one day of each year."""
    return Filter(on_date, _is_on_date, (*_day(month, day),))


def at_time(t: time) -> Filter:
    """Let through one time of day, to the microsecond."""
    return Filter(at_time, _is_at_time, (t,))


def between_datetimes(start: datetime, end: datetime) -> Filter:
    """Let through what lies between two moments, both included."""
    return Filter(between_datetimes, _is_between_datetimes, (start, end))


def between_times(start: time, end: time) -> Filter:
    """Let through the times of day from `start` to `end`, both included; over midnight if it is earlier."""
    return Filter(between_times, _is_between_times, (start, end))


def between_dates(start_month: int, start_day: int, end_month: int, end_day: int) -> Filter:
    """Let through the days from one to another, both included; over New Year if the second is earlier."""
    return Filter(
        between_dates, _is_between_dates, (*_day(start_month, start_day), *_day(end_month, end_day))
    )


def is_day_of_week(day_of_week: int) -> Filter:
    """Let through one day of the week: 0 is Monday, 6 is Sunday."""
    if day_of_week not in range(7):
        raise note_callsite(
            ValueError(f"A day of the week is 0 (Monday) to 6 (Sunday), not {day_of_week!r}.")
        )
    return Filter(is_day_of_week, _is_on_day_of_week, (day_of_week,))


def is_weekday(dt: datetime) -> bool:
    """Say whether it is Monday to Friday."""
    return dt.weekday() <= _FRIDAY


def is_weekend(dt: datetime) -> bool:
    """Say whether it is Saturday or Sunday."""
    return not is_weekday(dt)


def is_month_start(dt: datetime) -> bool:
    """Say whether it is the first day of a month."""
    return dt.day == 1


def is_month_end(dt: datetime) -> bool:
    """Say whether it is the last day of a month."""
    return dt.day == monthrange(dt.year, dt.month)[1]


def _is_on_datetime(dt: datetime, wanted: datetime) -> bool:
    return instant(dt) == instant(ensure_aware(wanted))


def _is_on_date(dt: datetime, month: int, day: int) -> bool:
    return (dt.month, dt.day) == (month, day)


def _is_at_time(dt: datetime, t: time) -> bool:
    return dt.time() == t.replace(tzinfo=None, fold=0)


def _is_between_datetimes(dt: datetime, start: datetime, end: datetime) -> bool:
    return instant(ensure_aware(start)) <= instant(dt) <= instant(ensure_aware(end))


def _is_between_times(dt: datetime, start: time, end: time) -> bool:
    return _is_between(dt.time(), start.replace(tzinfo=None), end.replace(tzinfo=None))


def _is_between_dates(dt: datetime, start_month: int, start_day: int, end_month: int, end_day: int) -> bool:
    return _is_between((dt.month, dt.day), (start_month, start_day), (end_month, end_day))


def _is_on_day_of_week(dt: datetime, day_of_week: int) -> bool:
    return dt.weekday() == day_of_week


def _is_between(value: Any, start: Any, end: Any) -> bool:
    if start <= end:
        return bool(start <= value <= end)
    return bool(value >= start or value <= end)


def _day(month: int, day: int) -> tuple[int, int]:
    try:
        date(2000, month, day)  # A leap year: the 29th of February is a day of some years.
    except (ValueError, TypeError) as error:
        raise note_callsite(ValueError(f"There is no day {day!r} of month {month!r}: {error}.")) from None
    return month, day
