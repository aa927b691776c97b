"""
Adjustments: where a schedule's times are moved once they have passed its filters.

An adjustment is a function datetime -> datetime.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from tenuto.schedules.zones import instant, resolved

__all__ = ["add", "next_weekday"]

_SATURDAY = 5
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Add:
    """What `add` returns; a value and not a closure, so that schedules can be pickled and described."""

    interval: timedelta

    def __call__(self, dt: datetime) -> datetime:
        """Return the later time."""
        if self.interval % _DAY:
            return (instant(dt) + self.interval).astimezone(dt.tzinfo)
        return _days_later(dt, self.interval // _DAY)


def add(interval: timedelta) -> Add:
    """Move times by an interval: by the wall clock if it is of whole days, else by elapsed time."""
    return Add(interval)


def next_weekday(dt: datetime) -> datetime:
    """Move Saturday and Sunday to Monday, at the same time of day."""
    weekday = dt.weekday()
    return dt if weekday < _SATURDAY else _days_later(dt, 7 - weekday)


def _days_later(dt: datetime, days: int) -> datetime:
    if dt.tzinfo is None:
        return dt + timedelta(days=days)
    return resolved(dt.replace(tzinfo=None, fold=0) + timedelta(days=days), dt.tzinfo)
