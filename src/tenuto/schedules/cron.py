"""
Cron texts, and the moments of a zone that they stand for.

croniter says which wall times match. Which moments those are on the nights when clocks change is said here
(R-CLOCK-12): croniter's own answer fires a daily job twice when clocks go back.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo

from croniter import CroniterBadDateError, croniter

from tenuto.schedules.zones import first_after_gap, instant, is_in_gap, resolved, second_of_fold

__all__ = ["check_cron", "cron_times"]

_FIELDS = ["minute", "hour", "day of the month", "month", "day of the week", "second"]
# croniter draws `r` anew each time, and takes `h` from a name that is not there.
_DRAWN = re.compile(r"[hr](\(.*\))?(/\d+)?", re.IGNORECASE)
_A_DAY = datetime(2000, 1, 1)  # noqa: DTZ001  # a wall time
_SECOND = timedelta(seconds=1)
_MICROSECOND = timedelta(microseconds=1)


def check_cron(text: object, day_or: bool) -> None:
    """
    Refuse a text that is no cron text, or that no date matches.

    Raises:
        ValueError: naming the field that is wrong.
    """
    start = f"Invalid cron string: {text}"
    if not isinstance(text, str):
        raise ValueError(f"{start} (it must be a text, such as '0 9 * * *')")
    fields = text.split()
    is_alias = text.strip().startswith("@")
    if not is_alias:
        if len(fields) not in (5, 6):
            raise ValueError(
                f"{start} (it has {len(fields)} fields; five are needed: {', '.join(_FIELDS[:5])}; a sixth "
                "is the second)"
            )
        for position, field in enumerate(fields):
            alone = [*("*" * position), field, *("*" * (len(fields) - position - 1))]
            if _DRAWN.fullmatch(field) or not croniter.is_valid(" ".join(alone)):
                raise ValueError(f"{start} (the field for the {_FIELDS[position]}, {field!r}, is wrong)")
    if not croniter.is_valid(text):
        names = "such as @hourly, @daily, @weekly, @monthly or @yearly" if is_alias else "see crontab(5)"
        raise ValueError(f"{start} ({names})")
    try:
        croniter(text, _A_DAY, day_or=day_or).get_next()
    except CroniterBadDateError as error:
        raise ValueError(f"{start} (it never fires: no date matches)") from error


def cron_times(text: str, day_or: bool, zone: tzinfo, since: datetime) -> Iterator[datetime]:
    """
    Yield the moments of a zone that a cron text stands for, from `since` (included) on.

    An entry with fixed hours fires once a local day: the first time in a fold, and right after a gap. One
    with `*` or a step in the hour field fires whenever clocks show a time that matches.
    """
    since = instant(since)
    moments = _each_showing if _follows_elapsed_time(text) else _once_a_day
    last = None
    for moment in moments(_walls(text, _wall_before(since, zone), day_or), zone):
        at = instant(moment)
        if at >= since and at != last:
            yield moment
            last = at


def _walls(text: str, after: datetime, day_or: bool) -> Iterator[datetime]:
    """Yield the wall times that match, to the end of the calendar."""
    matches = croniter(text, after, ret_type=datetime, day_or=day_or)
    while True:
        try:
            yield matches.get_next()
        except (OverflowError, ValueError):  # After the year 9999; a text that never matches was refused.
            return


def _wall_before(moment: datetime, zone: tzinfo) -> datetime:
    """Return a wall time before all those that clocks show at or after a moment."""
    local = (moment - _MICROSECOND).astimezone(zone)
    wall = local.replace(tzinfo=None, fold=0, microsecond=0) - _SECOND
    second = second_of_fold(local.replace(tzinfo=None, fold=0), zone)
    if local.fold == 0 and second is not None:
        wall -= instant(second) - instant(local)
    return wall


def _follows_elapsed_time(text: str) -> bool:
    hours = croniter.expand(text)[0][1]
    return hours == ["*"] or (not text.strip().startswith("@") and "/" in text.split()[1])


def _once_a_day(walls: Iterator[datetime], zone: tzinfo) -> Iterator[datetime]:
    for wall in walls:
        moment = first_after_gap(wall, zone) if is_in_gap(wall, zone) else resolved(wall, zone)
        if moment is not None:
            yield moment


def _each_showing(walls: Iterator[datetime], zone: tzinfo) -> Iterator[datetime]:
    # Second showings wait until the first ones of the wall times before them are out.
    waiting: list[tuple[datetime, datetime]] = []
    for wall in walls:
        if is_in_gap(wall, zone):
            continue
        moment, second = resolved(wall, zone), second_of_fold(wall, zone)
        while waiting and waiting[0][0] < instant(moment):
            yield heapq.heappop(waiting)[1]
        yield moment
        if second is not None:
            heapq.heappush(waiting, (instant(second), second))
    yield from (moment for _, moment in sorted(waiting))
