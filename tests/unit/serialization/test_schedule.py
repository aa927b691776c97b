"""Schedules to JSON and back."""

import json
from datetime import UTC, datetime, time, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import DAILY, WEEKLY, rrule, rruleset

from tenuto import Flow
from tenuto.schedules import CronSchedule, IntervalSchedule, RRuleSchedule, Schedule, adjustments, filters
from tenuto.schedules.clocks import Clock, CronClock, DatesClock, IntervalClock
from tenuto.serialization.schedule import (
    datetime_from_text,
    datetime_text,
    schedule_from_dict,
    schedule_to_dict,
)

NEW_YORK = ZoneInfo("America/New_York")
NIGHT = datetime(2021, 11, 6, 20, tzinfo=NEW_YORK)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def naive(*numbers: int) -> datetime:
    return datetime(*numbers, tzinfo=UTC).replace(tzinfo=None)  # type: ignore[misc, arg-type]  # year, month, day


def a_set() -> rruleset:
    found = rruleset()
    found.rrule(rrule(DAILY, dtstart=NIGHT, until=NIGHT + 30 * DAY))
    found.exrule(rrule(WEEKLY, dtstart=NIGHT + DAY))
    found.rdate(NIGHT + 40 * DAY)
    found.exdate(NIGHT + 2 * DAY)
    return found


SCHEDULES = {
    "hours": IntervalSchedule(NIGHT, HOUR, NIGHT + 9 * HOUR),
    "days": IntervalSchedule(NIGHT, timedelta(days=1, microseconds=1)),
    "cron": CronSchedule("30 1 * * *", NIGHT),
    "no start": CronSchedule("0 0 1 * 5", day_or=False),
    "offset": CronSchedule("@daily", datetime(2021, 1, 1, tzinfo=timezone(-5 * HOUR))),
    "rule": RRuleSchedule(rrule(DAILY, dtstart=NIGHT, until=NIGHT + 9 * DAY, byhour=(1, 2)), None, NIGHT),
    "naive rule": RRuleSchedule(rrule(WEEKLY, dtstart=naive(2021, 11, 1), count=5)),
    "set": RRuleSchedule(a_set()),
    "all": Schedule(
        [
            IntervalClock(HOUR, NIGHT, parameter_defaults={"x": [1, None, "a"]}, labels=["gpu"]),
            CronClock("*/7 * * * *", NIGHT),
            DatesClock([NIGHT + DAY, NIGHT + HOUR], labels=[]),
        ],
        filters=[filters.is_weekend, filters.between_datetimes(NIGHT, NIGHT + 99 * DAY)],
        or_filters=[
            filters.between_times(time(1), time(4, 30)),
            filters.at_time(time(9)),
            filters.on_datetime(NIGHT + HOUR),
            filters.is_day_of_week(6),
            filters.is_month_start,
        ],
        not_filters=[filters.on_date(11, 8), filters.between_dates(12, 24, 1, 2), filters.is_month_end],
        adjustments=[adjustments.add(DAY), adjustments.next_weekday],
    ),
    "none": Schedule([]),
}  # fmt: skip


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_schedule_comes_back_from_json(schedule: Schedule) -> None:
    described = schedule_to_dict(schedule)
    other = schedule_from_dict(json.loads(json.dumps(described)))
    assert schedule_to_dict(other) == described
    for after in (NIGHT - 30 * DAY, NIGHT + 3 * HOUR):
        assert other.next(60, after, return_events=True) == schedule.next(60, after, return_events=True)


def test_flow_describes_its_schedule() -> None:
    flow = Flow("f", CronSchedule("0 9 * * *", NIGHT))
    assert flow.serialize()["schedule"] == {
        "type": "Schedule",
        "clocks": [
            {
                "type": "CronClock",
                "cron": "0 9 * * *",
                "day_or": True,
                "start_date": "2021-11-06T20:00:00-04:00[America/New_York]",
                "end_date": None,
                "parameter_defaults": {},
                "labels": None,
            }
        ],
    }
    assert Flow("f").serialize()["schedule"] is None


class Own(Clock):
    """A clock of somebody's own."""


def own_filter(time: datetime) -> bool:
    return True


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (Schedule([Own()]), "Own' is no clock of Tenuto's own"),
        (Schedule([], filters=[own_filter]), "own_filter' is not one of Tenuto's own filters"),
        (Schedule([], adjustments=[lambda time: time]), "lambda>' is not one of Tenuto's own adjustments"),
        (Schedule([CronClock("@daily", None, None, {"x": object()})]), "The default of 'x', <object object>"),
    ],
)  # fmt: skip
def test_what_is_not_ours_is_described_and_refused(schedule: Schedule, message: str) -> None:
    described = json.loads(json.dumps(schedule_to_dict(schedule)))
    with pytest.raises(ValueError, match=message):
        schedule_from_dict(described)


def test_schedule_of_another_class_is_described() -> None:
    flow: Any = Flow("f")
    flow.schedule = timedelta(1)
    described = flow.serialize()["schedule"]
    assert described == {"type": "timedelta", "clocks": []}
    with pytest.raises(ValueError, match="'timedelta' is no schedule of Tenuto's own"):
        schedule_from_dict(described)


@pytest.mark.parametrize(
    "moment",
    [NIGHT, NIGHT.replace(day=7, hour=1, fold=1), datetime(2021, 1, 1, tzinfo=UTC), naive(2021, 1, 1)],
)  # fmt: skip
def test_times_come_back(moment: datetime) -> None:
    back = datetime_from_text(datetime_text(moment))
    assert (back, back.fold, back.tzinfo) == (moment, moment.fold, moment.tzinfo)


@pytest.mark.parametrize("text", ["yesterday", "2021-01-01T00:00:00+00:00[Nowhere/Atall]", "", "[UTC]"])
def test_texts_that_are_no_times(text: str) -> None:
    with pytest.raises(ValueError, match=r"time"):
        datetime_from_text(text)
