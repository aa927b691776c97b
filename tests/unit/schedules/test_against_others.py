"""
Clocks against independent answers, over the changes of ten years.

A naive model walks minute by minute over the nights on which clocks change; croniter and dateutil, which know
zones themselves, answer for the days around them. Ten zones here; every zone that there is with `-m long`.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest
from croniter import croniter
from dateutil.rrule import DAILY, rrule
from dateutil.tz import resolve_imaginary

from tenuto.schedules.clocks import Clock, CronClock, IntervalClock

# Gaps at midnight (Cairo, Beirut, Asuncion), half an hour (Lord Howe), a day skipped (Apia, in 2011), Ramadan
# (Casablanca), a gap across midnight (Nuuk), none (Tokyo).
ZONES = [
    "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Cairo", "America/Asuncion",
    "America/Nuuk", "Pacific/Apia", "Africa/Casablanca", "Asia/Beirut", "Asia/Tokyo",
]  # fmt: skip
YEARS = range(2011, 2026)  # ten and a few, for Apia's day
CRONS = [
    "30 2 * * *", "0 0 * * *", "30 23 * * *", "15,45 0-3 * * 0,6", "0 1 * * *", "*/20 1 * * *", "0 * * * *",
    "*/30 * * * *", "0 */2 * * *", "5 1/2 * * *",
]  # fmt: skip
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@cache
def changes(zone: ZoneInfo) -> list[datetime]:
    """Return the hours, in UTC, in which clocks of a zone change."""
    found = []
    day = datetime(YEARS[0], 1, 1, tzinfo=UTC)
    while day.year <= YEARS[-1]:
        if day.astimezone(zone).utcoffset() != (day + DAY).astimezone(zone).utcoffset():
            hours = (day + hour * HOUR for hour in range(24))
            found += [
                hour
                for hour in hours
                if hour.astimezone(zone).utcoffset() != (hour + HOUR).astimezone(zone).utcoffset()
            ]
        day += DAY
    return found


def numbers(field: str, low: int, high: int) -> set[int]:
    """Read a field of a cron text that has nothing but numbers, lists, ranges and steps."""
    found = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        start = low if first == "*" else int(first)
        stop = int(last) if last else high if first == "*" or step else start
        found |= set(range(start, stop + 1, int(step or 1)))
    return found


Shown = list[tuple[datetime, datetime, list[datetime], bool]]


def night(zone: ZoneInfo, start: datetime, end: datetime) -> Shown:
    """
    Return what clocks show after `start`, to `end`.

    Returns:
        Each minute in UTC, the wall time then, those that were just skipped, and whether it is shown for the
        first time.
    """
    shown: set[datetime] = set()
    found: Shown = []
    moment = start - 2 * DAY
    previous = moment.astimezone(zone).replace(tzinfo=None, fold=0) - MINUTE
    while moment <= end:
        wall = moment.astimezone(zone).replace(tzinfo=None, fold=0)
        gap = (wall - previous) // MINUTE - 1
        skipped = [previous + (n + 1) * MINUTE for n in range(gap)] if gap < 24 * 60 - 1 else []
        if moment > start:
            found.append((moment, wall, skipped, wall not in shown))
        shown.add(wall)
        previous = wall
        moment += MINUTE
    return found


class Model:
    """What R-CLOCK-12 says, minute by minute."""

    def __init__(self, cron: str) -> None:
        minute, hour, _, _, weekday = cron.split()
        self.minutes, self.hours = numbers(minute, 0, 59), numbers(hour, 0, 23)
        self.weekdays = {(number - 1) % 7 for number in numbers(weekday, 0, 6)}
        self.is_fixed = "*" not in hour and "/" not in hour

    def matches(self, wall: datetime) -> bool:
        return wall.minute in self.minutes and wall.hour in self.hours and wall.weekday() in self.weekdays

    def times(self, shown: Shown) -> list[datetime]:
        if not self.is_fixed:
            return [moment for moment, wall, _, _ in shown if self.matches(wall)]
        return [
            moment
            for moment, wall, skipped, is_first in shown
            if (is_first and self.matches(wall)) or any(map(self.matches, skipped))
        ]


def times_of(clock: Clock, start: datetime, end: datetime) -> list[datetime]:
    def until_end() -> Iterator[datetime]:
        for event in clock.events(start):
            if event.instant > end:
                return
            yield event.instant

    return list(until_end())


def check_nights(name: str) -> None:
    """Compare with the model on every night that clocks change."""
    zone = ZoneInfo(name)
    for change in changes(zone):
        start, end = change - 5 * HOUR, change + 29 * HOUR
        shown = night(zone, start, end)
        for cron in CRONS:
            clock = CronClock(cron, datetime(2000, 1, 1, tzinfo=zone))
            assert times_of(clock, start, end) == Model(cron).times(shown), (name, cron, change)


def of_day(cron: str, zone: ZoneInfo, day: date) -> Iterator[datetime]:
    """Yield what croniter says of one day; older releases go wrong when they step over a change."""
    midnight = datetime.combine(day, time(), zone)
    theirs = croniter(cron, midnight, ret_type=datetime)
    while (moment := theirs.get_next()).date() == day:
        yield moment.astimezone(UTC)


def check_around(name: str, days: int) -> None:
    """Compare with libraries: croniter off the nights when clocks change, dateutil on them, too."""
    zone = ZoneInfo(name)
    for change in changes(zone):
        start, end = change - days * DAY, change + days * DAY
        for cron in ("0 9 * * *", "30 */5 * * *", "15 4 1,15 * 1-5"):
            ours = times_of(CronClock(cron, datetime(2000, 1, 1, tzinfo=zone)), start, end)
            others = [
                moment
                for day in range(-days - 2, days + 3)
                for moment in of_day(cron, zone, (change.astimezone(zone) + day * DAY).date())
                if start < moment <= end
            ]
            far = [[one for one in times if abs(one - change) > DAY] for times in (ours, others)]
            assert far[0] == far[1], (name, cron, change)
        anchor = (start - DAY).astimezone(zone).replace(fold=0, minute=30, second=0)
        for count in (1, 3):
            rule = rrule(DAILY, interval=count, dtstart=anchor, until=end)
            dates = (resolve_imaginary(date).astimezone(UTC) for date in rule)
            ours = times_of(IntervalClock(count * DAY, anchor), start, end)
            # Where a whole day is skipped, dateutil's answer is there twice.
            assert ours == sorted({date for date in dates if start < date <= end}), (name, count, change)


@pytest.mark.parametrize("name", ZONES)
def test_nights_are_as_the_model_says(name: str) -> None:
    # R-CLOCK-12
    check_nights(name)


@pytest.mark.parametrize("name", ZONES)
def test_days_around_are_as_libraries_say(name: str) -> None:
    # R-CLOCK-8, R-CLOCK-12
    check_around(name, days=4)


def test_model_knows_the_table_of_the_spec() -> None:
    # R-CLOCK-12: otherwise the comparisons above would say nothing
    zone = ZoneInfo("America/New_York")
    autumn, spring = datetime(2021, 11, 7, 4, tzinfo=UTC), datetime(2021, 3, 14, 5, tzinfo=UTC)

    def times(cron: str, start: datetime) -> list[str]:
        found = Model(cron).times(night(zone, start, start + 3 * HOUR))
        return [f"{time.astimezone(zone):%H:%M%z}" for time in found]

    assert times("0 * * * *", autumn) == ["01:00-0400", "01:00-0500", "02:00-0500"]
    assert times("30 1 * * *", autumn) == ["01:30-0400"]
    assert times("30 2 * * *", spring) == ["03:00-0400"]


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(available_timezones()))
def test_every_zone(name: str) -> None:
    # R-CLOCK-8, R-CLOCK-12
    check_nights(name)
    check_around(name, days=10)
