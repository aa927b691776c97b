"""Flows run at each time of their schedule, by a clock that the tests turn."""

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tenuto import Flow, Parameter, task
from tenuto.engine.given_parameters import MissingParameters, UnexpectedParameters
from tenuto.engine.scheduled_runs import NoMoreRuns, run_on_schedule
from tenuto.engine.state import Failed, State, Success
from tenuto.schedules import IntervalSchedule, Schedule, filters
from tenuto.schedules.clocks import Clock, CronClock, DatesClock
from tenuto.utilities.configuration import set_temporary_config

START = datetime(2021, 1, 1, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


class Rehearsal:
    """Notes what would be run when; sleeping turns its clock."""

    def __init__(self, *, takes: timedelta = timedelta(0), outcome: Callable[[], State] = Success) -> None:
        self.time = START
        self.takes = takes
        self.outcome = outcome
        self.runs: list[tuple[datetime, dict[str, Any], dict[str, Any]]] = []
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += timedelta(seconds=seconds)

    def run_once(self, flow: Flow, given: dict[str, Any], options: dict[str, Any]) -> State:
        self.runs.append((self.time, given, options))
        self.time += self.takes
        return self.outcome()

    def perform(self, flow: Flow, given: Any = None, options: Any = None) -> State:
        return run_on_schedule(
            flow, given or {}, options or {}, self.run_once, now=self.now, sleep=self.sleep
        )

    @property
    def times(self) -> list[datetime]:
        return [time for time, _, _ in self.runs]


def hourly(count: int = 3) -> Flow:
    return Flow("hourly", IntervalSchedule(START, HOUR, START + count * HOUR))


def test_runs_at_each_time_until_none_is_left(caplog: pytest.LogCaptureFixture) -> None:
    # R-SRUN-1
    rehearsal = Rehearsal()
    assert rehearsal.perform(hourly()).is_successful()
    assert rehearsal.times == [START + HOUR, START + 2 * HOUR, START + 3 * HOUR]
    waits = [record for record in caplog.records if record.levelno == logging.INFO]
    assert [record.getMessage() for record in waits] == [
        f"Waiting for next scheduled run at {time}" for time in rehearsal.times
    ]
    assert {record.name for record in waits} == {"tenuto.hourly"}
    assert max(rehearsal.slept) <= 30  # else a machine that slept, or was set, would wake too late


def test_no_times_left_is_told() -> None:
    # R-SRUN-3
    with pytest.raises(ValueError, match=r"^Flow has no more scheduled runs\.") as caught:
        Rehearsal().perform(Flow("over", Schedule([DatesClock([START])])))
    assert isinstance(caught.value, NoMoreRuns)
    assert "no time after 2021-01-01 00:00:00 UTC" in caught.value.__notes__[0]
    none_passes = Schedule([CronClock("* * * * *")], filters=[filters.is_weekday, filters.is_weekend])
    with pytest.raises(NoMoreRuns, match="None of the next 10,000 times"):
        Rehearsal().perform(Flow("never", none_passes))


def test_times_during_a_run_are_missed() -> None:
    # R-SRUN-4
    rehearsal = Rehearsal(takes=90 * MINUTE)
    rehearsal.perform(hourly(5))
    assert rehearsal.times == [START + HOUR, START + 3 * HOUR, START + 5 * HOUR]


def test_failed_run_does_not_stop_the_schedule() -> None:
    # R-SRUN-4
    rehearsal = Rehearsal(outcome=Failed)
    assert rehearsal.perform(hourly()).is_failed()
    assert len(rehearsal.runs) == 3


def with_parameters(*clocks: Any) -> Flow:
    flow = Flow("p", Schedule(clocks))
    flow.add_task(Parameter("x"))
    flow.add_task(Parameter("y", default=0))
    return flow


def test_parameters_given_win_over_those_of_the_clock() -> None:
    # R-SRUN-5, decision D-5
    clocks = [
        DatesClock([START + HOUR], {"x": "one"}),
        DatesClock([START + 2 * HOUR], {"x": "two", "y": 2}),
    ]
    rehearsal = Rehearsal()
    rehearsal.perform(with_parameters(*clocks))
    assert [given for _, given, _ in rehearsal.runs] == [{"x": "one"}, {"x": "two", "y": 2}]
    rehearsal = Rehearsal()
    rehearsal.perform(with_parameters(*clocks), {"x": "mine"})
    assert [given for _, given, _ in rehearsal.runs] == [{"x": "mine"}, {"x": "mine", "y": 2}]


def test_required_parameter_may_come_from_all_clocks() -> None:
    # R-SRUN-6
    with_x, without = DatesClock([START + HOUR], {"x": 1}), DatesClock([START + 2 * HOUR])
    with pytest.raises(MissingParameters):
        Rehearsal().perform(with_parameters(with_x, without))
    Rehearsal().perform(with_parameters(with_x, without), {"x": 1})
    with pytest.raises(UnexpectedParameters):
        Rehearsal().perform(with_parameters(with_x), {"z": 1})
    unknown = DatesClock([START + HOUR], {"x": 1, "z": 1})
    with pytest.raises(
        ValueError, match="A DatesClock of the flow's schedule has defaults for .*: z. Known are: x, y"
    ):
        Rehearsal().perform(with_parameters(unknown))


def test_each_run_knows_its_time_and_has_an_id_of_its_own() -> None:
    # R-SRUN-7, decision D-8
    rehearsal = Rehearsal()
    options = {"context": {"a": 1}, "flow_run_name": "first", "executor": "executor"}
    rehearsal.perform(hourly(2), options=dict(options))
    (_, _, first), (_, _, second) = rehearsal.runs
    assert first["context"] == {"a": 1, "scheduled_start_time": START + HOUR}
    assert second["context"] == {"a": 1, "scheduled_start_time": START + 2 * HOUR}
    assert (first["flow_run_name"], first["executor"]) == ("first", "executor")
    assert "flow_run_name" not in second
    assert second["executor"] == "executor"
    assert first["state"].start_time == START + HOUR


def test_labels_of_events_change_nothing_here() -> None:
    # R-SRUN-8
    rehearsal = Rehearsal()
    rehearsal.perform(Flow("labelled", Schedule([DatesClock([START + HOUR], labels=["gpu"])])))
    ((_, given, options),) = rehearsal.runs
    assert given == {}
    assert set(options) == {"context", "state"}


def test_interrupted_wait_leaves_flow_run() -> None:
    # R-SRUN-10
    rehearsal = Rehearsal()

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_on_schedule(hourly(), {}, {}, rehearsal.run_once, now=rehearsal.now, sleep=interrupt)
    assert rehearsal.runs == []


def test_flow_run_goes_by_the_schedule_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    # R-SRUN-2
    asked: list[str] = []

    def note(what: str) -> Callable[..., State]:
        def answer(*args: Any, **kwargs: Any) -> State:
            asked.append(what)
            return Success()

        return answer

    monkeypatch.setattr("tenuto.engine.launch.run_on_schedule", note("hourly"))
    monkeypatch.setattr("tenuto.engine.launch.run_with_options", note("now"))
    flow = hourly()
    flow.run()
    flow.run(run_on_schedule=True)
    flow.run(run_on_schedule=False)
    flow.run(resume="last")
    Flow("plain").run(run_on_schedule=True)
    with set_temporary_config({"flows.run_on_schedule": False}):
        flow.run()
    assert asked == ["hourly", "hourly", "now", "now", "now", "now"]


def test_caches_live_across_runs() -> None:
    # R-SRUN-9
    calls = []

    @task(cache_for=HOUR)
    def costly() -> int:
        calls.append(1)
        return len(calls)

    asked = []

    class Soon(Clock):
        def times(self, since: datetime) -> Iterator[datetime]:
            asked.append(since)
            return iter([since] if len(asked) <= 2 else [])

    with Flow("cached", Schedule([Soon()])) as flow:
        value = costly()
    state = flow.run()
    assert state.result[value].result == 1
    assert calls == [1]
    assert type(state.result[value]).__name__ == "Cached"
