"""Who else takes part in a run: state handlers, and the executors that bodies run on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import cloudpickle
import pytest

import tenuto
from tenuto import Flow, task, unmapped
from tenuto._base.ids import new_flow_run_id
from tenuto.configuration import home_path
from tenuto.engine import TaskRunner, signals
from tenuto.engine.state import (
    Cancelled,
    Failed,
    Paused,
    Running,
    Skipped,
    State,
    Success,
)
from tenuto.executors import Executor, LocalExecutor
from tenuto.journal.fold import fold
from tenuto.journal.home import Home
from tenuto.journal.logs import read_logs
from tenuto.journal.reader import read_events
from tenuto.utilities.configuration import set_temporary_config
from tenuto.utilities.notifications import callback_factory
from tests.fakes.executors import ThreadExecutor, TicketExecutor
from tests.fakes.runs import (
    NOW,
    Change,
    Changes,
    count,
    fails,
    flow_of,
    one,
    plus,
    skips,
)

# -------------------------------------------------------------------------------- handlers


def test_handlers_are_called_in_order_and_may_replace_the_state() -> None:
    # R-HAND-1
    given: list[tuple[str, Any, str, str]] = []

    def first(obj: Any, old: State, new: State) -> State | None:
        given.append(("first", obj, type(old).__name__, type(new).__name__))
        return Success("replaced", result=5) if new.is_failed() else None

    def second(obj: Any, old: State, new: State) -> None:
        given.append(("second", obj, type(old).__name__, type(new).__name__))

    flow, called = flow_of(fails.copy(state_handlers=[first, second]))
    state = flow.run()
    assert state.is_successful()
    assert (state.result[called].message, state.result[called].result) == ("replaced", 5)
    assert given == [
        ("first", called, "Pending", "Running"),
        ("second", called, "Pending", "Running"),
        ("first", called, "Running", "Failed"),
        ("second", called, "Running", "Success"),
    ]


def test_usual_sequences_of_a_task() -> None:
    # R-HAND-2
    def sequence(made: Any, *upstream: Any) -> list[Change]:
        changes = Changes()
        with Flow("sequence") as flow:
            made.copy(state_handlers=[changes])(upstream_tasks=[each() for each in upstream])
        flow.run()
        return changes.seen

    running = ("Pending", "Running")
    assert sequence(one) == [running, ("Running", "Success")]
    assert sequence(fails) == [running, ("Running", "Failed")]
    assert sequence(skips) == [running, ("Running", "Skipped")]
    assert sequence(one, skips) == [("Pending", "Skipped")]
    assert sequence(one, fails) == [("Pending", "TriggerFailed")]
    cached = task(lambda: 1, name="cached", cache_for=timedelta(hours=1))
    assert sequence(cached) == [running, ("Running", "Success"), ("Success", "Cached")]
    assert sequence(cached) == [("Pending", "Cached")]


def test_sequences_of_a_mapped_task() -> None:
    # R-HAND-2
    seen: list[tuple[Any, str, str]] = []

    def note(obj: Any, old: State, new: State) -> None:
        seen.append((tenuto.context.map_index, type(old).__name__, type(new).__name__))

    with Flow("mapped") as flow:
        plus.copy(state_handlers=[note]).map([1, 2], y=unmapped(1))
    flow.run()
    assert seen == [
        (None, "Pending", "Mapped"),
        (0, "Pending", "Running"),
        (0, "Running", "Success"),
        (1, "Pending", "Running"),
        (1, "Running", "Success"),
    ]


def test_handler_that_raises_fails_the_task_without_a_retry() -> None:
    # R-HAND-3
    calls: list[str] = []

    def broken(obj: Any, old: State, new: State) -> None:
        calls.append(type(new).__name__)
        if new.is_successful():
            raise RuntimeError("oops")

    flow, called = flow_of(one.copy(state_handlers=[broken], max_retries=2, retry_delay=NOW))
    reached = flow.run().result[called]
    text = "Unexpected error while calling state handlers: RuntimeError('oops')"
    assert (type(reached), reached.message) == (Failed, text)
    assert isinstance(reached.result, RuntimeError)
    assert calls == ["Running", "Success"]


@pytest.mark.parametrize("when", [Running, Success])
def test_handler_of_a_flow_that_raises_fails_the_run(when: type[State]) -> None:
    # R-HAND-3, R-RUN-16
    def broken(obj: Any, old: State, new: State) -> None:
        if isinstance(new, when):
            raise RuntimeError("oops")

    flow, called = flow_of(one, state_handlers=[broken])
    state = flow.run()
    assert (type(state), state.message) == (
        Failed,
        "Unexpected error while calling state handlers: RuntimeError('oops')",
    )
    assert called in state.result
    assert repr(state.error) == "RuntimeError('oops')"


def test_handler_may_raise_signals() -> None:
    # R-HAND-4, R-SIG-5
    def raising(signal: BaseException, when: type[State]) -> Any:
        def handler(obj: Any, old: State, new: State) -> None:
            if isinstance(new, when):
                raise signal

        return one.copy(state_handlers=[handler])

    def reached(made: Any) -> State:
        flow, called = flow_of(made)
        state: State = flow.run().result[called]
        return state

    skipped = reached(raising(signals.SKIP("no need"), Running))
    assert (type(skipped), skipped.message) == (Skipped, "no need")
    failed = reached(raising(signals.FAIL("looks wrong"), Success))
    assert (type(failed), failed.message) == (Failed, "looks wrong")
    assert type(reached(raising(signals.PAUSE("wait"), Running))) is Paused
    ended = reached(raising(signals.ENDRUN(Cancelled("enough")), Running))
    assert (type(ended), ended.message) == (Cancelled, "enough")


def test_failure_that_a_handler_decides_on_is_retried_like_others() -> None:
    # R-HAND-4, R-RETRY-1
    counts: list[int] = []

    def picky(obj: Any, old: State, new: State) -> None:
        if new.is_successful() and new.result == 1:
            raise signals.FAIL("too small")

    @task(max_retries=2, retry_delay=NOW, state_handlers=[picky])
    def counted() -> int:
        counts.append(tenuto.context.task_run_count)
        return len(counts)

    flow, called = flow_of(counted)
    assert flow.run().result[called].result == 2
    assert counts == [1, 2]


def test_handlers_run_in_the_context_of_the_run() -> None:
    # R-HAND-5
    seen: list[tuple[str, Any]] = []

    def of_task(obj: Any, old: State, new: State) -> None:
        seen.append((tenuto.context.flow_name, tenuto.context.task_name))

    def of_flow(obj: Any, old: State, new: State) -> None:
        seen.append((tenuto.context.flow_name, tenuto.context.get("task_name")))

    flow_of(one.copy(state_handlers=[of_task]), state_handlers=[of_flow])[0].run()
    assert seen == [("single", None), ("single", "one"), ("single", "one"), ("single", None)]


def test_on_failure_comes_after_the_handlers_and_what_it_returns_is_ignored() -> None:
    # R-HAND-5
    order: list[str] = []

    def handler(obj: Any, old: State, new: State) -> None:
        order.append(f"handler {type(new).__name__}")

    def on_failure(obj: Any, state: State) -> State:
        order.append(f"on_failure {obj!r} {type(state).__name__}")
        return Success("ignored")

    made = task(lambda: 1 / 0, name="broken", state_handlers=[handler], on_failure=on_failure)
    flow, called = flow_of(made)
    assert flow.run().result[called].is_failed()
    assert order == ["handler Running", "handler Failed", "on_failure <Task: broken> Failed"]


def test_callback_factory_calls_where_the_check_holds() -> None:
    # R-HAND-6
    told: list[tuple[Any, str]] = []
    callback = callback_factory(
        lambda obj, state: told.append((obj, type(state).__name__)),
        check=lambda state: [1] if state.is_successful() else [],  # Truthy is enough.
    )
    flow, called = flow_of(one.copy(state_handlers=[callback]))
    flow.run()
    assert told == [(called, "Success")]


def test_handlers_of_runners_come_after_those_of_the_object() -> None:
    # R-HAND-7
    order: list[tuple[str, str]] = []

    def of_task(obj: Any, old: State, new: State) -> None:
        order.append(("task", type(obj).__name__))

    def of_runner(obj: Any, old: State, new: State) -> None:
        order.append(("runner", type(obj).__name__))

    flow, _ = flow_of(one.copy(state_handlers=[of_task]))
    flow.run(task_runner_state_handlers=[of_runner])
    pair = [("task", "FunctionTask"), ("runner", "TaskRunner")]
    assert order == [*pair, *pair]
    order.clear()
    assert TaskRunner(one, state_handlers=[of_runner]).run().result == 1
    assert order == [("runner", "TaskRunner")] * 2


# -------------------------------------------------------------------------------- executors


def test_local_executor_returns_values_and_wait_leaves_them() -> None:
    # R-EXEC-1
    executor = LocalExecutor()
    with executor.start():
        assert executor.submit(lambda x, y: x + y, 1, y=2, extra_context={"task_name": "x"}) == 3
        assert executor.wait([1, {"a": [2]}]) == [1, {"a": [2]}]
    with pytest.raises(NotImplementedError):
        Executor().submit(print)
    with pytest.raises(NotImplementedError):
        Executor().wait([])


@pytest.mark.parametrize("executor", [ThreadExecutor(), TicketExecutor()])
def test_wait_resolves_any_nesting(executor: Executor) -> None:
    # R-EXEC-1
    with executor.start():
        future = executor.submit(lambda: 3)
        assert executor.wait([future, {"a": [future, 4]}]) == [3, {"a": [3, 4]}]


def test_bodies_run_at_the_same_time_where_the_executor_lets_them() -> None:
    # R-EXEC-1
    meeting = threading.Barrier(3, timeout=20)

    @task
    def meet(x: int) -> int:
        meeting.wait()  # Only if all three are here at once does this end.
        return x

    with Flow("meeting") as flow:
        many = meet.map([1, 2])
        single = meet(3)
    executor = ThreadExecutor(3)
    state = flow.run(executor=executor)
    assert state.result[many].result == [1, 2]
    assert state.result[single].result == 3
    assert executor.most == 3


def test_executor_is_told_what_it_may_place_work_by() -> None:
    # R-EXEC-1
    given: list[dict[str, Any]] = []

    class Placing(TicketExecutor):
        def submit(self, fn: Callable[..., Any], *args: Any, extra_context: Any = None, **kwargs: Any) -> Any:
            given.append(extra_context)
            return super().submit(fn, *args, **kwargs)

    placed = task(lambda x: x, name="placed", tags=["gpu"], executor_options={"cores": 2})
    with Flow("placed") as flow:
        placed.map([1, 2])
    flow.run(executor=Placing())
    assert [(facts["task_name"], facts["map_index"], facts["cores"]) for facts in given] == [
        ("placed", 0, 2),
        ("placed", 1, 2),
    ]
    assert given[0]["task_tags"] == {"gpu"}


def test_log_records_of_other_threads_belong_to_their_run() -> None:
    # R-LOG-12, R-EXEC-1
    @task
    def tells(x: int) -> None:
        tenuto.context.logger.warning("told %d", x)

    with Flow("threads") as flow:
        tells.map([1, 2])
    flow.run(executor=ThreadExecutor(), flow_run_id="0190a0a0-0000-7000-8000-000000000001")
    path = Home(home_path()).run_folder("0190a0a0-0000-7000-8000-000000000001") / "1.logs.jsonl"
    told = {line.message: (line.slug, line.index) for line in read_logs(path) if "told" in line.message}
    assert told == {"told 1": ("tells-1", 0), "told 2": ("tells-1", 1)}


class Copying(Executor):
    """Runs what arrives at the other end of a pickle: how another process would see it."""

    def submit(
        self, fn: Callable[..., Any], *args: Any, extra_context: dict[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        work = cloudpickle.loads(cloudpickle.dumps((fn, args, kwargs)))
        return cloudpickle.dumps(work[0](*work[1], **work[2]))

    def wait(self, futures: Any) -> Any:
        return cloudpickle.loads(futures)


def test_tasks_arguments_and_results_travel_by_pickle() -> None:
    # R-EXEC-2, R-EXEC-1
    outside = {"factor": 3}

    @task
    def rows() -> list[int]:
        return [1, 2]

    @task
    def times(x: int) -> tuple[int, Any]:
        return x * outside["factor"], tenuto.context.map_index

    with Flow("pickled") as flow:
        made = rows()
        many = times.map(made)
        bad = fails()
    with set_temporary_config({"flows.keep_results": "never"}):
        state = flow.run(executor=Copying())
    assert state.result[many].result == [(3, 0), (6, 1)]
    assert state.result[bad].message == "Error during execution of task: ValueError('as it was')"


def test_executor_is_started_once_a_run() -> None:
    # R-EXEC-3
    executor = ThreadExecutor()

    @task(max_retries=2, retry_delay=NOW)
    def flaky() -> None:
        if tenuto.context.task_run_count < 3:
            raise OSError

    flow, _ = flow_of(flaky)
    assert flow.run(executor=executor).is_successful()
    assert executor.starts == 1


def test_executor_is_closed_when_a_run_is_interrupted() -> None:
    # R-EXEC-3, R-RUN-17
    ended: list[str] = []

    class Closing(LocalExecutor):
        @contextmanager
        def start(self) -> Iterator[None]:
            try:
                yield
            finally:
                ended.append("closed")

    def interrupted() -> None:
        raise KeyboardInterrupt

    flow, _ = flow_of(task(interrupted))
    with pytest.raises(KeyboardInterrupt):
        flow.run(executor=Closing())
    assert ended == ["closed"]


def test_maps_run_breadth_first() -> None:
    # R-EXEC-5, R-MAP-19
    order: list[str] = []

    @task
    def step(x: int, name: str) -> int:
        order.append(f"{name}{x}")
        return x

    with Flow("breadth") as flow:
        step.map(step.map([1, 2, 3], name=unmapped("a")), name=unmapped("b"))
    flow.run()
    assert order == ["a1", "a2", "a3", "b1", "b2", "b3"]


def test_child_goes_on_as_soon_as_its_own_input_is_there() -> None:
    # R-EXEC-5, R-MAP-13
    gone_ahead = threading.Event()

    @task
    def first(x: int) -> int:
        if x == 0:
            assert gone_ahead.wait(20)  # Until the other child's next step has been made.
        return x

    @task
    def second(x: int) -> int:
        if x == 1:
            gone_ahead.set()
        return 10 * x

    with Flow("depth") as flow:
        many = second.map(first.map([0, 1]))
    assert flow.run(executor=ThreadExecutor()).result[many].result == [0, 10]


def test_old_import_path_of_executors_is_valid() -> None:
    # R-EXEC-7
    from tenuto.engine.executors import LocalExecutor as Old

    assert Old is LocalExecutor


# -------------------------------------------------------------------------------- runs beside each other


def test_runs_in_several_threads_keep_everything_apart() -> None:
    # R-CTX-1, R-LOG-12, I-3
    troubles: list[str] = []

    def work(worker: int) -> None:
        for number in range(5):
            mark = f"mark {worker}.{number}"

            @task(max_retries=1, retry_delay=NOW)
            def flaky(mark: str) -> list[int]:
                tenuto.context.logger.info(mark)
                if tenuto.context.task_run_count == 1:
                    raise ValueError(mark)
                return list(range(2000))

            @task
            def who(x: int) -> tuple[str, int]:
                return tenuto.context.flow_run_id, x

            with Flow(f"flow {worker}.{number}") as flow:
                size = count(flaky(mark))
                many = who.map([1, 2])
            run_id = new_flow_run_id()
            state = flow.run(flow_run_id=run_id)
            folder = Home(home_path()).run_folder(run_id)
            view = fold(read_events(folder / "1.journal"))
            lines = list(read_logs(folder / "1.logs.jsonl"))
            if not (
                state.result[size].result == 2000
                and state.result[many].result == [(run_id, 1), (run_id, 2)]
                and (view.state, len(view.tasks)) == ("Success", 5)
                and [line.lseq for line in lines] == list(range(1, len(lines) + 1))
                and {line.message for line in lines if line.message.startswith("mark")} == {mark}
            ):
                troubles.append(mark)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not troubles


def test_fork_in_a_task_does_not_write_to_the_record() -> None:
    # I-3
    @task
    def forks() -> int:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                tenuto.context.logger.warning("from the child")
                code = 0
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    with Flow("forks") as flow:
        forked = forks()
        after = plus(forked)
    run_id = new_flow_run_id()
    state = flow.run(flow_run_id=run_id)
    assert state.result[after].result == 1
    folder = Home(home_path()).run_folder(run_id)
    view = fold(read_events(folder / "1.journal"))
    assert (view.state, view.incomplete) == ("Success", "")
    lines = list(read_logs(folder / "1.logs.jsonl"))
    assert [line.lseq for line in lines] == list(range(1, len(lines) + 1))
