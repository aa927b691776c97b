"""`Flow(fail_fast=True)`: what becomes of the rest of a run once a task has failed."""

from __future__ import annotations

import logging
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tenuto import Flow, Task, apply_map, resource_manager, task, triggers
from tenuto.engine import FlowRunner, signals
from tenuto.engine.state import Cancelled, Failed, Retrying, State, Success
from tenuto.executors import LocalDaskExecutor
from tenuto.journal.home import Home
from tenuto.journal.reader import read_events
from tests.fakes.executors import ThreadExecutor
from tests.fakes.runs import total

BROKEN = "Not started: task 'broken' failed, and the flow has fail_fast=True."


@task
def broken() -> None:
    raise ValueError("as told")


@task
def plain(x: Any = None) -> Any:
    return x


def names(states: list[State]) -> list[str]:
    return [type(state).__name__ for state in states]


def test_nothing_is_started_after_a_failure() -> None:
    # R-BE-102
    with Flow("stopped", fail_fast=True) as flow:
        before = plain(1)
        failed = broken()
        below, beside = plain(failed), plain(2)
        whatever = plain.copy(name="whatever", trigger=triggers.always_run)(upstream_tasks=[failed])
        expecting = plain.copy(name="expecting", trigger=triggers.any_failed)(upstream_tasks=[failed])
        many = plain.map([1, 2])
    state = flow.run()
    assert isinstance(state, Failed)
    assert state.message == "Task 'broken' failed, and the flow has fail_fast=True."
    assert names([state.result[before], state.result[failed]]) == ["Success", "Failed"]
    for each in (below, beside, whatever, expecting, many):
        rest = state.result[each]
        assert (type(rest), rest.message, rest.cause) == (Cancelled, BROKEN, "upstream"), each


def test_without_the_option_everything_else_runs() -> None:
    with Flow("going on") as flow:
        failed = broken()
        beside = plain(2)
    state = flow.run()
    assert names([state.result[failed], state.result[beside]]) == ["Failed", "Success"]


def test_first_failed_child_cancels_the_others_and_maps_below() -> None:
    @task
    def check(x: int) -> int:
        if x == 2:
            raise ValueError(x)
        return x

    with Flow("maps", fail_fast=True) as flow:
        checked = check.map([0, 1, 2, 3])
        next_one = plain.map(checked)
        gathered = plain(next_one)
    state = flow.run()
    assert names(state.result[checked].map_states) == ["Success", "Success", "Failed", "Cancelled"]
    assert state.message == "Task 'check[2]' failed, and the flow has fail_fast=True."
    assert names([state.result[next_one], state.result[gathered]]) == ["Cancelled", "Cancelled"]


def test_children_of_maps_below_that_ran_already_are_kept() -> None:
    @task
    def check(x: int) -> int:
        if x == 2:
            raise ValueError(x)
        return x

    with Flow("depth first", fail_fast=True) as flow:
        checked = check.map([0, 1, 2, 3])
        next_one = plain.map(checked)
    state = flow.run(executor=LocalDaskExecutor(scheduler="threads", num_workers=1))
    assert names(state.result[checked].map_states) == ["Success", "Success", "Failed", "Cancelled"]
    assert names(state.result[next_one].map_states) == ["Success", "Success", "Cancelled", "Cancelled"]


def test_failure_counts_when_retries_are_over() -> None:
    tries: list[int] = []

    @task(max_retries=2, retry_delay=timedelta(0))
    def flaky(times: int) -> None:
        tries.append(times)
        if len(tries) <= times:
            raise OSError("not yet")

    with Flow("tried again", fail_fast=True) as flow:
        tried, beside = flaky(2), plain(1)
    state = flow.run()
    assert state.is_successful()
    assert names([state.result[tried], state.result[beside]]) == ["Success", "Success"]
    tries[:] = []
    with Flow("in vain", fail_fast=True) as flow:
        tried = flaky(9)
        after = plain(tried)
    state = flow.run()
    assert len(tries) == 3
    assert names([state.result[tried], state.result[after]]) == ["Failed", "Cancelled"]


def test_retries_that_wait_and_paused_tasks_are_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody waits for an hour: the run would hang.
    monkeypatch.setattr("tenuto.engine.flow_run.sleep_until", lambda due: pytest.fail("It waits."))
    monkeypatch.setattr("tenuto.engine.flow_run.ask", lambda question: pytest.fail("It asks."))

    @task(max_retries=1, retry_delay=timedelta(hours=1))
    def later() -> None:
        raise OSError("not yet")

    @task
    def asks() -> None:
        raise signals.PAUSE("may I?")

    with Flow("waiting", fail_fast=True) as flow:
        waiting, paused, failed = later(), asks(), broken()
    state = flow.run()
    assert names([state.result[each] for each in (waiting, paused, failed)]) == [
        "Cancelled",
        "Cancelled",
        "Failed",
    ]


def test_tasks_at_work_end_by_themselves() -> None:
    import threading

    stopped = threading.Event()

    def note(failed: Task, state: State) -> None:
        stopped.set()

    @task(on_failure=note)
    def fails() -> None:
        started.wait()
        raise ValueError("as told")

    started = threading.Barrier(4)

    @task
    def works() -> str:
        started.wait()
        assert stopped.wait(30)
        return "done"

    @task(max_retries=3, retry_delay=timedelta(0))
    def would_retry() -> None:
        works.run()
        raise OSError("not yet")

    @task
    def would_loop() -> None:
        works.run()
        raise signals.LOOP("once more", result=1)

    with Flow("at work", fail_fast=True) as flow:
        ends, retries, loops, failed = works(), would_retry(), would_loop(), fails()
        after = plain(ends)
    state = flow.run(executor=ThreadExecutor(4))
    assert names([state.result[each] for each in (ends, retries, loops, failed, after)]) == [
        "Success",
        "Cancelled",
        "Cancelled",
        "Failed",
        "Cancelled",
    ]
    assert state.result[ends].result == "done"
    assert state.message == "Task 'fails' failed, and the flow has fail_fast=True."


def test_refused_trigger_stops_nothing() -> None:
    with Flow("refused", fail_fast=True) as flow:
        refused = plain.copy(trigger=triggers.all_failed)(plain(1))
        signalled = plain.map([1, 2])
    state = flow.run()
    assert type(state.result[refused]).__name__ == "TriggerFailed"
    assert names(state.result[signalled].map_states) == ["Success", "Success"]
    assert state.message == "Some reference tasks failed."


def test_flow_fails_though_its_reference_tasks_did_not() -> None:
    with Flow("elsewhere", fail_fast=True) as flow:
        good = plain(1)
        broken(upstream_tasks=[good])
        flow.set_reference_tasks([good])
    state = flow.run()
    assert state.message == "Task 'broken' failed, and the flow has fail_fast=True."
    assert state.is_failed()


# ----------------------------------------------------------------------------------------------- resources


def room_flow(log: list[str], fails_at: str, *, mapped: bool = False) -> tuple[Flow, dict[str, Any]]:
    class Resource:
        def __init__(self, number: int = 0) -> None:
            log.append("init")
            self.number = number

        def setup(self) -> str:
            log.append("setup")
            if fails_at == "setup":
                raise OSError("no key")
            return f"key {self.number}"

        def cleanup(self, key: str) -> None:
            log.append(f"cleanup {key}")

    room = resource_manager(Resource, name="Room")

    @task
    def use(key: str) -> None:
        log.append(f"use {key}")
        if fails_at == "use":
            raise ValueError("broken chair")

    with Flow("room", fail_fast=True) as flow:
        start = broken() if fails_at == "before" else plain(7)
        with room(plain(start)) as key:
            used = use(key)
            after = plain(used)
    tasks = {each.name: each for each in flow.tasks}
    return flow, {**tasks, "used": used, "after": after}


def test_resource_that_was_set_up_is_cleaned_up() -> None:
    # R-RM-3
    log: list[str] = []
    flow, tasks = room_flow(log, "use")
    state = flow.run()
    assert log == ["init", "setup", "use key 7", "cleanup key 7"]
    assert names([state.result[tasks[name]] for name in ("used", "after", "Room.cleanup")]) == [
        "Failed",
        "Cancelled",
        "Success",
    ]
    assert state.is_failed()


@pytest.mark.parametrize(("fails_at", "expected"), [("before", []), ("setup", ["init", "setup"])])
def test_resource_that_was_not_set_up_is_not_cleaned_up(fails_at: str, expected: list[str]) -> None:
    # R-RM-3
    log: list[str] = []
    flow, tasks = room_flow(log, fails_at)
    state = flow.run()
    assert log == expected
    assert type(state.result[tasks["Room.cleanup"]]) is Cancelled


def test_resources_of_children_are_cleaned_up_one_by_one() -> None:
    # R-RM-3, R-AMAP-6
    log: list[str] = []

    class Resource:
        def __init__(self, number: int) -> None:
            self.number = number

        def setup(self) -> int:
            if self.number == 2:
                raise OSError("no key")
            return self.number

        def cleanup(self, key: int) -> None:
            log.append(f"cleanup {key}")

    room = resource_manager(Resource, name="Room")

    def visit(number: Any) -> Any:
        with room(number) as key:
            return plain(key)

    with Flow("rooms", fail_fast=True) as flow:
        apply_map(visit, [1, 2, 3])
    state = flow.run()
    [cleanup] = flow.get_tasks("Room.cleanup")
    assert log == ["cleanup 1"]
    assert names(state.result[cleanup].map_states) == ["Success", "Cancelled", "Cancelled"]


# ------------------------------------------------------------------ handlers, records, resume, earlier states


def test_handlers_see_what_is_cancelled_and_cannot_bring_it_back() -> None:
    seen: list[str] = []

    def stubborn(each: Any, old: State, new: State) -> State | None:
        seen.append(f"{type(old).__name__} {type(new).__name__}")
        return Retrying(start_time=datetime.now(UTC)) if new.is_cancelled() else None

    def breaks(each: Any, old: State, new: State) -> None:
        if new.is_cancelled():
            raise ValueError("a broken handler")

    with Flow("handled", fail_fast=True) as flow:
        failed = broken()
        first = plain.copy(state_handlers=[stubborn])(failed)
        second = plain.copy(state_handlers=[breaks])(failed)
    state = flow.run()
    assert seen == ["Pending Cancelled"]
    assert names([state.result[first], state.result[second]]) == ["Cancelled", "Failed"]
    assert state.message == "Task 'broken' failed, and the flow has fail_fast=True."


def test_record_names_the_cause_and_logs_say_it_once(
    tenuto_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # R-BE-102
    caplog.set_level(logging.INFO, "tenuto")
    with Flow("recorded", fail_fast=True) as flow:
        failed = broken()
        plain.map([failed, failed])
        plain(failed)
    flow.run()
    [folder] = Home(tenuto_home).run_folders()
    told = [event for event in read_events(folder / "1.journal") if event.state == "Cancelled"]
    assert [(event.message, event.cause) for event in told] == [(BROKEN, "upstream")] * 3
    lines = [record.getMessage() for record in caplog.records if record.name == "tenuto.FlowRunner"]
    assert "Task 'broken' failed: nothing else is started (fail_fast)." in lines
    assert "3 task runs were cancelled, because task 'broken' failed." in lines
    assert not [record for record in caplog.records if "Cancelled" in record.getMessage()]


def test_resume_continues_with_what_was_cancelled() -> None:
    # R-CACHE-11, R-CACHE-12
    effects: list[str] = []
    mended: list[bool] = []

    @task
    def step(x: int) -> int:
        effects.append(f"step {x}")
        if x == 1 and not mended:
            raise OSError("not mended")
        return x

    with Flow("continued", fail_fast=True) as flow:
        steps = step.map([0, 1, 2])
        added = total(steps)
    assert flow.run().is_failed()
    assert effects == ["step 0", "step 1"]
    mended.append(True)
    state = flow.run(resume="last")
    assert state.result[added].result == 3
    assert effects == ["step 0", "step 1", "step 1", "step 2"]


def test_states_of_an_earlier_run_stay_what_they_are() -> None:
    # R-RUN-13
    with Flow("earlier", fail_fast=True) as flow:
        failed = broken()
        given, fresh = plain(failed), plain(failed)
    state = flow.run(task_states={given: Success("before", result=4)})
    assert names([state.result[given], state.result[fresh]]) == ["Success", "Cancelled"]


def test_single_pass_ends_what_waits() -> None:
    with Flow("one pass", fail_fast=True) as flow:
        failed, waiting = broken(), plain(1)
    state = FlowRunner(flow).run(
        return_tasks=flow.tasks, task_states={waiting: Retrying(start_time=datetime.max.replace(tzinfo=UTC))}
    )
    assert names([state.result[failed], state.result[waiting]]) == ["Failed", "Cancelled"]
    assert state.is_failed()


def test_thousands_of_children_are_cancelled() -> None:
    @task
    def check(x: int) -> int:
        if x == 0:
            raise ValueError(x)
        return x

    with Flow("large", fail_fast=True) as flow:
        below = plain.map(plain.map(check.map(list(range(3000)))))
    state = flow.run(executor=ThreadExecutor(2))
    [checked] = flow.get_tasks("check")
    counted = Counter(names(state.result[checked].map_states))
    assert counted["Failed"] == 1
    assert counted["Failed"] + counted["Success"] + counted["Cancelled"] == 3000
    assert state.result[below].is_mapped() or state.result[below].is_cancelled()
    assert state.is_failed()
