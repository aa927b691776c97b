"""What `flow.run` does: what it takes, how it ends, and each step of a task's way."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import tenuto
from tenuto import Flow, Parameter, task
from tenuto.configuration import home_path
from tenuto.engine import FlowRunner, signals
from tenuto.engine.results import LocalResult
from tenuto.engine.state import (
    Cached,
    Cancelled,
    Failed,
    Looped,
    Mapped,
    Pending,
    Retrying,
    Running,
    Scheduled,
    State,
    Success,
    TriggerFailed,
)
from tenuto.executors import LocalExecutor
from tenuto.journal.fold import fold
from tenuto.journal.home import Home
from tenuto.journal.reader import read_events
from tenuto.triggers import all_finished, all_successful, manual_only
from tenuto.utilities.configuration import set_temporary_config
from tenuto.utilities.debug import raise_on_exception
from tests.fakes.runs import (
    NOW,
    Changes,
    count,
    fail_signal,
    fails,
    flow_of,
    newest_run,
    one,
    plus,
    records,
    skips,
    total,
)

# -------------------------------------------------------------------------------- flow.run


def test_run_is_one_run_with_all_its_retries_and_returns_the_final_state() -> None:
    # R-RUN-1, R-RETRY-4
    attempts: list[int] = []

    @task(max_retries=2, retry_delay=NOW)
    def flaky() -> int:
        attempts.append(1)
        if len(attempts) < 3:
            raise OSError("not yet")
        return len(attempts)

    with Flow("retrying") as flow:
        last = plus(flaky())
    state = flow.run()
    assert type(state) is Success
    assert state.result[last].result == 4
    assert len(attempts) == 3
    assert len(Home(home_path()).run_ids()) == 1


def test_run_inside_of_its_own_block_is_refused() -> None:
    # R-RUN-2
    with Flow("inside") as flow:
        one()
        with pytest.raises(RuntimeError) as caught:
            flow.run()
    text = str(caught.value)
    assert text.startswith("Don't call `flow.run()` from within a `Flow` context manager.")
    assert "# don't" in text
    assert "# do\n" in text


def test_run_while_the_file_is_being_loaded_does_nothing() -> None:
    # R-RUN-3
    ran: list[int] = []
    flow, _ = flow_of(task(lambda: ran.append(1), name="note"))
    with tenuto.context(loading_flow=True), pytest.warns(UserWarning, match="flow.run"):
        assert flow.run() is None
    assert not ran


def parameter_flow() -> tuple[Flow, Any, list[str]]:
    ran: list[str] = []

    @task
    def show(a: Any, b: Any) -> tuple[Any, Any]:
        ran.append("show")
        return a, b

    with Flow("parameters") as flow:
        shown = show(Parameter("a"), Parameter("b", default=2))
    return flow, shown, ran


def test_unknown_parameters_are_refused_before_anything_runs() -> None:
    # R-RUN-4
    flow, _, ran = parameter_flow()
    text = "Flow.run received the following unexpected parameters: zz, yy"
    for error in (ValueError, TypeError):
        with pytest.raises(error, match=re.escape(text)):
            flow.run(parameters={"a": 1, "zz": 1, "yy": 1})
    with pytest.raises(ValueError, match=re.escape("unexpected parameters: zz")):
        flow.run(a=1, zz=2)
    assert not ran
    assert not (home_path() / "runs").exists()


def test_missing_parameters_are_refused_before_anything_runs() -> None:
    # R-RUN-5
    flow, _, ran = parameter_flow()
    with pytest.raises(ValueError, match="^Flow.run did not receive the following required parameters: a$"):
        flow.run(b=1)
    assert not ran
    assert not (home_path() / "runs").exists()


def test_keyword_wins_over_parameters_and_the_callers_dictionary_stays() -> None:
    # R-RUN-6
    flow, shown, _ = parameter_flow()
    given = {"a": 1, "b": 5}
    state = flow.run(parameters=given, a=3)
    assert state.result[shown].result == (3, 5)
    assert given == {"a": 1, "b": 5}


def test_return_tasks_is_refused() -> None:
    # R-RUN-7
    flow, called = flow_of(one)
    with pytest.raises(ValueError, match="return_tasks"):
        flow.run(return_tasks=[called])


class Noting(LocalExecutor):
    """An executor that tells that it was asked."""

    asked: list[str] = []  # noqa: RUF012  # shared on purpose: the configuration makes an instance of its own

    def __init__(self, name: str = "configured") -> None:
        self.name = name

    def submit(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.asked.append(self.name)
        return super().submit(fn, *args, **kwargs)


def test_executor_is_that_of_the_call_else_of_the_flow_else_of_the_settings() -> None:
    # R-RUN-8
    flow, _ = flow_of(one)
    Noting.asked.clear()
    with set_temporary_config({"engine.executor.default_class": f"{__name__}.Noting"}):
        flow.run()
        flow.executor = Noting("the flow's")
        flow.run()
        flow.run(executor=Noting("the call's"))
    assert Noting.asked == ["configured", "the flow's", "the call's"]


def test_executor_that_cannot_be_imported_is_warned_about() -> None:
    # R-RUN-8
    flow, _ = flow_of(one)
    with (
        set_temporary_config({"engine.executor.default_class": "nowhere.Executor"}),
        pytest.warns(UserWarning, match="Could not import 'nowhere.Executor'"),
    ):
        assert flow.run().is_successful()


def test_run_starts_from_scheduled() -> None:
    # R-RUN-9, R-HAND-2
    changes = Changes()
    starts: list[Any] = []

    def note_start(flow: Flow, old: State, new: State) -> None:
        if isinstance(old, Scheduled):
            starts.append(old.start_time)

    flow, _ = flow_of(one, state_handlers=[changes, note_start])
    before = datetime.now(UTC)
    flow.run()
    assert changes.seen == [("Scheduled", "Running"), ("Running", "Success")]
    assert before <= starts[0] <= datetime.now(UTC)


# -------------------------------------------------------------------------------- how a run ends


@task
def cancels() -> None:
    raise signals.ENDRUN(Cancelled("no more"))


@pytest.mark.parametrize(
    ("tasks", "cls", "message", "level", "line"),
    [
        (
            [one, fails],
            Failed,
            "Some reference tasks failed.",
            "INFO",
            "Flow run FAILED: some reference tasks failed.",
        ),
        (
            [one, skips],
            Success,
            "All reference tasks succeeded.",
            "INFO",
            "Flow run SUCCESS: all reference tasks succeeded",
        ),
        (
            [one, cancels],
            Success,
            "No reference tasks failed.",
            "INFO",
            "Flow run SUCCESS: no reference tasks failed",
        ),
        (
            [cancels, fails],
            Failed,
            "Some reference tasks failed.",
            "INFO",
            "Flow run FAILED: some reference tasks failed.",
        ),
        (
            [],
            Success,
            "All reference tasks succeeded.",
            "INFO",
            "Flow run SUCCESS: all reference tasks succeeded",
        ),
    ],
)
def test_final_state_follows_the_reference_tasks(
    tasks: list[Any],
    cls: type[State],
    message: str,
    level: str,
    line: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # R-RUN-10
    with Flow("final") as flow:
        for each in tasks:
            each()
    state = flow.run()
    assert (type(state), state.message) == (cls, message)
    assert (level, "tenuto.FlowRunner", line) in records(caplog)


def test_run_with_an_unfinished_terminal_task_stays_running(caplog: pytest.LogCaptureFixture) -> None:
    # R-RUN-10
    flow, _ = flow_of(task(lambda: 1, name="approve", trigger=manual_only))
    state = flow.run()
    assert type(state) is Running
    assert (
        "INFO",
        "tenuto.FlowRunner",
        "Flow run RUNNING: terminal tasks are incomplete.",
    ) in records(caplog)


def test_final_state_looks_at_children_and_only_at_reference_tasks() -> None:
    # R-RUN-10, R-MAP-11
    @task
    def odd(x: int) -> int:
        if x == 2:
            raise ValueError
        return x

    with Flow("children") as flow:
        many = odd.map([1, 2])
        other = one()
    assert flow.run().is_failed()
    flow.set_reference_tasks([other])
    state = flow.run()
    assert state.is_successful()
    assert state.result[many].is_mapped()


def test_result_has_the_state_of_every_task() -> None:
    # R-RUN-11
    with Flow("all") as flow:
        first = one()
        second = plus(first)
        listed = count([first, second])
    state = flow.run()
    assert isinstance(state.result, dict)
    assert state.result.keys() == flow.tasks
    assert state.result[second].result == 2
    assert state.result[listed].result == 2


def test_tasks_without_a_state_are_pending() -> None:
    # R-RUN-11, R-HAND-4
    def refuse(flow: Flow, old: State, new: State) -> State:
        raise signals.ENDRUN(Failed("not today"))

    flow, called = flow_of(one, state_handlers=[refuse])
    state = flow.run()
    assert (type(state), state.message) == (Failed, "not today")
    assert repr(state.result[called]) == '<Pending: "Task not run.">'


def test_terminal_state_handler_may_replace_the_state() -> None:
    # R-RUN-12
    given: list[Any] = []

    def decide(flow: Flow, state: State, reference: set[State]) -> State | None:
        given.append((flow, state, reference))
        return Failed("on second thought") if replaces else None

    with Flow("decided", terminal_state_handler=decide) as flow:
        first = one()
        second = plus(first)
    replaces = False
    state = flow.run()
    assert state.is_successful()
    assert given[0][0] is flow
    assert given[0][1] is state
    assert given[0][2] == {state.result[second]}

    replaces = True
    state = flow.run()
    assert (type(state), state.message) == (Failed, "on second thought")
    assert state.result[first].result == 1
    assert newest_run().message == "on second thought"


# -------------------------------------------------------------------------------- states to begin from


def test_finished_state_that_is_handed_over_is_taken_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    # R-RUN-13, spec 02 section 10
    ran: list[str] = []

    @task
    def first() -> int:
        ran.append("first")
        return 1

    with Flow("continued") as flow:
        a = first()
        b = plus(a)
    given = Success(result=10)
    state = flow.run(task_states={a: given})
    assert state.result[a] is given
    assert state.result[b].result == 11
    assert not ran
    assert not any("'first'" in message for message in caplog.messages)


def test_failed_state_that_is_handed_over_counts_as_failed() -> None:
    # R-RUN-13
    with Flow("continued") as flow:
        a = one()
        b = plus(a)
    state = flow.run(task_states={a: Failed("before")})
    assert type(state.result[b]) is TriggerFailed
    assert state.is_failed()


def test_cached_state_that_is_handed_over_goes_through_the_pipeline() -> None:
    # R-RUN-13, R-CACHE-5
    ran: list[int] = []

    @task(cache_for=timedelta(hours=1))
    def cached() -> int:
        ran.append(1)
        return 5

    flow, called = flow_of(cached)
    good = Cached(result=7, cached_result_expiration=datetime.now(UTC) + timedelta(hours=1))
    assert flow.run(task_states={called: good}).result[called].result == 7
    assert not ran
    stale = Cached(result=7, cached_result_expiration=datetime.now(UTC) - timedelta(hours=1))
    assert flow.run(task_states={called: stale}).result[called].result == 5
    assert ran == [1]


def test_mapped_state_that_is_handed_over_keeps_its_finished_children() -> None:
    # R-RUN-13, R-RETRY-9
    ran: list[int] = []

    @task
    def double(x: int) -> int:
        ran.append(x)
        return 2 * x

    with Flow("children") as flow:
        many = double.map([1, 2, 3])
        whole = total(many)
    earlier = Mapped(map_states=[Success(result=2), Pending(), Success(result=6)])
    state = flow.run(task_states={many: earlier})
    assert ran == [2]
    assert state.result[many].result == [2, 4, 6]
    assert state.result[whole].result == 12


def test_pending_and_retrying_states_run() -> None:
    # R-RUN-13
    counts: list[int] = []

    @task(max_retries=5, retry_delay=NOW)
    def counted() -> None:
        counts.append(tenuto.context.task_run_count)

    flow, called = flow_of(counted)
    flow.run(task_states={called: Pending()})
    flow.run(task_states={called: Retrying(run_count=3, start_time=datetime.now(UTC))})
    assert counts == [1, 4]


def test_scheduled_task_waits_for_its_time_and_others_do_not(caplog: pytest.LogCaptureFixture) -> None:
    # R-RUN-13, spec 02 section 2 step 4
    order: list[str] = []

    @task
    def note(name: str) -> None:
        order.append(name)

    with Flow("scheduled") as flow:
        late = note("late")
        note("early")
    due = datetime.now(UTC) + timedelta(milliseconds=60)
    state = flow.run(task_states={late: Scheduled(start_time=due)})
    assert state.is_successful()
    assert order == ["early", "late"]
    assert datetime.now(UTC) >= due
    waiting = f"Waiting for next available Task run at {due}"
    assert ("INFO", "tenuto.scheduled", waiting) in records(caplog)


@pytest.mark.parametrize("state", [Running(), Looped()])
def test_state_that_nothing_can_begin_from_is_refused(state: State) -> None:
    # R-RUN-14
    flow, called = flow_of(one)
    with pytest.raises(ValueError, match="from which a task cannot start"):
        flow.run(task_states={called: state})
    assert not (home_path() / "runs").exists()


def test_finished_flow_state_is_returned_at_once() -> None:
    # R-RUN-15
    flow, called = flow_of(one)
    given = Success("done before")
    state = flow.run(state=given)
    assert state is given
    assert repr(state.result[called]) == '<Pending: "Task not run.">'


def test_unexpected_error_of_the_runner_fails_the_run(caplog: pytest.LogCaptureFixture) -> None:
    # R-RUN-16
    def broken(flow: Flow, state: State, reference: set[State]) -> State:
        raise RuntimeError("oops")

    flow, called = flow_of(one, terminal_state_handler=broken)
    state = flow.run()
    assert (type(state), state.message) == (Failed, "Unexpected error: RuntimeError('oops')")
    assert state.result[called].result == 1
    assert repr(state.error) == "RuntimeError('oops')"
    text = "Unexpected error occured in FlowRunner: RuntimeError('oops')"
    assert ("ERROR", "tenuto.single", text) in records(caplog)
    assert newest_run().state == "Failed"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupts_leave_the_run_as_exceptions(error: type[BaseException]) -> None:
    # R-RUN-17
    def interrupted() -> None:
        raise error

    flow, _ = flow_of(task(interrupted))
    with pytest.raises(error):
        flow.run()
    view = newest_run()
    assert view.is_finished
    assert not view.is_successful


def test_flow_runs_inside_of_a_task(caplog: pytest.LogCaptureFixture) -> None:
    # R-RUN-18
    inner, called = flow_of(task(lambda: tenuto.context.note, name="noted"))

    @task
    def outer() -> Any:
        state = inner.run()
        return state.result[called].result, tenuto.context.task_name, tenuto.context.flow_name

    with Flow("outer") as flow:
        last = outer()
    state = flow.run(context={"note": "from outside"})
    assert state.result[last].result == ("from outside", "outer", "outer")
    begun = [message for message in caplog.messages if message.startswith("Beginning")]
    assert begun == ["Beginning Flow run for 'outer'", "Beginning Flow run for 'single'"]
    inner_run, outer_run = (
        fold(read_events(Home(home_path()).run_folder(run) / "1.journal"))
        for run in Home(home_path()).run_ids()
    )
    assert inner_run.header.parent == outer_run.header.flow_run_id


def test_flow_runner_makes_one_pass() -> None:
    # R-RUN-19
    @task(max_retries=1, retry_delay=timedelta(hours=1))
    def later() -> int:
        raise OSError

    with Flow("pass") as flow:
        a: Any = later()
        b: Any = plus(a)
        c: Any = one()
    state = FlowRunner(flow).run(return_tasks=[a, b, c])
    assert state.is_running()
    assert type(state.result[a]) is Retrying
    assert type(state.result[b]) is Pending
    assert state.result[c].result == 1
    assert FlowRunner(flow).run().result == {}
    with pytest.raises(ValueError, match="return_tasks"):
        FlowRunner(flow).run(return_tasks=[one])


# -------------------------------------------------------------------------------- a task's way


def test_lines_of_a_run_name_tasks_and_children(caplog: pytest.LogCaptureFixture) -> None:
    # R-PIPE-1, R-MAP-5, spec 02 section 1
    @task
    def page(number: int) -> int:
        return number

    with Flow("pages") as flow:
        whole = total(page.map([1, 2]))
    assert flow.run().result[whole].result == 3
    started, finished = "Starting task run...", "Finished task run for task with final state:"
    assert records(caplog) == [
        ("INFO", "tenuto.FlowRunner", "Beginning Flow run for 'pages'"),
        ("INFO", "tenuto.TaskRunner", f"Task 'page': {started}"),
        ("INFO", "tenuto.TaskRunner", f"Task 'page': {finished} 'Mapped'"),
        ("INFO", "tenuto.TaskRunner", f"Task 'page[0]': {started}"),
        ("INFO", "tenuto.TaskRunner", f"Task 'page[0]': {finished} 'Success'"),
        ("INFO", "tenuto.TaskRunner", f"Task 'page[1]': {started}"),
        ("INFO", "tenuto.TaskRunner", f"Task 'page[1]': {finished} 'Success'"),
        ("INFO", "tenuto.TaskRunner", f"Task 'total': {started}"),
        ("INFO", "tenuto.TaskRunner", f"Task 'total': {finished} 'Success'"),
        ("INFO", "tenuto.FlowRunner", "Flow run SUCCESS: all reference tasks succeeded"),
    ]


def test_async_functions_are_run_to_their_end() -> None:
    # R-PIPE-2
    @task
    async def answer(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    @task(max_retries=1, retry_delay=NOW)
    async def trouble() -> None:
        await asyncio.sleep(0)
        raise ValueError("async")

    with Flow("async") as flow:
        good = answer(41)
        bad = trouble()
    state = flow.run()
    assert state.result[good].result == 42
    assert state.result[bad].message == "Error during execution of task: ValueError('async')"


def test_async_functions_run_where_a_loop_is_running_already() -> None:
    # R-PIPE-2
    @task
    async def who() -> tuple[str, int]:
        await asyncio.sleep(0)
        return tenuto.context.task_name, threading.get_ident()

    flow, called = flow_of(who)

    async def notebook() -> State:
        return flow.run()

    name, thread = asyncio.run(notebook()).result[called].result
    assert name == "who"
    assert thread != threading.get_ident()


def test_exception_is_one_error_record_and_the_state_tells_it(caplog: pytest.LogCaptureFixture) -> None:
    # R-PIPE-3
    flow, called = flow_of(fails)
    reached = flow.run().result[called]
    assert type(reached) is Failed
    assert reached.message == "Error during execution of task: ValueError('as it was')"
    assert isinstance(reached.result, ValueError)
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.name == "tenuto.TaskRunner"
    assert record.getMessage() == "Task 'fails': Exception encountered during task execution!"
    assert record.exc_info is not None
    assert record.exc_info[1] is reached.result


def test_exception_that_cannot_be_shown_fails_its_task_only() -> None:
    # R-PIPE-3
    class Unspeakable(Exception):
        def __repr__(self) -> str:
            raise RuntimeError("no words")

        __str__ = __repr__

    def raises() -> None:
        raise Unspeakable

    with Flow("unspeakable") as flow:
        bad: Any = task(raises)()
        good: Any = one()
    logging.getLogger("tenuto").setLevel(logging.CRITICAL)  # The logging module cannot show it either.
    state = flow.run()
    assert type(state.result[bad]) is Failed
    assert isinstance(state.result[bad].result, Unspeakable)
    assert state.result[good].result == 1
    assert state.message == "Some reference tasks failed."


@pytest.mark.parametrize(
    ("signal", "line"),
    [
        (signals.FAIL("msg"), "FAIL signal raised: FAIL('msg')"),
        (signals.SKIP("msg"), "SKIP signal raised: SKIP('msg')"),
        (signals.VALIDATIONFAIL("msg"), "VALIDATIONFAIL signal raised: VALIDATIONFAIL('msg')"),
        (signals.SUCCESS("msg"), None),
    ],
)
def test_signals_are_told_except_for_success(
    signal: BaseException, line: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    # R-PIPE-4
    def raises() -> None:
        raise signal

    flow_of(task(raises))[0].run()
    told = [record for record in records(caplog) if "signal raised" in record[2]]
    assert told == ([] if line is None else [("INFO", "tenuto.TaskRunner", line)])


def test_loops_are_not_told(caplog: pytest.LogCaptureFixture) -> None:
    # R-PIPE-4
    @task
    def twice() -> None:
        if tenuto.context.get("task_loop_count", 1) < 2:
            raise signals.LOOP("again")

    flow_of(twice)[0].run()
    assert not [message for message in caplog.messages if "signal raised" in message]


def test_trigger_is_asked_also_when_the_target_is_there(tmp_path: Path) -> None:
    # R-PIPE-5
    place = LocalResult(dir=str(tmp_path))
    stored = LocalResult(dir=str(tmp_path), location="there").write(5)
    assert stored.location is not None

    with Flow("targets") as flow:
        bad = fails()
        good = one()
        refused = task(lambda: 1, name="refused", target="there", result=place)(upstream_tasks=[bad])
        kept = task(lambda: 1, name="kept", target="there", result=place)(upstream_tasks=[good])
    state = flow.run()
    assert type(state.result[refused]) is TriggerFailed
    assert type(state.result[kept]) is Cached
    assert state.result[kept].result == 5


def test_failed_and_skipped_upstreams_hand_their_results_on() -> None:
    # R-PIPE-6
    @task(trigger=all_finished, skip_on_upstream_skip=False)
    def show(a: Any, b: Any, c: Any, d: Any) -> tuple[Any, Any, Any, Any]:
        return a, b, c, d

    @task
    def fails_with() -> None:
        raise signals.FAIL("no", result=7)

    with Flow("handed on") as flow:
        broken = fails()
        skipped = skips()
        after = plus(skipped)
        shown = show(broken, fails_with(), skipped, after)
    state = flow.run()
    error, seven, signal, nothing = state.result[shown].result
    assert error is state.result[broken].result
    assert seven == 7
    assert isinstance(signal, signals.SKIP)
    assert nothing is None


def test_values_are_handed_on_by_reference() -> None:
    # R-PIPE-7
    @task
    def rows() -> list[int]:
        return [1]

    @task
    def add(rows: list[int]) -> list[int]:
        rows.append(2)
        return rows

    with Flow("references") as flow:
        made = rows()
        first = add(made)
        second = task(lambda rows: list(rows), name="copy")(made, upstream_tasks=[first])
    state = flow.run()
    assert state.result[first].result is state.result[made].result
    assert state.result[second].result == [1, 2]


def test_name_of_a_run_that_cannot_be_made_fails_the_task() -> None:
    # spec 02 section 2 step 8, R-CTX-7
    ran: list[int] = []

    @task(task_run_name="{missing}", max_retries=1, retry_delay=NOW)
    def named() -> None:
        ran.append(1)

    flow, called = flow_of(named)
    reached = flow.run().result[called]
    assert type(reached) is Failed
    assert reached.message == "Task 'named': Unexpected error while running task: KeyError('missing')"
    assert not ran


# -------------------------------------------------------------------------------- debugging


def test_exceptions_leave_the_run_where_that_is_asked_for() -> None:
    # R-DBG-1
    flow, _ = flow_of(fails)
    with raise_on_exception(), pytest.raises(ValueError, match="as it was"):
        flow.run()
    flow, called = flow_of(fail_signal)
    with raise_on_exception():
        assert type(flow.run().result[called]) is Failed
    assert all_successful({}) is True
