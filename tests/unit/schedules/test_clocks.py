"""Clocks: which times they have (R-CLOCK)."""

import copy
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dateutil import tz
from dateutil.rrule import DAILY, HOURLY, rrule, rruleset

from tenuto.schedules.clocks import Clock, ClockEvent, CronClock, DatesClock, IntervalClock, RRuleClock

NEW_YORK = ZoneInfo("America/New_York")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
EARLY = datetime(2000, 1, 1, tzinfo=UTC)


def at(*numbers: int, zone: tzinfo = NEW_YORK) -> datetime:
    return datetime(*numbers, tzinfo=zone)  # type: ignore[misc, arg-type]  # year, month, day, hour, …


def naive(*numbers: int) -> datetime:
    return at(*numbers, zone=UTC).replace(tzinfo=None)


def shown(clock: Clock, after: datetime | None = None, count: int = 5) -> list[str]:
    return [
        f"{event.start_time:%m-%d %H:%M}{event.start_time:%z}"[:-2]
        for event in islice(clock.events(after), count)
    ]


def test_base_has_no_times_of_its_own() -> None:
    with pytest.raises(NotImplementedError, match="Clock defines neither `times` nor `events`"):
        Clock().events()


def test_clock_of_ones_own_needs_times_only() -> None:
    class Midsummer(Clock):
        def times(self, since: datetime) -> Iterator[datetime]:
            return (datetime(year, 6, 21, tzinfo=UTC) for year in range(since.year + 1, 9999))

    clock = Midsummer(end_date=at(2023, 1, 1, zone=UTC), parameter_defaults={"light": True})
    assert shown(clock, at(2020, 1, 1)) == ["06-21 00:00+00", "06-21 00:00+00"]
    assert next(clock.events(EARLY)).parameter_defaults == {"light": True}


ALL_KINDS: list[Any] = [
    lambda **bounds: IntervalClock(HOUR, **bounds),
    lambda **bounds: CronClock("0 * * * *", **bounds),
    lambda **bounds: RRuleClock(rrule(HOURLY, dtstart=at(2021, 1, 1, zone=UTC)), **bounds),
]


@pytest.mark.parametrize("make", ALL_KINDS)
def test_events_are_after_a_time_and_within_start_and_end(make: Any) -> None:
    # R-CLOCK-1, R-CLOCK-2
    start, end = at(2021, 1, 1, 6, zone=UTC), at(2021, 1, 1, 9, zone=UTC)
    clock = make(start_date=start, end_date=end)
    assert shown(clock, start - DAY) == [
        "01-01 06:00+00",
        "01-01 07:00+00",
        "01-01 08:00+00",
        "01-01 09:00+00",
    ]
    assert shown(clock, start) == ["01-01 07:00+00", "01-01 08:00+00", "01-01 09:00+00"]
    assert shown(clock, end) == []


@pytest.mark.parametrize("make", ALL_KINDS)
def test_default_is_after_now(make: Any) -> None:
    before = datetime.now(UTC)
    first = next(make().events()).start_time
    assert before < first <= datetime.now(UTC) + HOUR


@pytest.mark.parametrize("make", ALL_KINDS)
def test_naive_dates_are_utc_and_warn(make: Any) -> None:
    # R-CLOCK-3
    with pytest.warns(UserWarning, match="start_date has no time zone and is taken as UTC") as caught:
        clock = make(start_date=naive(2021, 1, 1, 6))
    assert caught[0].filename == __file__
    assert clock.start_date == at(2021, 1, 1, 6, zone=UTC)
    with pytest.warns(UserWarning, match="end_date has no time zone"):
        clock = make(end_date=naive(2021, 1, 1, 6))
    assert shown(clock, naive(2021, 1, 1, 5)) == ["01-01 06:00+00"]


@pytest.mark.parametrize("make", ALL_KINDS)
def test_what_is_no_date_is_refused(make: Any) -> None:
    # R-CLOCK-3
    with pytest.raises(ValueError, match="start_date must be a datetime, not '2021-01-01'") as caught:
        make(start_date="2021-01-01")
    assert __file__ in caught.value.__notes__[0]
    with pytest.raises(ValueError, match=r"The end_date 2020-.* lies before the start_date 2021-"):
        make(start_date=at(2021, 1, 1), end_date=at(2020, 1, 1))
    with pytest.raises(TypeError, match="not the text 'gpu'"):
        make(labels="gpu")


@pytest.mark.parametrize("make", ALL_KINDS)
def test_events_carry_defaults_and_labels(make: Any) -> None:
    # R-CLOCK-4
    plain = next(make().events(EARLY))
    assert (plain.parameter_defaults, plain.labels) == ({}, None)
    event = next(make(parameter_defaults={"x": 1}, labels=["a", "b"]).events(EARLY))
    assert (event.parameter_defaults, event.labels) == ({"x": 1}, ["a", "b"])


def test_events_compare_by_time() -> None:
    # R-CLOCK-5
    one, two = at(2021, 1, 1, zone=UTC), at(2021, 1, 2, zone=UTC)
    assert ClockEvent(one) < ClockEvent(two)
    assert ClockEvent(two) > ClockEvent(one)
    assert ClockEvent(one) < two < ClockEvent(two + HOUR)
    assert ClockEvent(one) == one == ClockEvent(one)
    assert ClockEvent(one) == ClockEvent(one.astimezone(NEW_YORK))
    assert ClockEvent(one, {"x": 1}) != ClockEvent(one, {"x": 2})
    assert ClockEvent(one, labels=["a"]) != ClockEvent(one)
    assert ClockEvent(one) != "2021-01-01"
    assert len({ClockEvent(one), ClockEvent(one.astimezone(NEW_YORK))}) == 1
    event = ClockEvent(one, {"x": 1}, ["a"])
    assert repr(event) == "<2021-01-01 00:00:00+00:00,['a'],{'x': 1}>"


def test_event_in_the_second_pass_is_not_the_one_in_the_first() -> None:
    first, second = (datetime(2021, 11, 7, 1, tzinfo=NEW_YORK, fold=fold) for fold in (0, 1))
    assert ClockEvent(first) != ClockEvent(second)
    assert ClockEvent(first) < ClockEvent(second)


# ----------------------------------------------------------------------------------------------- intervals


def test_interval_must_be_a_positive_timedelta() -> None:
    # R-CLOCK-6
    wrong: list[Any] = [None, 60, "1h"]
    for interval in wrong:
        with pytest.raises(TypeError, match=r"^Interval must be a timedelta"):
            IntervalClock(interval)
    for too_short in (timedelta(0), -HOUR):
        with pytest.raises(ValueError, match=r"^Interval must be greater than 0"):
            IntervalClock(too_short)
    assert shown(IntervalClock(timedelta(seconds=30)), at(2021, 1, 1, zone=UTC), 2) == [
        "01-01 00:00+00",
        "01-01 00:01+00",
    ]


def test_interval_without_start_falls_on_whole_ones() -> None:
    # R-CLOCK-7
    after = at(2021, 5, 5, 10, 20, zone=UTC)
    assert shown(IntervalClock(HOUR), after, 2) == ["05-05 11:00+00", "05-05 12:00+00"]
    assert shown(IntervalClock(HOUR), at(2021, 5, 5, 11, zone=UTC), 1) == ["05-05 12:00+00"]
    assert shown(IntervalClock(7 * HOUR), at(2018, 12, 31, zone=UTC), 4) == [
        "12-31 03:00+00", "12-31 10:00+00", "12-31 17:00+00", "01-01 00:00+00",
    ]  # fmt: skip
    assert IntervalClock(HOUR).start_date is None


@pytest.mark.parametrize(
    ("start", "interval", "expected"),
    [
        (at(2021, 11, 5, 9), DAY, ["11-06 09:00-04", "11-07 09:00-05", "11-08 09:00-05"]),
        (at(2021, 11, 6, 9), 36 * HOUR, ["11-07 21:00-05", "11-09 09:00-05", "11-10 21:00-05"]),
        (at(2021, 3, 13, 2, 30), 24 * HOUR, ["03-14 03:30-04", "03-15 02:30-04", "03-16 02:30-04"]),
        (at(2021, 3, 13, 23), HOUR, ["03-14 00:00-05", "03-14 01:00-05", "03-14 03:00-04", "03-14 04:00-04"]),
        (at(2021, 11, 6, 23), HOUR, ["11-07 00:00-04", "11-07 01:00-04", "11-07 01:00-05", "11-07 02:00-05"]),
        # Long after the start: days are still counted on the wall.
        (at(2021, 10, 1, 9), 36 * HOUR, ["10-02 21:00-04", "10-04 09:00-04", "10-05 21:00-04"]),
    ],
)
def test_intervals_when_clocks_change(start: datetime, interval: timedelta, expected: list[str]) -> None:
    # R-CLOCK-8
    clock = IntervalClock(interval, start)
    assert shown(clock, start, len(expected)) == expected
    assert next(clock.events(start - DAY)).start_time == start
    walls = {f"{event.start_time:%H:%M}" for event in islice(clock.events(at(2021, 12, 1)), 20)}
    if interval == 36 * HOUR:
        assert walls == {"09:00", "21:00"}


def test_day_that_a_zone_skipped_makes_no_event_twice() -> None:
    apia = ZoneInfo("Pacific/Apia")  # It had no 30th of December 2011.
    clock = IntervalClock(DAY, at(2011, 12, 28, 9, zone=apia))
    assert shown(clock, at(2011, 12, 28, 8, zone=apia)) == [
        "12-28 09:00-10", "12-29 09:00-10", "12-31 09:00+14", "01-01 09:00+14", "01-02 09:00+14",
    ]  # fmt: skip
    cron = CronClock("0 9 * * *", at(2011, 12, 28, zone=apia))
    assert shown(cron, at(2011, 12, 28, 8, zone=apia)) == shown(clock, at(2011, 12, 28, 8, zone=apia))


def test_calendar_ends_and_so_do_clocks() -> None:
    last = at(9999, 12, 30, zone=UTC)
    for clock in (IntervalClock(DAY), CronClock("0 0 * * *"), RRuleClock(rrule(DAILY, dtstart=last))):
        assert len(list(clock.events(last))) <= 1


# ---------------------------------------------------------------------------------------------------- cron


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("30 4 * * *", ["01-01 04:30+00", "01-02 04:30+00"]),
        ("@daily", ["01-02 00:00+00", "01-03 00:00+00"]),
        ("@hourly", ["01-01 01:00+00", "01-01 02:00+00"]),
        ("0 9 * * mon-fri", ["01-01 09:00+00", "01-04 09:00+00"]),
        ("0 0 l * *", ["01-31 00:00+00", "02-28 00:00+00"]),
        ("0 0 * * 1#2", ["01-11 00:00+00", "02-08 00:00+00"]),
        ("0 0 29 2 *", ["02-29 00:00+00", "02-29 00:00+00"]),
    ],
)
def test_cron_texts(cron: str, expected: list[str]) -> None:
    # R-CLOCK-9
    assert shown(CronClock(cron), at(2021, 1, 1, zone=UTC), 2) == expected


def test_sixth_field_is_the_second() -> None:
    # R-CLOCK-9
    events = list(islice(CronClock("0 0 * * * 15,45").events(at(2021, 1, 1, zone=UTC)), 2))
    assert [event.start_time.second for event in events] == [15, 45]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("abc", "it has 1 fields; five are needed"),
        ("61 * * * *", "the field for the minute, '61', is wrong"),
        ("0 24 * * *", "the field for the hour, '24', is wrong"),
        ("0 0 32 * *", "the field for the day of the month, '32', is wrong"),
        ("0 0 * 13 *", "the field for the month, '13', is wrong"),
        ("0 0 * * 9", "the field for the day of the week, '9', is wrong"),
        ("0 0 * * * 60", "the field for the second, '60', is wrong"),
        ("r * * * *", "the field for the minute, 'r', is wrong"),
        ("0 h(0-7) * * *", "the field for the hour, 'h\\(0-7\\)', is wrong"),
        ("* * * * * * *", "it has 7 fields"),
        ("@often", "such as @hourly"),
        ("0 0 30 2 *", "it never fires: no date matches"),
        (5, "it must be a text"),
        ("", "it has 0 fields"),
    ],
)
def test_wrong_cron_texts_are_told_by_their_field(text: Any, part: str) -> None:
    # R-CLOCK-9
    with pytest.raises(ValueError, match=rf"^Invalid cron string: .*{part}") as caught:
        CronClock(text)
    assert __file__ in caught.value.__notes__[0]


def test_day_fields_are_ored_or_anded() -> None:
    # R-CLOCK-10
    after = at(2021, 1, 1, zone=UTC)
    either = ["01-08 00:00+00", "01-15 00:00+00", "01-22 00:00+00"]
    assert shown(CronClock("0 0 1 * 5"), after, 3) == either
    assert shown(CronClock("0 0 1 * 5", day_or=True), after, 3) == either
    both = CronClock("0 0 1 * 5", day_or=False)
    assert [f"{event.start_time:%Y-%m-%d}" for event in islice(both.events(after), 3)] == [
        "2021-10-01",
        "2022-04-01",
        "2022-07-01",
    ]


def test_cron_is_in_the_zone_of_its_start() -> None:
    # R-CLOCK-11
    start = at(2021, 1, 1, 9)
    for after in (
        at(2020, 12, 31),
        at(2020, 12, 31, zone=UTC),
        at(2020, 12, 31, zone=ZoneInfo("Asia/Tokyo")),
    ):
        assert shown(CronClock("0 9 * * *", start), after, 2) == ["01-01 09:00-05", "01-02 09:00-05"]
    assert shown(CronClock("0 9 * * *"), at(2021, 1, 1, 9), 1) == ["01-02 09:00+00"]
    late = CronClock("0 9 * * *", start + timedelta(microseconds=1))
    assert shown(late, at(2020, 12, 31), 1) == ["01-02 09:00-05"]


SPRING, AUTUMN = at(2021, 3, 13, 23, 30), at(2021, 11, 6, 23, 30)


@pytest.mark.parametrize(
    ("cron", "night", "expected"),
    [
        ("0 9 * * *", SPRING, ["03-14 09:00-04", "03-15 09:00-04"]),
        ("0 9 * * *", AUTUMN, ["11-07 09:00-05", "11-08 09:00-05"]),
        ("0 * * * *", SPRING, ["03-14 00:00-05", "03-14 01:00-05", "03-14 03:00-04"]),
        ("@hourly", SPRING, ["03-14 00:00-05", "03-14 01:00-05", "03-14 03:00-04"]),
        ("0 * * * *", AUTUMN, ["11-07 00:00-04", "11-07 01:00-04", "11-07 01:00-05", "11-07 02:00-05"]),
        ("0 0-23 * * *", AUTUMN, ["11-07 00:00-04", "11-07 01:00-04", "11-07 01:00-05", "11-07 02:00-05"]),
        ("0 */2 * * *", SPRING, ["03-14 00:00-05", "03-14 04:00-04"]),
        ("*/30 0-2/1 * * *", AUTUMN, ["11-07 00:00-04", "11-07 00:30-04", "11-07 01:00-04", "11-07 01:30-04",
                                      "11-07 01:00-05", "11-07 01:30-05", "11-07 02:00-05"]),
        ("30 2 * * *", SPRING, ["03-14 03:00-04", "03-15 02:30-04"]),
        ("0,30 2,3 * * *", SPRING, ["03-14 03:00-04", "03-14 03:30-04", "03-15 02:00-04"]),
        ("30 1 * * *", AUTUMN, ["11-07 01:30-04", "11-08 01:30-05"]),
        ("*/20 1 * * *", AUTUMN, ["11-07 01:00-04", "11-07 01:20-04", "11-07 01:40-04", "11-08 01:00-05"]),
    ],
)  # fmt: skip
def test_cron_when_clocks_change(cron: str, night: datetime, expected: list[str]) -> None:
    # R-CLOCK-12
    assert shown(CronClock(cron, night), night, len(expected)) == expected


def test_cron_asked_between_the_two_passes() -> None:
    # R-CLOCK-12
    first, second = (datetime(2021, 11, 7, 1, 30, tzinfo=NEW_YORK, fold=fold) for fold in (0, 1))
    hourly = CronClock("30 * * * *", AUTUMN)
    assert shown(hourly, first, 2) == ["11-07 01:30-05", "11-07 02:30-05"]
    assert shown(hourly, second, 1) == ["11-07 02:30-05"]
    assert shown(CronClock("45 1 * * *", AUTUMN), first, 1) == ["11-07 01:45-04"]
    assert shown(CronClock("30 1 * * *", AUTUMN), first, 1) == ["11-08 01:30-05"]
    # A start date between the passes, and one at the end of a gap.
    assert shown(CronClock("30 * * * *", second), EARLY, 1) == ["11-07 01:30-05"]
    assert shown(CronClock("30 2 * * *", at(2021, 3, 14, 3)), EARLY, 1) == ["03-14 03:00-04"]


def test_one_iteration_has_no_limit() -> None:
    # R-CLOCK-13
    events = list(islice(CronClock("* * * * *").events(at(2021, 1, 1, zone=UTC)), 1500))
    assert events[-1].start_time == at(2021, 1, 2, 1, zone=UTC)


@pytest.mark.parametrize(
    "zone", [timezone(-5 * HOUR), UTC, tz.gettz("America/New_York"), tz.UTC, tz.tzoffset(None, -18000)]
)
def test_any_kind_of_zone_will_do(zone: tzinfo) -> None:
    # R-CLOCK-14
    start = at(2021, 1, 1, 9, zone=zone)
    for clock in (CronClock("0 9 * * *", start), IntervalClock(DAY, start)):
        events = [event.start_time for event in islice(clock.events(start - DAY), 2)]
        assert events == [start, start + DAY]
        assert events[0].utcoffset() == start.utcoffset()


def test_zone_of_dateutil_is_known_by_its_name() -> None:
    zone = tz.gettz("America/New_York")
    assert zone is not None
    start = CronClock("@daily", at(2021, 1, 1, zone=zone)).start_date
    assert start is not None
    assert start.tzinfo is NEW_YORK


class Pytz(tzinfo):
    """As pytz makes them: each instance knows one offset, and only the name tells more."""

    zone = "America/New_York"

    def utcoffset(self, dt: datetime | None) -> timedelta:
        return -4 * HOUR

    def tzname(self, dt: datetime | None) -> str:
        return "EDT"

    def dst(self, dt: datetime | None) -> timedelta:
        return HOUR


def test_zone_of_pytz_is_known_by_its_name() -> None:
    clock = IntervalClock(DAY, at(2021, 11, 5, 9, zone=Pytz()))
    assert shown(clock, at(2021, 11, 6), 2) == ["11-06 09:00-04", "11-07 09:00-05"]


# --------------------------------------------------------------------------------------------- dates, rules


def test_dates_come_in_order_after_a_time() -> None:
    # R-CLOCK-15
    days = [at(2021, 1, day, zone=UTC) for day in (3, 1, 2)]
    clock = DatesClock(days)
    assert shown(clock, at(2021, 1, 1, zone=UTC)) == ["01-02 00:00+00", "01-03 00:00+00"]
    assert (clock.start_date, clock.end_date) == (days[1], days[0])
    with pytest.raises(ValueError, match="at least one date"):
        DatesClock([])
    with pytest.raises(ValueError, match="dates must be a datetime"):
        DatesClock(["2021-01-01"])  # type: ignore[list-item]  # that is what is refused
    with pytest.warns(UserWarning, match="dates has no time zone"):
        assert DatesClock([naive(2021, 1, 1)]).dates == [at(2021, 1, 1, zone=UTC)]


def test_rules() -> None:
    # R-CLOCK-16
    with pytest.raises(TypeError, match=r"^rrule_obj must be an rrule or rruleset"):
        RRuleClock("FREQ=DAILY")  # type: ignore[arg-type]  # that is what is refused
    plain = RRuleClock(rrule(DAILY, dtstart=naive(2021, 1, 1, 9), count=3))
    assert shown(plain, EARLY) == ["01-01 09:00+00", "01-02 09:00+00", "01-03 09:00+00"]
    assert shown(plain, at(2021, 1, 1, 9, zone=UTC)) == ["01-02 09:00+00", "01-03 09:00+00"]
    aware = RRuleClock(rrule(DAILY, dtstart=at(2021, 3, 13, 2, 30)))
    assert shown(aware, EARLY, 3) == ["03-13 02:30-05", "03-14 03:30-04", "03-15 02:30-04"]
    assert shown(aware, at(2021, 3, 14, 3), 1) == ["03-14 03:30-04"]
    bounded = RRuleClock(rrule(DAILY, dtstart=naive(2021, 1, 1)), start_date=at(2021, 1, 2, zone=UTC))
    assert shown(bounded, EARLY, 1) == ["01-02 00:00+00"]
    assert shown(RRuleClock(rruleset()), EARLY) == []


def test_now_is_included_in_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    # R-CLOCK-16
    now = at(2021, 1, 2, zone=UTC)
    monkeypatch.setattr("tenuto.schedules.clocks.utc_now", lambda: now)
    assert shown(RRuleClock(rrule(DAILY, dtstart=naive(2021, 1, 1), count=3))) == [
        "01-02 00:00+00",
        "01-03 00:00+00",
    ]
    assert shown(IntervalClock(DAY), count=1) == ["01-03 00:00+00"]


def test_naive_rule_may_have_an_end() -> None:
    # R-CLOCK-17
    clock = RRuleClock(rrule(DAILY, dtstart=naive(2021, 1, 1)), end_date=at(2021, 1, 2, zone=UTC))
    assert shown(clock, EARLY) == ["01-01 00:00+00", "01-02 00:00+00"]


def test_rules_that_mix_dates_with_and_without_a_zone_are_told() -> None:
    mixed = rruleset()
    mixed.rdate(naive(2021, 1, 1))
    mixed.rrule(rrule(DAILY, dtstart=at(2021, 1, 1)))
    with pytest.raises(TypeError, match="Some dates of the rule have a time zone and others have none"):
        list(islice(RRuleClock(mixed).events(EARLY), 1))


@pytest.mark.parametrize(
    "clock",
    [
        IntervalClock(DAY, at(2021, 11, 5, 9)),
        CronClock("0 9 * * *", at(2021, 11, 5, 9)),
        DatesClock([at(2021, 11, 5, 9)]),
        RRuleClock(rrule(DAILY, dtstart=at(2021, 11, 5, 9))),
    ],
)
def test_clocks_can_be_copied_and_pickled(clock: Clock) -> None:
    for other in (copy.deepcopy(clock), pickle.loads(pickle.dumps(clock))):
        assert shown(other, EARLY) == shown(clock, EARLY)
