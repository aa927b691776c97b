"""Schedules: clocks merged, filtered and adjusted (R-SCHED, R-FILTER, R-ADJ)."""

import pickle
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import DAILY, rrule
from hypothesis import given, settings
from hypothesis import strategies as st

from tenuto.schedules import (
    CronSchedule,
    IntervalSchedule,
    RRuleSchedule,
    Schedule,
    adjustments,
    filters,
)
from tenuto.schedules.clocks import Clock, CronClock, DatesClock, IntervalClock
from tenuto.schedules.zones import zone_named

NEW_YORK = ZoneInfo("America/New_York")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
JAN_1 = datetime(2021, 1, 1, tzinfo=UTC)  # a Friday


def test_the_example_of_the_spec() -> None:
    # spec/06 section 5; R-SCHED-7
    office = Schedule(
        clocks=[IntervalClock(interval=HOUR, start_date=JAN_1)],
        filters=[filters.is_weekday],
        or_filters=[filters.at_time(time(9)), filters.at_time(time(17))],
        not_filters=[filters.on_date(1, 5)],
    )
    assert [d.strftime("%m-%d %H") for d in office.next(5, after=JAN_1)] == [
        "01-01 09", "01-01 17", "01-04 09", "01-04 17", "01-06 09",
    ]  # fmt: skip
    two = Schedule(
        clocks=[
            CronClock("0 6 * * *", parameter_defaults={"kind": "small"}),
            CronClock("0 18 * * 0", parameter_defaults={"kind": "full"}),
        ]
    )
    events = two.next(3, after=JAN_1, return_events=True)
    assert [e.parameter_defaults["kind"] for e in events] == ["small", "small", "small"]
    assert [e.parameter_defaults["kind"] for e in two.next(4, JAN_1, return_events=True)][3:] == ["full"]
    once = Schedule(clocks=[DatesClock([JAN_1 + timedelta(days=40)])])
    assert once.next(5, after=JAN_1) == [JAN_1 + timedelta(days=40)]
    late = Schedule(clocks=[IntervalClock(DAY, start_date=JAN_1)], adjustments=[adjustments.next_weekday])
    assert late.next(1, after=JAN_1)[0].strftime("%a") == "Mon"


def test_helpers_make_schedules_of_one_clock() -> None:
    hours = IntervalSchedule(JAN_1, HOUR, JAN_1 + 2 * HOUR)
    assert len(hours.next(9, after=JAN_1)) == 2
    assert CronSchedule("30 4 * * *").next(1, after=JAN_1)[0].hour == 4
    assert CronSchedule("0 0 1 * 5", day_or=False).next(1, after=JAN_1)[0].month == 10
    rules = RRuleSchedule(rrule(DAILY, dtstart=JAN_1), end_date=JAN_1 + DAY)
    assert rules.next(5, after=JAN_1 - HOUR) == [JAN_1, JAN_1 + DAY]
    with pytest.raises(TypeError, match="Interval must be a timedelta"):
        IntervalSchedule()


@pytest.mark.parametrize("clocks", [None, 5, "* * * * *", CronClock("@daily")])
def test_clocks_must_be_a_list(clocks: Any) -> None:
    # R-SCHED-1
    with pytest.raises(TypeError, match=r"^clocks should be a list of clocks\.") as caught:
        Schedule(clocks)
    assert __file__ in caught.value.__notes__[0]


def test_what_is_no_clock_or_filter_is_refused() -> None:
    with pytest.raises(TypeError, match=r"clocks should be a list of clocks; '\* \* \* \* \*' is none"):
        Schedule(["* * * * *"])  # type: ignore[list-item]  # that is what is refused
    with pytest.raises(TypeError, match="not_filters should be a list of functions; True is none"):
        Schedule([], not_filters=[True])  # type: ignore[list-item]  # that is what is refused
    with pytest.raises(TypeError, match="filters should be a list of functions"):
        Schedule([], filters=filters.is_weekday)  # type: ignore[arg-type]  # that is what is refused


def test_no_clocks_never_fire() -> None:
    # R-SCHED-1
    assert Schedule([]).next(3) == []
    assert Schedule([]).why_none(JAN_1) == "Its schedule has no clocks."


def test_next_looks_at_ten_thousand_times_at_most() -> None:
    # R-SCHED-2
    minutes = IntervalClock(timedelta(minutes=1), JAN_1)
    never = Schedule([minutes], filters=[filters.at_time(time(9)), filters.at_time(time(10))])
    assert never.next(1, after=JAN_1) == []
    assert never.why_none(JAN_1) == "None of the next 10,000 times of its clocks passes the filters."
    daily = Schedule([minutes], filters=[filters.at_time(time(9))])
    assert len(daily.next(50, after=JAN_1)) == 7
    assert len(Schedule([minutes]).next(20_000, after=JAN_1)) == 10_000
    ended = IntervalSchedule(JAN_1, HOUR, JAN_1 + HOUR)
    assert ended.why_none(JAN_1 + DAY) == "Its clocks have no time after 2021-01-02 00:00:00 UTC."


def test_next_of_nothing_is_nothing() -> None:
    # R-SCHED-5
    assert CronSchedule("@daily").next(0) == []
    assert CronSchedule("@daily").next(-1) == []


def test_default_is_after_now() -> None:
    before = datetime.now(UTC)
    (first,) = IntervalSchedule(interval=HOUR).next(1)
    assert before < first <= datetime.now(UTC) + HOUR


def test_equal_events_are_one_and_others_keep_the_order_of_the_clocks() -> None:
    # R-SCHED-3
    b = CronClock("@daily", parameter_defaults={"x": "b"})
    a = CronClock("@daily", parameter_defaults={"x": "a"})
    other_zone = CronClock("@daily", JAN_1.astimezone(NEW_YORK))
    schedule = Schedule([b, a, b, IntervalClock(DAY), CronClock("@daily"), CronClock("@daily", labels=["l"])])
    events = schedule.next(4, after=JAN_1, return_events=True)
    assert [event.parameter_defaults for event in events] == [{"x": "b"}, {"x": "a"}, {}, {}]
    assert [event.labels for event in events] == [None, None, None, ["l"]]
    assert {event.start_time for event in events} == {JAN_1 + DAY}
    assert len(Schedule([other_zone, CronClock("@daily")]).next(4, after=JAN_1)) == 4
    same = Schedule([DatesClock([JAN_1]), DatesClock([JAN_1.astimezone(NEW_YORK)])])
    assert same.next(2, after=JAN_1 - DAY) == [JAN_1]


def test_the_repeated_hour_is_there() -> None:
    # R-SCHED-4
    start = datetime(2021, 11, 6, 23, tzinfo=NEW_YORK)
    times = IntervalSchedule(start, HOUR).next(4, after=start)
    assert [f"{time:%H%z}" for time in times] == ["00-0400", "01-0400", "01-0500", "02-0500"]


def test_dates_of_the_clocks() -> None:
    # R-SCHED-6
    one, two = IntervalClock(HOUR, JAN_1, JAN_1 + DAY), IntervalClock(HOUR, JAN_1 - DAY, JAN_1)
    schedule = Schedule([one, two, CronClock("@daily")])
    assert (schedule.start_date, schedule.end_date) == (JAN_1 - DAY, JAN_1 + DAY)
    assert (CronSchedule("@daily").start_date, CronSchedule("@daily").end_date) == (None, None)


def test_adjusted_times_are_not_repeated() -> None:
    # R-SCHED-8
    late = Schedule([IntervalClock(DAY, JAN_1)], adjustments=[adjustments.next_weekday])
    assert [f"{time:%a %d}" for time in late.next(4, after=JAN_1)] == ["Mon 04", "Tue 05", "Wed 06", "Thu 07"]


def test_what_is_moved_into_the_past_is_no_next_time() -> None:
    # Else a run on a schedule would start the same one again and again.
    early = Schedule([CronClock("0 10 * * *")], adjustments=[adjustments.add(-HOUR)])
    assert early.next(2, after=JAN_1) == [JAN_1 + 9 * HOUR, JAN_1 + DAY + 9 * HOUR]
    assert early.next(1, after=JAN_1 + 9 * HOUR) == [JAN_1 + DAY + 9 * HOUR]


def test_times_are_standard_datetimes_of_the_clocks_zone() -> None:
    # R-SCHED-9
    (time,) = CronSchedule("0 9 * * *", JAN_1.astimezone(NEW_YORK)).next(1, after=JAN_1)
    assert (type(time), time.tzinfo, time.hour) == (datetime, NEW_YORK, 9)
    assert time.isoformat() == "2021-01-01T09:00:00-05:00"


DAYS = st.integers(0, 90)


@settings(max_examples=30)
@given(DAYS, DAYS, DAYS, st.sampled_from([None, adjustments.next_weekday, adjustments.add(5 * HOUR)]))
def test_ranges_side_by_side_give_what_one_gives(a: int, b: int, c: int, adjust: Any) -> None:
    # reliability.md 3.5: a pure function of schedule and range
    start, middle, end = (JAN_1 + timedelta(days=day) for day in sorted((a, b, c)))
    schedule = Schedule(
        [CronClock("0 */7 * * *", JAN_1.astimezone(NEW_YORK)), IntervalClock(36 * HOUR)],
        filters=[filters.is_weekday],
        adjustments=[adjust] if adjust else None,
    )
    whole = list(schedule.events(start, end))
    assert list(schedule.events(start, middle)) + list(schedule.events(middle, end)) == whole
    if adjust is None:
        assert all(start < event.start_time <= end for event in whole)
        assert whole == schedule.next(len(whole), after=start, return_events=True)


def test_range_that_no_time_passes_comes_to_an_end() -> None:
    never = Schedule([IntervalClock(timedelta(minutes=1))], filters=[lambda time: False])
    assert list(never.events(JAN_1, JAN_1 + 30 * DAY)) == []


# -------------------------------------------------------------------------------- filters and adjustments


def passing(test: Callable[[datetime], bool], hours: int = 24, start: datetime = JAN_1) -> list[str]:
    return [f"{t:%m-%d %H}" for t in (start + k * HOUR for k in range(hours)) if test(t)]


@pytest.mark.parametrize(
    ("test", "hours", "expected"),
    [
        (filters.on_datetime(JAN_1 + HOUR), 24, ["01-01 01"]),
        (filters.on_datetime((JAN_1 + HOUR).astimezone(NEW_YORK)), 24, ["01-01 01"]),
        (filters.at_time(time(3)), 48, ["01-01 03", "01-02 03"]),
        (filters.between_datetimes(JAN_1 + HOUR, JAN_1 + 2 * HOUR), 24, ["01-01 01", "01-01 02"]),
        (filters.between_times(time(1), time(2)), 24, ["01-01 01", "01-01 02"]),
        (filters.between_times(time(23), time(1)), 24, ["01-01 00", "01-01 01", "01-01 23"]),
        (filters.at_time(time(0, 30)), 24, []),
    ],
)
def test_filters_of_moments(test: Any, hours: int, expected: list[str]) -> None:
    assert passing(test, hours) == expected


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        (filters.on_date(1, 5), [5]),
        (filters.between_dates(1, 3, 1, 5), [3, 4, 5]),
        (filters.between_dates(12, 30, 1, 2), [1, 2]),
        # R-FILTER-3: over New Year, within one month, too
        (filters.between_dates(1, 30, 1, 2), [1, 2, 30, 31]),
        (filters.is_weekday, [*range(1, 2), *range(4, 9), *range(11, 16), *range(18, 23), *range(25, 30)]),
        (filters.is_weekend, [2, 3, 9, 10, 16, 17, 23, 24, 30, 31]),
        (filters.is_day_of_week(0), [4, 11, 18, 25]),  # R-FILTER-2: Monday
        (filters.is_day_of_week(6), [3, 10, 17, 24, 31]),
        (filters.is_month_start, [1]),
        (filters.is_month_end, [31]),
    ],
)
def test_filters_of_days(test: Any, expected: list[int]) -> None:
    assert [day for day in range(1, 32) if test(JAN_1.replace(day=day))] == expected


def test_last_day_of_february_and_of_the_calendar() -> None:
    assert filters.is_month_end(datetime(2024, 2, 29, tzinfo=UTC))
    assert not filters.is_month_end(datetime(2024, 2, 28, tzinfo=UTC))
    assert filters.is_month_end(datetime(9999, 12, 31, tzinfo=UTC))


def test_filters_look_at_the_time_in_its_own_zone() -> None:
    # R-FILTER-1
    schedule = Schedule(
        [CronClock("0 * * * *", JAN_1.astimezone(NEW_YORK))],
        filters=[filters.between_times(time(9), time(10))],
    )
    assert [f"{t:%d %H%z}" for t in schedule.next(3, after=JAN_1)] == [
        "01 09-0500",
        "01 10-0500",
        "02 09-0500",
    ]


def test_impossible_filters_are_told_when_they_are_made() -> None:
    with pytest.raises(ValueError, match="A day of the week is 0"):
        filters.is_day_of_week(7)
    with pytest.raises(ValueError, match="There is no day 30 of month 2"):
        filters.on_date(2, 30)
    with pytest.raises(ValueError, match="There is no day 1 of month 13"):
        filters.between_dates(1, 1, 13, 1)
    assert filters.on_date(2, 29)(datetime(2024, 2, 29, tzinfo=UTC))


def test_adjustments() -> None:
    # R-ADJ-1
    saturday = datetime(2021, 11, 6, 9, tzinfo=NEW_YORK)
    assert adjustments.next_weekday(saturday).isoformat() == "2021-11-08T09:00:00-05:00"
    assert adjustments.next_weekday(JAN_1) is JAN_1
    assert adjustments.add(DAY)(saturday).isoformat() == "2021-11-07T09:00:00-05:00"
    assert adjustments.add(25 * HOUR)(saturday).isoformat() == "2021-11-07T09:00:00-05:00"
    own = Schedule(
        [CronClock("@daily")], adjustments=[lambda time: time.replace(hour=7), adjustments.add(HOUR)]
    )
    assert own.next(1, after=JAN_1) == [JAN_1 + DAY + 8 * HOUR]


def test_schedules_can_be_pickled() -> None:
    schedule = Schedule(
        [CronClock("0 */3 * * *")],
        filters=[filters.is_weekday],
        or_filters=[filters.at_time(time(9)), filters.between_times(time(10), time(13))],
        not_filters=[filters.on_date(1, 4)],
        adjustments=[adjustments.add(HOUR)],
    )
    other = pickle.loads(pickle.dumps(schedule))
    assert other.next(9, after=JAN_1) == schedule.next(9, after=JAN_1)


@pytest.mark.parametrize(
    ("name", "near"),
    [("America/NewYork", "America/New_York"), ("new york", "America/New_York"), ("berlin", "Europe/Berlin")],
)
def test_wrong_zones_get_a_suggestion(name: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"There is no time zone '{name}'. Did you mean '{near}'?"):
        zone_named(name)


@pytest.mark.parametrize("name", ["", "../etc/passwd", "Nowhere/Atall", "a\0b"])
def test_zones_that_nothing_comes_near(name: str) -> None:
    with pytest.raises(ValueError, match="There is no time zone"):
        zone_named(name)


def test_clocks_of_ones_own_may_define_events_only() -> None:
    class Twice(Clock):
        def events(self, after: datetime | None = None) -> Any:
            return islice(IntervalClock(HOUR).events(after), 2)

    assert len(Schedule([Twice()]).next(9, after=JAN_1)) == 2
