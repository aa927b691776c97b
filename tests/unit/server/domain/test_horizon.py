"""Which times of a schedule get a run now, and which that were missed are run late."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.schedules import adjustments
from tenuto.schedules.clocks import CronClock, DatesClock, IntervalClock
from tenuto.schedules.schedules import Schedule
from tenuto.serialization.schedule import schedule_to_dict
from tenuto.server.domain import horizon
from tenuto.server.domain.horizon import (
    CatchUp,
    Look,
    Slot,
    Waiting,
    clock_key,
    jitters_of,
    look_ahead,
    missed,
)
from tenuto.server.domain.timings import Timings

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MINUTELY = Schedule([CronClock("* * * * *")])
ANY_KEY = clock_key({}, None)


def look(
    schedule: Schedule,
    *,
    since: datetime = NOON,
    now: datetime = NOON,
    jitters: Mapping[str, float] | None = None,
    salt: str = "flow",
) -> Look:
    return look_ahead(schedule, jitters=jitters or {}, salt=salt, since=since, now=now, timings=Timings())


def all_looks(schedule: Schedule, *, since: datetime, now: datetime) -> list[Slot]:
    """Look as often as a scheduler does."""
    found = [look(schedule, since=since, now=now)]
    while not found[-1].is_complete:
        found.append(look(schedule, since=found[-1].slots[-1].at, now=now))
    return [slot for one in found for slot in one.slots]


def times(found: Look) -> list[datetime]:
    return [slot.at for slot in found.slots]


# -------------------------------------------------------------------------------------------------- how far


def test_all_of_ten_minutes_and_ten_more_have_runs() -> None:
    # R-BE-63
    found = look(MINUTELY)

    assert times(found) == [NOON + count * MINUTE for count in range(1, 21)]
    assert found.is_complete
    assert found.newest_due is None


@pytest.mark.parametrize(
    ("every", "count"), [(HOUR, 10), (timedelta(hours=5), 4), (DAY, 1), (timedelta(hours=25), 0)]
)
def test_rare_times_have_runs_up_to_a_day_ahead(every: timedelta, count: int) -> None:
    # R-BE-63
    found = look(Schedule([IntervalClock(every, start_date=NOON)]))

    assert times(found) == [NOON + number * every for number in range(1, count + 1)]


def test_missed_times_have_runs_too() -> None:
    found = look(MINUTELY, since=NOON - 3 * MINUTE)

    assert times(found)[:4] == [NOON + count * MINUTE for count in (-2, -1, 0, 1)]
    assert found.newest_due == NOON


def test_long_time_without_a_server_takes_several_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(horizon, "SLOTS_MAX", 7)
    since = NOON - HOUR

    first = look(MINUTELY, since=since)

    assert len(first.slots) == 7
    assert not first.is_complete
    # One that is not found yet is newer than all of them, and due.
    assert first.newest_due == since + 8 * MINUTE
    found = all_looks(MINUTELY, since=since, now=NOON)
    # The few beyond the horizon are left to the next turn where a look is full.
    assert [slot.at for slot in found] == [since + count * MINUTE for count in range(1, len(found) + 1)]
    assert found[-1].at >= NOON + Timings().horizon


def test_look_never_ends_between_two_of_one_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # R-BE-65
    monkeypatch.setattr(horizon, "SLOTS_MAX", 5)
    both = Schedule([CronClock("* * * * *", parameter_defaults={"kind": kind}) for kind in ("a", "b")])

    found = all_looks(both, since=NOON - HOUR, now=NOON)

    assert len(look(both, since=NOON - HOUR).slots) == 6
    assert len(found) == len({(slot.clock_key, slot.at) for slot in found})
    due = [slot.at for slot in found if slot.at <= NOON]
    assert due == [NOON - HOUR + count * MINUTE for count in range(1, 61) for _ in range(2)]


# ---------------------------------------------------------------------------------------------- adjustments


@given(st.integers(0, 20 * 24), st.sampled_from([[adjustments.next_weekday], [adjustments.add(-3 * HOUR)]]))
def test_adjusted_times_are_the_same_in_one_look_and_in_two(hours: int, moves: list[object]) -> None:
    # R-SCHED-8
    # A split at any hour, also of the weekend whose times are moved to Monday.
    daily = Schedule([CronClock("0 9 * * *")], adjustments=moves)  # type: ignore[arg-type]  # one of ours
    begin, end = NOON, NOON + timedelta(days=20)
    split = begin + hours * HOUR

    whole = [at for at in times(look(daily, since=begin, now=end)) if at <= end]
    before = [at for at in times(look(daily, since=begin, now=split)) if at <= split]
    after = [at for at in times(look(daily, since=split, now=end)) if at <= end]

    assert before + after == whole
    assert len(whole) >= 14


def test_time_that_was_moved_past_now_is_found() -> None:
    saturday, monday = datetime(2026, 3, 7, 9, tzinfo=UTC), datetime(2026, 3, 9, 9, tzinfo=UTC)
    schedule = Schedule([DatesClock([saturday])], adjustments=[adjustments.next_weekday])

    assert times(look(schedule, since=saturday + DAY, now=saturday + DAY)) == [monday]


# --------------------------------------------------------------------------------------------- keys, jitters


def test_keys_tell_clocks_apart_by_what_they_give() -> None:
    # R-BE-65
    key = clock_key({"a": 1, "b": [2]}, ["x", "y"])

    assert key == clock_key({"b": [2], "a": 1}, ["y", "x"])
    others = [({"a": 1, "b": [2]}, ["x"]), ({"a": 2, "b": [1]}, ["x", "y"]), ({}, []), ({}, None)]
    assert len({key, *(clock_key(*other) for other in others)}) == 5


def test_jitter_spreads_starts_the_same_way_whenever_one_asks() -> None:
    # R-BE-73
    jitters = {ANY_KEY: 30.0}
    found = look(MINUTELY, jitters=jitters)

    spread = [slot.start - slot.at for slot in found.slots]
    assert times(found) == times(look(MINUTELY))
    assert all(timedelta(0) <= by < timedelta(seconds=30) for by in spread)
    assert len(set(spread)) == len(spread)
    assert look(MINUTELY, jitters=jitters, since=NOON + MINUTE).slots[0] == found.slots[1]
    assert [slot.start - slot.at for slot in look(MINUTELY, jitters=jitters, salt="other").slots] != spread


def test_run_is_due_when_its_jitter_is_over() -> None:
    jitters = {ANY_KEY: 50.0}
    slot = look(MINUTELY, jitters=jitters).slots[0]

    before = look(MINUTELY, jitters=jitters, now=slot.start - timedelta(microseconds=1))
    assert before.newest_due is None
    assert look(MINUTELY, jitters=jitters, now=slot.start).newest_due == slot.start


def test_jitters_are_read_from_the_clocks() -> None:
    described = schedule_to_dict(Schedule([CronClock("0 1 * * *"), CronClock("0 2 * * *", labels=["x"])]))
    described["clocks"][1]["jitter_seconds"] = 90

    assert jitters_of(described) == {clock_key({}, ["x"]): 90.0}


@pytest.mark.parametrize("seconds", [-1, "10", float("nan"), float("inf"), 86_401, [1]])
def test_wrong_jitter_is_refused(seconds: object) -> None:
    with pytest.raises(ValueError, match="jitter"):
        jitters_of({"clocks": [{"jitter_seconds": seconds}]})


# ---------------------------------------------------------------------------------------------- what is late


@pytest.mark.parametrize(
    ("policy", "minutes", "newest_due", "gone"),
    [
        ("all", [60, 30, 10], None, []),  # R-BE-71
        ("latest", [60, 30, 10], None, [60, 30]),
        ("none", [60, 30, 10], None, [60, 30, 10]),
        # As good as on time.
        ("none", [60, 5, 1], None, [60]),
        ("latest", [60, 5, 1], None, [60]),
        ("latest", [60], None, []),
        # A newer one that is due has a run still to be made, or has been claimed.
        ("latest", [60], 10, [60]),
        ("latest", [60], 60, []),
        ("latest", [], 10, []),
    ],
)
def test_missed_runs_are_dropped_as_the_flow_says(
    policy: CatchUp, minutes: list[int], newest_due: int | None, gone: list[int]
) -> None:
    waiting = [Waiting(str(ago), NOON - ago * MINUTE) for ago in minutes]
    newest = None if newest_due is None else NOON - newest_due * MINUTE

    found = missed(waiting, policy, 5 * MINUTE, NOON, newest)

    assert [run.run_id for run in found] == [str(ago) for ago in gone]
