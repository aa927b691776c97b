"""What makes a task run more than once, or not to its end: retries, timeouts, loops and pauses."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import tenuto
from tenuto import Flow, task
from tenuto.core.authoring import pause_task
from tenuto.engine import FlowRunner, signals
from tenuto.engine.results import LocalResult
from tenuto.engine.state import (
    Looped,
    Paused,
    Pending,
    Resume,
    Retrying,
    Running,
    State,
    TimedOut,
    TriggerFailed,
)
from tenuto.exceptions import TaskTimeoutSignal
from tenuto.triggers import all_failed, manual_only
from tenuto.utilities.configuration import set_temporary_config
from tests.fakes.executors import ThreadExecutor
from tests.fakes.runs import (
    NOW,
    Changes,
    fail_signal,
    fails,
    flow_of,
    newest_run,
    one,
    plus,
    records,
)

# -------------------------------------------------------------------------------- retries


@task
def invalid() -> None:
    raise signals.VALIDATIONFAIL("no")


@task
def trigger_signal() -> None:
    raise signals.TRIGGERFAIL("no")


@task
def slow() -> None:
    time.sleep(5)


@pytest.mark.parametrize("made", [fails, fail_signal, invalid, trigger_signal, slow])
def test_every_kind_of_failure_in_run_is_retried(made: Any) -> None:
    # R-RETRY-1, R-HAND-2
    changes = Changes()
    retried = made.copy(max_retries=2, retry_delay=NOW, state_handlers=[changes])
    if made is slow:
        retried.timeout = 0.02  # Less than the whole seconds that the option takes.
    flow, called = flow_of(retried)
    final = type(flow.run().result[called]).__name__
    attempt = [("Pending", "Running"), ("Running", final), (final, "Retrying")]
    again = [("Retrying", "Running"), ("Running", final), (final, "Retrying")]
    assert changes.seen == [*attempt, *again, ("Retrying", "Running"), ("Running", final)]


def test_retrying_state_tells_attempt_and_time() -> None:
    # R-RETRY-2
    @task(max_retries=3, retry_delay=timedelta(minutes=5))
    def later() -> None:
        raise OSError

    flow, called = flow_of(later)
    before = datetime.now(UTC)
    reached = FlowRunner(flow).run(return_tasks=[called]).result[called]
    assert type(reached) is Retrying
    assert reached.message == "Retrying Task (after attempt 1 of 4)"
    assert reached.run_count == 1
    assert reached.start_time is not None
    assert before <= reached.start_time - timedelta(minutes=5) <= datetime.now(UTC)


def test_delay_may_be_a_function_of_the_attempt() -> None:
    # R-DBG-5
    delays: list[int] = []

    def delay(count: int) -> timedelta:
        delays.append(count)
        return NOW

    @task(max_retries=2, retry_delay=delay)
    def later() -> None:
        raise OSError

    flow_of(later)[0].run()
    assert delays == [1, 2]


def test_failing_trigger_is_not_retried() -> None:
    # R-RETRY-3
    asked: list[int] = []

    def refuse(upstream: Any) -> bool:
        asked.append(1)
        return all_failed(upstream)

    with Flow("triggers") as flow:
        last = task(lambda x: x, name="last", max_retries=3, retry_delay=NOW, trigger=refuse)(one())
    reached = flow.run().result[last]
    assert type(reached) is TriggerFailed
    assert asked == [1]


def test_waiting_for_a_retry_holds_nothing_else_up(caplog: pytest.LogCaptureFixture) -> None:
    # R-RETRY-4, R-RETRY-5, R-CTX-4
    order: list[str] = []
    dates: list[Any] = []

    @task
    def source() -> str:
        order.append("source")
        return "rows"

    @task(max_retries=1, retry_delay=timedelta(milliseconds=60))
    def flaky(rows: str) -> str:
        order.append(f"flaky {tenuto.context.task_run_count}")
        dates.append(tenuto.context.date)
        if tenuto.context.task_run_count == 1:
            raise OSError
        return rows

    @task
    def note(name: str, x: Any = None) -> None:
        order.append(name)
        dates.append(tenuto.context.date)

    with Flow("patient") as flow:
        rows = source()
        after = note("after", flaky(rows))
        note("other", rows)
    state = flow.run()
    assert state.is_successful()
    assert state.result[after].is_successful()
    assert order == ["source", "flaky 1", "other", "flaky 2", "after"]
    assert len(set(dates)) == 1
    begun = [message for message in caplog.messages if message.startswith("Beginning")]
    assert len(begun) == 1
    waits = [record for record in records(caplog) if record[2].startswith("Waiting for next available")]
    assert len(waits) == 1
    assert waits[0][:2] == ("INFO", "tenuto.patient")


def test_run_count_is_remembered_over_retries() -> None:
    # R-RETRY-6, R-CTX-3
    seen: list[tuple[int, str]] = []

    @task(max_retries=3, retry_delay=NOW)
    def counted() -> None:
        seen.append((tenuto.context.task_run_count, tenuto.context.task_run_id))
        if len(seen) < 4:
            raise OSError

    flow_of(counted)[0].run()
    assert [count for count, _ in seen] == [1, 2, 3, 4]
    assert len({run_id for _, run_id in seen}) == 1
    told = newest_run().tasks["counted-1", -1]
    assert (told.state, told.run_count) == ("Success", 4)


@pytest.mark.parametrize(
    ("error", "name", "attempts"),
    [
        (KeyError("x"), "KeyError", 1),
        (FileNotFoundError("x"), "", 3),  # A subclass of what is listed.
        (signals.FAIL("x"), "FAIL", 1),
        (signals.FAIL("x", result=OSError()), "", 3),
        (signals.FAIL("x", result=None), "", 3),
    ],
)
def test_only_listed_failures_are_retried(
    error: BaseException, name: str, attempts: int, caplog: pytest.LogCaptureFixture
) -> None:
    # R-RETRY-7
    ran: list[int] = []

    def raises() -> None:
        ran.append(1)
        raise error

    flow_of(task(raises, max_retries=2, retry_delay=NOW, retry_on=OSError))[0].run()
    assert len(ran) == attempts
    line = (
        f"Task 'raises': Skipping retry. Exception of type '{name}' is not an instance of the retry on "
        "exception types."
    )
    told = [record for record in records(caplog) if "Skipping retry" in record[2]]
    assert told == ([("INFO", "tenuto.TaskRunner", line)] if name else [])


def test_retry_signal_retries_whatever_the_limit_and_counts() -> None:
    # R-RETRY-8
    counts: list[int] = []

    @task
    def asks_again() -> None:
        counts.append(tenuto.context.task_run_count)
        if len(counts) < 4:
            raise signals.RETRY("once more")

    @task(max_retries=2, retry_delay=NOW)
    def then_fails() -> None:
        counts.append(tenuto.context.task_run_count)
        if len(counts) < 4:
            raise signals.RETRY("once more")
        raise OSError

    assert flow_of(asks_again)[0].run().is_successful()
    assert counts == [1, 2, 3, 4]
    counts.clear()
    assert flow_of(then_fails)[0].run().is_failed()
    assert counts == [1, 2, 3, 4]  # The count went past the limit: there is no retry left.


def test_retry_signal_waits_for_its_time() -> None:
    # R-RETRY-8
    start = datetime.now(UTC) + timedelta(milliseconds=60)
    times: list[datetime] = []

    @task
    def later() -> None:
        times.append(datetime.now(UTC))
        if len(times) == 1:
            raise signals.RETRY("later", start_time=start)

    flow_of(later)[0].run()
    assert times[1] >= start


def test_children_retry_by_themselves() -> None:
    # R-RETRY-9, R-MAP-17
    ran: list[str] = []
    changes = Changes()

    @task(max_retries=1, retry_delay=NOW)
    def step(x: int) -> int:
        ran.append(f"step {x}")
        if x == 2 and tenuto.context.task_run_count == 1:
            raise OSError
        return x

    @task
    def after(x: int) -> int:
        ran.append(f"after {x}")
        return 10 * x

    with Flow("children") as flow:
        many = step.map([1, 2, 3])
        later = after.map(many)
    flow.state_handlers.append(changes)
    state = flow.run()
    assert state.result[later].result == [10, 20, 30]
    assert sorted(ran) == ["after 1", "after 2", "after 3", "step 1", "step 2", "step 2", "step 3"]


def test_on_failure_is_called_at_each_failed_attempt() -> None:
    # R-RETRY-10, R-HAND-5
    told: list[str] = []

    def note(obj: Any, state: State) -> None:
        told.append(type(state).__name__)

    flow_of(
        task(lambda: 1 / 0, name="broken", max_retries=2, retry_delay=NOW, on_failure=note),
        on_failure=note,
    )[0].run()
    assert told == ["Failed", "Failed", "Failed", "Failed"]  # Three attempts, and the flow.


# -------------------------------------------------------------------------------- timeouts


def timed(fn: Callable[..., Any], seconds: float, **options: Any) -> Any:
    """Return a task with a timeout that the option, in whole seconds, could not give."""
    made: Any = task(fn, timeout=1, **options)
    made.timeout = seconds
    return made


def test_task_that_takes_too_long_is_timed_out(caplog: pytest.LogCaptureFixture) -> None:
    # R-TIME-1
    flow, called = flow_of(timed(lambda: time.sleep(5), 0.03, name="slow"))
    reached = flow.run().result[called]
    assert type(reached) is TimedOut
    assert reached.message == "Task timed out during execution."
    assert isinstance(reached.result, TaskTimeoutSignal)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert newest_run().tasks["slow-1", -1].cause == "timeout"


def test_timeout_is_not_swallowed_by_except_exception() -> None:
    # R-TIME-2
    caught: list[str] = []

    def stubborn() -> str:
        try:
            time.sleep(5)
        except Exception:  # noqa: BLE001  # what careless code does
            caught.append("swallowed")
        return "went on"

    flow, called = flow_of(timed(stubborn, 0.03))
    assert type(flow.run().result[called]) is TimedOut
    assert not caught


def test_timeout_in_the_main_thread_interrupts_code_that_never_sleeps() -> None:
    # R-TIME-3
    def busy() -> None:
        while True:
            pass

    flow, called = flow_of(timed(busy, 0.03))
    assert type(flow.run().result[called]) is TimedOut


def test_timers_are_put_back_after_a_task() -> None:
    # R-TIME-3
    import signal

    flow, called = flow_of(timed(lambda: 1, 30, name="quick"))
    before = signal.getsignal(signal.SIGALRM)
    assert flow.run().result[called].result == 1
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert signal.getsignal(signal.SIGALRM) is before


def test_timeout_holds_while_a_flow_inside_has_timeouts_of_its_own() -> None:
    # R-TIME-1, R-RUN-18
    slept: list[str] = []

    def quick() -> int:
        return 1

    def sleeps() -> None:
        time.sleep(1.5)
        slept.append("through")

    def runs(inner: Flow, then: float) -> None:
        inner.run()
        time.sleep(then)
        slept.append("after it")

    with Flow("quick") as before:
        timed(quick, 30)()
    with Flow("slow") as within:
        timed(sleeps, 30)()
    with Flow("outer") as flow:
        first = timed(runs, 0.1)(before, 1.5)
        second = timed(runs, 0.1)(within, 0)
    state = flow.run()
    assert type(state.result[first]) is TimedOut
    assert type(state.result[second]) is TimedOut
    assert not slept


def test_timeout_in_another_thread_discards_what_the_task_still_returns() -> None:
    # R-TIME-3
    let_go = threading.Event()
    after: list[str] = []

    def waits() -> str:
        let_go.wait(30)
        after.append("went on")
        return "too late"

    with Flow("threads") as flow:
        late = timed(waits, 0.03)()
        other = one()
    state = flow.run(executor=ThreadExecutor())
    try:
        assert type(state.result[late]) is TimedOut
        assert isinstance(state.result[late].result, TaskTimeoutSignal)
        assert state.result[other].result == 1
        assert not after
    finally:
        let_go.set()
    assert state.result[late].result is not None
    assert newest_run().tasks["waits-1", -1].state == "TimedOut"


def test_timed_task_in_another_thread_has_its_context() -> None:
    # R-TIME-3, R-CTX-3
    def who() -> Any:
        return tenuto.context.task_name, tenuto.context.task_run_count

    flow, called = flow_of(timed(who, 30))
    assert flow.run(executor=ThreadExecutor()).result[called].result == ("who", 1)


# -------------------------------------------------------------------------------- loops


def test_loop_runs_the_task_again_with_its_result() -> None:
    # R-LOOP-1
    seen: list[tuple[Any, Any]] = []

    @task
    def powers() -> int:
        context = tenuto.context
        seen.append((context.get("task_loop_count"), context.get("task_loop_result")))
        value: int = 2 * context.get("task_loop_result", 1)
        if value < 8:
            raise signals.LOOP(result=value)
        return value

    flow, called = flow_of(powers)
    assert flow.run().result[called].result == 8
    assert seen == [(None, None), (2, 2), (3, 4)]
    assert newest_run().tasks["powers-1", -1].loop_count == 3


def test_handlers_see_each_loop(caplog: pytest.LogCaptureFixture) -> None:
    # R-LOOP-2, R-LOOP-3
    changes = Changes()

    @task(state_handlers=[changes])
    def thrice() -> None:
        count = tenuto.context.get("task_loop_count", 1)
        if count < 3:
            raise signals.LOOP("by hand" if count == 2 else None, result=count)

    flow_of(thrice)[0].run()
    assert changes.seen == [
        ("Pending", "Running"), ("Running", "Looped"),
        ("Pending", "Running"), ("Running", "Looped"),
        ("Pending", "Running"), ("Running", "Success"),
    ]  # fmt: skip
    looped = [state for state in changes.states if isinstance(state, Looped)]
    assert [(state.message, state.loop_count) for state in looped] == [
        ("Task is looping (1)", 1),
        ("by hand", 2),
    ]
    lines = [message for message in caplog.messages if message.startswith("Task 'thrice'")]
    assert lines == [
        "Task 'thrice': Starting task run...",
        "Task 'thrice': Finished task run for task with final state: 'Success'",
    ]


def test_pending_state_between_loops_tells_the_loop() -> None:
    # R-LOOP-2
    before: list[State] = []

    def note(obj: Any, old: State, new: State) -> None:
        before.append(old)

    @task(state_handlers=[note])
    def twice() -> None:
        if tenuto.context.get("task_loop_count", 1) < 2:
            raise signals.LOOP

    flow_of(twice)[0].run()
    assert [state.message for state in before if isinstance(state, Pending)][-1] == (
        "Looping task (on loop index 2)"
    )


def test_loops_are_not_limited_by_recursion() -> None:
    # R-LOOP-3
    many = 3 * sys.getrecursionlimit()

    @task
    def long() -> int:
        count: int = tenuto.context.get("task_loop_count", 1)
        if count < many:
            raise signals.LOOP(result=count)
        return count

    flow, called = flow_of(long)
    logging.getLogger("tenuto").setLevel(logging.ERROR)
    with set_temporary_config({"flows.keep_results": "never"}):
        assert flow.run().result[called].result == many


def test_loop_without_result_gives_none() -> None:
    # R-LOOP-4
    @task
    def twice() -> Any:
        if tenuto.context.get("task_loop_count", 1) < 2:
            raise signals.LOOP
        return tenuto.context["task_loop_result"]

    flow, called = flow_of(twice)
    reached = flow.run().result[called]
    assert reached.is_successful()
    assert reached.result is None


def test_each_loop_is_written_where_the_task_says(tmp_path: Path) -> None:
    # R-LOOP-5
    place = LocalResult(dir=str(tmp_path), location="{task_name}-{task_loop_count}")

    @task(result=place)
    def thrice() -> str:
        count = tenuto.context.get("task_loop_count", 1)
        if count < 3:
            raise signals.LOOP(result=f"part {count}")
        return "whole"

    flow, called = flow_of(thrice)
    with set_temporary_config({"flows.checkpointing": True}):
        assert flow.run().result[called].result == "whole"
    assert [LocalResult(dir=str(tmp_path)).read(f"thrice-{n}").value for n in (1, 2, 3)] == [
        "part 1",
        "part 2",
        "whole",
    ]


def test_failure_in_a_loop_is_retried_from_that_loop() -> None:
    # R-LOOP-6
    seen: list[tuple[int, int, Any]] = []

    @task(max_retries=1, retry_delay=NOW)
    def stumbles() -> int:
        context = tenuto.context
        loop: int = context.get("task_loop_count", 1)
        seen.append((loop, context.task_run_count, context.get("task_loop_result")))
        if context.task_run_count == 1 and loop in (2, 3):
            raise OSError
        if loop < 4:
            raise signals.LOOP(result=10 * loop)
        return loop

    flow, called = flow_of(stumbles)
    assert flow.run().result[called].result == 4
    # Each loop has its own count of attempts, and so its own retries.
    assert seen == [(1, 1, None), (2, 1, 10), (2, 2, 10), (3, 1, 20), (3, 2, 20), (4, 1, 30)]


def test_children_loop_by_themselves() -> None:
    # R-LOOP-7
    @task
    def loops(times: int) -> tuple[int, int]:
        count: int = tenuto.context.get("task_loop_count", 1)
        if count < times:
            raise signals.LOOP(result=count)
        return tenuto.context.map_index, count

    with Flow("children") as flow:
        many = loops.map([3, 1, 2])
    assert flow.run().result[many].result == [(0, 3), (1, 1), (2, 2)]


# -------------------------------------------------------------------------------- pauses


class Terminal:
    """A person at a terminal, who answers what is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
        self.asked: list[str] = []
        self.answers = iter(answers)
        monkeypatch.setattr("sys.stdin", self)
        monkeypatch.setattr("builtins.input", self.ask)

    def isatty(self) -> bool:
        return True

    def ask(self, question: str) -> str:
        self.asked.append(question)
        return next(self.answers)


@task
def asks() -> Any:
    pause_task("look at it first")
    return tenuto.context.get("resume")


def test_paused_task_asks_until_it_may_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    # R-PAUSE-1, R-PAUSE-3
    terminal = Terminal(monkeypatch, "n", "", " Y ")
    changes = Changes()
    flow, called = flow_of(asks.copy(state_handlers=[changes]))
    state = flow.run()
    question = "<Task: asks> is currently Paused; enter 'y' to resume:"
    assert [asked.strip() for asked in terminal.asked] == [question] * 3
    assert state.result[called].result is True
    assert changes.seen[:2] == [("Pending", "Running"), ("Running", "Paused")]
    assert changes.seen[-2:] == [("Resume", "Running"), ("Running", "Success")]


def test_paused_task_does_not_hold_up_others(monkeypatch: pytest.MonkeyPatch) -> None:
    # R-PAUSE-1
    order: list[str] = []
    terminal = Terminal(monkeypatch, "y")

    def other() -> None:
        order.append("other")

    def answer(question: str) -> str:
        order.append("asked")
        return terminal.ask(question)

    monkeypatch.setattr("builtins.input", answer)
    with Flow("pauses") as flow:
        paused = asks()
        task(other)()
    assert flow.run().result[paused].is_successful()
    assert order == ["other", "asked"]


@pytest.mark.parametrize(
    "made",
    [asks, task(lambda: 1, name="manual", trigger=manual_only)],
    ids=["pause_task", "manual_only"],
)
def test_without_a_terminal_nothing_is_asked_and_the_task_stays_paused(made: Any) -> None:
    # R-PAUSE-2
    with Flow("pauses") as flow:
        paused = made()
        after = plus(paused)
        other = one()
    state = flow.run()
    assert type(state) is Running
    assert type(state.result[paused]) is Paused
    assert type(state.result[after]) is Pending
    assert state.result[other].result == 1
    assert newest_run().state == "Paused"


def test_pause_with_a_time_ends_by_itself_and_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    # R-PAUSE-2
    terminal = Terminal(monkeypatch)
    runs: list[datetime] = []

    @task
    def waits() -> Any:
        runs.append(datetime.now(UTC))
        pause_task(duration=timedelta(milliseconds=60))
        return tenuto.context.get("resume")

    flow, called = flow_of(waits)
    assert flow.run().result[called].result is True
    assert runs[1] - runs[0] >= timedelta(milliseconds=60)
    assert not terminal.asked


def test_pause_task_has_a_message_of_its_own() -> None:
    # R-PAUSE-3
    @task
    def waits() -> None:
        pause_task()

    flow, called = flow_of(waits)
    assert flow.run().result[called].message == "Pause signal raised during task execution."


def test_paused_task_that_is_handed_over_as_resumed_runs() -> None:
    # R-PAUSE-1, R-RUN-13
    flow, called = flow_of(asks)
    assert flow.run(task_states={called: Resume("yes")}).result[called].result is True
