"""`flow.run(resume=...)`: which run is meant, what is taken over, and what runs again."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import tenuto
from tenuto import Flow, Parameter, case, flatten, resource_manager, task, unmapped
from tenuto.configuration import home_path
from tenuto.engine import signals
from tenuto.engine.results import LocalResult
from tenuto.engine.state import Cached, Mapped, State, Success
from tenuto.exceptions import PrefectException
from tenuto.journal.fold import RunView, fold
from tenuto.journal.home import Home
from tenuto.journal.reader import read_events
from tenuto.tasks.control_flow import merge
from tenuto.triggers import all_finished
from tenuto.utilities.configuration import set_temporary_config

RAN: list[str] = []
BROKEN: set[str] = set()
KNOWN: dict[str, Any] = {}


def did(name: object) -> None:
    """Note that a task ran. The tasks name this function, so that the lists are not part of their code."""
    RAN.append(str(name))


def stop(name: str) -> None:
    """Fail where the test says so."""
    if name in BROKEN:
        raise OSError(f"{name} is broken")


def known(name: str) -> Any:
    """Return what the test has put there: an input that is not the flow's."""
    return KNOWN[name]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    yield
    RAN.clear()
    BROKEN.clear()
    KNOWN.clear()


def ran() -> list[str]:
    """Return what ran since this was asked last."""
    names = RAN.copy()
    RAN.clear()
    return names


def home() -> Home:
    return Home(home_path())


def view(state_or_number: int = 0) -> RunView:
    """Return the n-th newest run, as its journal tells it."""
    run_id = home().run_ids()[state_or_number]
    return fold(read_events(home().run_folder(run_id) / "1.journal"))


def reused(flow: Flow, state: State) -> list[str]:
    """Return the names of tasks whose results were taken over."""
    return sorted(
        each.name
        for each, reached in state.result.items()
        if isinstance(reached, Cached) and str(reached.message).startswith("Result of run")
    )


@task
def load() -> list[int]:
    did("load")
    return list(range(3000))


@task
def size(rows: list[int]) -> int:
    did("size")
    return len(rows)


@task
def publish(number: int) -> str:
    did("publish")
    stop("publish")
    return f"{number} rows"


def rows_flow(name: str = "rows") -> Flow:
    with Flow(name) as flow:
        publish(size(load()))
    return flow


def failed_run(flow: Flow, **kwargs: Any) -> str:
    """Let a flow fail at `publish`; return the id of the run."""
    BROKEN.add("publish")
    assert flow.run(**kwargs).is_failed()
    BROKEN.clear()
    ran()
    return home().run_ids()[0]


# -------------------------------------------------------------------------------- which run is meant


def by_true(run_id: str) -> Any:
    return True


def by_last(run_id: str) -> Any:
    return "last"


def by_id(run_id: str) -> Any:
    return run_id


def by_prefix(run_id: str) -> Any:
    return run_id[:30]


def by_name(run_id: str) -> Any:
    return fold(read_events(home().run_folder(run_id) / "1.journal")).name


@pytest.mark.parametrize("wanted", [by_true, by_last, by_id, by_prefix, by_name])
def test_run_is_found_by_what_a_person_has_at_hand(wanted: Callable[[str], Any]) -> None:
    # R-CACHE-12
    flow = rows_flow()
    run_id = failed_run(flow)
    state = flow.run(resume=wanted(run_id))
    assert state.is_successful()
    assert ran() == ["publish"]
    assert view().header.resumed_from == run_id
    assert reused(flow, state) == ["load", "size"]


def test_without_resume_everything_runs() -> None:
    flow = rows_flow()
    failed_run(flow)
    for nothing in (None, False):
        assert flow.run(resume=nothing).is_successful()
        assert ran() == ["load", "size", "publish"]
        assert not view().header.resumed_from


def test_name_means_its_newest_run() -> None:
    flow = rows_flow()
    failed_run(flow, flow_run_name="nightly")
    second = failed_run(flow, flow_run_name="nightly")
    flow.run(resume="nightly")
    assert view().header.resumed_from == second


def test_true_passes_over_successful_runs_other_flows_and_other_files(tmp_path: Path) -> None:
    flow = rows_flow()
    wanted = failed_run(flow)
    flow.run()
    failed_run(rows_flow("others"))
    elsewhere = tmp_path / "elsewhere.py"
    elsewhere.write_text(
        "from tenuto import Flow, task\n"
        "def fails():\n    raise OSError\n"
        'with Flow("rows") as flow:\n    task(fails)()\n'
    )
    space: dict[str, Any] = {"__name__": "elsewhere"}
    exec(compile(elsewhere.read_text(), str(elsewhere), "exec"), space)
    assert space["flow"].run().is_failed()
    ran()

    flow.run(resume=True)

    assert ran() == ["publish"]
    assert view().header.resumed_from == wanted


def test_successful_run_can_be_named() -> None:
    flow = rows_flow()
    flow.run()
    ran()
    state = flow.run(resume=home().run_ids()[0])
    assert state.is_successful()
    assert ran() == []


def test_nothing_to_continue_is_an_error_before_anything_runs() -> None:
    flow = rows_flow()
    with pytest.raises(
        PrefectException, match="There is no unsuccessful run of flow 'rows' from .*tenuto history"
    ):
        flow.run(resume=True)
    flow.run()
    ran()
    with pytest.raises(PrefectException, match="There is no unsuccessful run"):
        flow.run(resume="last")
    with pytest.raises(PrefectException, match="No run 'nobody' is recorded here"):
        flow.run(resume="nobody")
    assert ran() == []
    assert len(home().run_ids()) == 1


def test_run_of_another_flow_is_refused() -> None:
    other = failed_run(rows_flow("others"))
    with pytest.raises(PrefectException, match="is of flow 'others', not of 'rows'"):
        rows_flow().run(resume=other)


def test_run_that_this_process_is_at_is_refused() -> None:
    flow = rows_flow()
    seen: list[str] = []

    @task
    def nested() -> None:
        with pytest.raises(PrefectException, match="is still going"):
            outer.run(resume=True)
        seen.append("refused")

    with Flow("outer") as outer:
        nested()
    assert outer.run().is_successful()
    assert seen == ["refused"]
    assert flow.run().is_successful()


def test_parameter_called_resume_wins() -> None:
    @task
    def tell(x: object) -> object:
        did(x)
        return x

    with Flow("own") as flow:
        tell(Parameter("resume", default="none"))
    for value in (True, "last", False):
        state = flow.run(resume=value)
        assert state.is_successful()
        assert ran() == [str(value)]
        assert not view().header.resumed_from
        assert view().header.parameters == {"resume": value}


# -------------------------------------------------------------------------------- what is taken over


def test_result_taken_over_is_the_same_file_and_says_where_it_comes_from() -> None:
    flow = rows_flow()
    run_id = failed_run(flow, flow_run_name="amber-first")
    state = flow.run(resume=True)
    (reached,) = [reached for each, reached in state.result.items() if each.name == "load"]
    assert type(reached) is Cached
    assert reached.message == "Result of run 'amber-first' reused."
    assert reached.result == list(range(3000))
    old, new = (
        next((home().run_folder(run) / "kept").iterdir()) for run in (run_id, view().header.flow_run_id)
    )
    assert os.path.samefile(old, new)
    # The new run can be continued by itself: its record names its own copy.
    ref = view().tasks["load-1", -1].result
    assert ref is not None
    assert ref.location == new.name


def test_value_is_kept_as_it_was_before_others_changed_it() -> None:
    # R-PIPE-7
    @task
    def rows() -> list[list[int]]:
        did("rows")
        return [[1], [2]]

    @task
    def spoils(rows: list[list[int]]) -> list[list[int]]:
        did("spoils")
        rows[0].append(99)
        rows.append([3])
        stop("publish")
        return rows

    with Flow("mutation") as flow:
        last = spoils(rows())
    failed_run(flow)
    state = flow.run(resume=True)
    assert ran() == ["spoils"]
    assert state.result[last].result == [[1, 99], [2], [3]]


def test_none_and_falsy_values_are_results() -> None:
    @task
    def nothing() -> None:
        did("nothing")

    @task
    def empty() -> list[int]:
        did("empty")
        return []

    @task
    def end(a: object, b: object) -> tuple[object, object]:
        did("end")
        stop("publish")
        return a, b

    with Flow("falsy") as flow:
        last = end(nothing(), empty())
    failed_run(flow)
    state = flow.run(resume=True)
    assert ran() == ["end"]
    assert state.result[last].result == (None, [])


def test_all_kinds_of_nodes_are_taken_over() -> None:
    @task
    def numbers() -> list[int]:
        did("numbers")
        return [1, 2, 3]

    @task
    def double(x: int) -> int:
        did(f"double {x}")
        return 2 * x

    @task
    def halve(x: int) -> int:
        did(f"halve {x}")
        return x // 2

    @task
    def is_even(x: list[int]) -> bool:
        did("is even")
        return all(n % 2 == 0 for n in x)

    @task
    def total(xs: list[int], first: int, pair: list[object]) -> int:
        did("total")
        stop("publish")
        return sum(xs) + first

    with Flow("nodes") as flow:
        found = numbers()
        twice = double.map(found)
        with case(is_even(twice), True):
            back = halve.map(twice)
        with case(is_even(twice), False):
            same = double.map(twice)
        both = merge(back, same, mapped=False)
        end = total(both, found[1], [twice, flatten([[1], [2]])])
    failed_run(flow)
    state = flow.run(resume=True)
    assert ran() == ["total"]
    assert state.result[end].result == 6 + 2
    assert isinstance(state.result[twice], Mapped)
    assert state.result[twice].result == [2, 4, 6]
    assert state.result[same].is_skipped()


def test_loops_retries_and_signalled_successes_are_taken_over() -> None:
    @task
    def loops() -> int:
        count: int = tenuto.context.get("task_loop_count", 1)
        did(f"loops {count}")
        if count < 3:
            raise signals.LOOP(result=count)
        return count

    @task(max_retries=2, retry_delay=timedelta(0))
    def flaky() -> int:
        did("flaky")
        if tenuto.context.task_run_count < 2:
            raise OSError
        return 7

    @task
    def early() -> int:
        did("early")
        raise signals.SUCCESS("done", result=5)

    @task
    def end(a: int, b: int, c: int) -> int:
        did("end")
        stop("publish")
        return a + b + c

    with Flow("ends") as flow:
        last = end(loops(), flaky(), early())
    failed_run(flow)
    state = flow.run(resume=True)
    assert ran() == ["end"]
    assert state.result[last].result == 15


def test_checkpointed_result_is_read_from_where_it_was_written(tmp_path: Path) -> None:
    # R-CKPT-4
    place = LocalResult(dir=str(tmp_path / "results"), location="{task_name}.bin")

    @task(result=place)
    def written() -> list[int]:
        did("written")
        return [1, 2, 3]

    @task
    def end(rows: list[int]) -> int:
        did("end")
        stop("publish")
        return len(rows)

    with Flow("checkpointed") as flow:
        last = end(written())
    with set_temporary_config({"flows.checkpointing": True}):
        failed_run(flow)
        state = flow.run(resume=True)
    assert ran() == ["end"]
    assert state.result[last].result == 3


@pytest.mark.parametrize("keep", ["last", "until_success"])
def test_settings_that_keep_results_of_failed_runs_allow_a_resume(keep: str) -> None:
    flow = rows_flow()
    with set_temporary_config({"flows.keep_results": keep}):
        failed_run(flow)
        flow.run(resume=True)
    assert ran() == ["publish"]


def test_where_nothing_is_kept_everything_runs_again(caplog: pytest.LogCaptureFixture) -> None:
    flow = rows_flow()
    with set_temporary_config({"flows.keep_results": "never"}):
        failed_run(flow)
        assert "recorded completely" not in caplog.text
        assert not (home().run_folder(home().run_ids()[0]) / "kept").exists()
        state = flow.run(resume=True)
    assert state.is_successful()
    assert ran() == ["load", "size", "publish"]


# -------------------------------------------------------------------------------- what runs again


def test_task_whose_input_is_another_one_runs_again(caplog: pytest.LogCaptureFixture) -> None:
    @task(checkpoint=False)
    def source() -> Any:
        return known("source")

    @task
    def use(x: Any) -> Any:
        did("use")
        return x

    @task
    def apart() -> int:
        did("apart")
        return 1

    @task
    def end(a: Any, b: int) -> None:
        did("end")
        stop("publish")

    with Flow("sources") as flow:
        end(use(source()), apart())
    KNOWN["source"] = {"a": 1, "b": [1, 2]}
    failed_run(flow)
    KNOWN["source"] = {"b": [1, 2], "a": 1}  # Equal: the order of keys is not part of the value.
    BROKEN.add("publish")
    flow.run(resume=True)
    assert ran() == ["end"]
    KNOWN["source"] = {"a": 1, "b": [1, 2.5]}
    caplog.clear()
    flow.run(resume=True)
    assert ran() == ["use", "end"]
    assert "Task 'use' runs again: its input 'x' changed." in caplog.messages


def test_constant_argument_that_changed_runs_its_task_again() -> None:
    @task
    def scale(x: int, factor: int) -> int:
        did("scale")
        return x * factor

    def made(factor: int) -> Flow:
        with Flow("constants") as flow:
            publish(scale(2, factor))
        return flow

    failed_run(made(2))
    BROKEN.add("publish")
    made(2).run(resume=True)
    assert ran() == ["publish"]
    made(3).run(resume=True)
    assert ran() == ["scale", "publish"]


def test_task_that_must_not_be_persisted_any_more_runs_again() -> None:
    # R-CACHE-11, R-CKPT-1
    def made(checkpoint: bool | None) -> Flow:
        with Flow("persistence") as flow:
            publish(size.copy(checkpoint=checkpoint)([1, 2]))
        return flow

    failed_run(made(None))
    BROKEN.add("publish")
    made(None).run(resume=True)
    assert ran() == ["publish"]
    made(False).run(resume=True)
    assert ran() == ["size", "publish"]


def test_version_is_what_its_author_says() -> None:
    def first() -> int:
        did("made")
        return 1

    def second() -> int:
        did("made")
        return 1 + 0

    def made(fn: Callable[[], int], version: str) -> Flow:
        with Flow("versions") as flow:
            publish(task(fn, name="made", version=version)())
        return flow

    failed_run(made(first, "1"))
    BROKEN.add("publish")
    made(second, "1").run(resume=True)
    assert ran() == ["publish"]
    made(second, "2").run(resume=True)
    assert ran() == ["made", "publish"]


def test_task_that_saw_a_failure_runs_again_when_there_is_none_any_more() -> None:
    """Nothing about the input tells it from the failure but that it is none: it has no digest of its own."""

    @task
    def handle() -> Any:
        did("handle")
        stop("publish")
        return threading.Lock()

    @task(trigger=all_finished)
    def told(handle: Any) -> str:
        did("told")
        return "failed" if isinstance(handle, Exception) else "fine"

    with Flow("handles") as flow:
        last = told(handle())
        flow.set_reference_tasks([flow.get_tasks(name="handle")[0]])
    failed_run(flow)
    state = flow.run(resume=True)
    assert ran() == ["handle", "told"]
    assert state.result[last].result == "fine"


def test_failed_children_run_again_and_what_gathers_them() -> None:
    # R-MAP-17
    @task
    def step(x: int, offset: int) -> int:
        did(f"step {x}")
        if x == 2:
            stop("publish")
        return x + offset

    @task
    def total(xs: list[int]) -> int:
        did("total")
        return sum(xs)

    with Flow("children") as flow:
        last = total(step.map([1, 2, 3], offset=unmapped(10)))
    failed_run(flow)
    state = flow.run(resume=True)
    assert ran() == ["step 2", "total"]
    assert state.result[last].result == 36
    assert view().tasks["step-1", -1].state == "Mapped"
    assert [view().tasks["step-1", index].state for index in range(3)] == ["Cached", "Success", "Cached"]


def test_secrets_and_resources_run_again() -> None:
    # R-RM-6, R-SEC-5, R-CACHE-11
    @resource_manager
    class Session:
        def __init__(self, size: int) -> None:
            self.size = size

        def setup(self) -> dict[str, int]:
            did("set up")
            return {"size": self.size}

        def cleanup(self, handle: dict[str, int]) -> None:
            did("clean up")

    @task
    def prepared(handle: dict[str, int]) -> int:
        did("prepared")
        return handle["size"]

    manager: Any = Session  # mypy does not look at what a decorator makes of a class.
    with Flow("resources") as flow, manager(size=3) as handle:
        publish(prepared(handle))
    failed_run(flow)
    assert flow.run(resume=True).is_successful()
    assert ran() == ["set up", "publish", "clean up"]


def test_value_that_cannot_be_pickled_costs_a_line_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    # R-CACHE-11
    @task
    def lock() -> Any:
        did("lock")
        return threading.Lock()

    @task
    def counted(lock: Any) -> int:
        did("counted")
        return 1

    with Flow("locks") as flow:
        publish(counted(lock()))
    failed_run(flow)
    lines = [record for record in caplog.records if "is not kept" in record.getMessage()]
    assert len(lines) == 1
    assert view().tasks["lock-1", -1].state == "Success"
    assert flow.run(resume=True).is_successful()
    # What depends on it goes by where its input comes from: the same code with the same inputs.
    assert ran() == ["lock", "publish"]


def test_value_over_the_cap_costs_a_line_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    @task
    def large() -> bytes:
        did("large")
        return os.urandom(2_000_000)

    @task
    def small() -> list[int]:
        did("small")
        return [1]

    with Flow("large") as flow:
        last = publish(size([large(), small()]))  # type: ignore[list-item]  # any list will do
    with set_temporary_config({"flows.keep_results_max_mb": 1}):
        failed_run(flow)
    lines = [record for record in caplog.records if "is not kept" in record.getMessage()]
    assert lines
    assert all("large" in line.getMessage() or "List" in line.getMessage() for line in lines)
    state = flow.run(resume=True)
    assert "large" in ran()
    assert state.result[last].is_successful()


# -------------------------------------------------------------------------------- parameters


@task
def multiplied(x: int, ratio: int) -> int:
    did("multiplied")
    return x * ratio


def parameter_flow() -> tuple[Flow, Any]:
    with Flow("parameters") as flow:
        x, ratio = Parameter("x"), Parameter("ratio", default=2)
        last = publish(multiplied(x, ratio))
    return flow, last


def test_recorded_parameters_are_used_also_required_ones() -> None:
    # R-PARAM-8, R-RUN-5
    flow, last = parameter_flow()
    failed_run(flow, x=5, ratio=3)
    state = flow.run(resume=True)
    assert state.result[last].result == "15 rows"
    assert ran() == ["publish"]
    assert view().header.parameters == {"x": 5, "ratio": 3}


def test_parameters_given_on_resume_win() -> None:
    flow, last = parameter_flow()
    failed_run(flow, x=5, ratio=3)
    state = flow.run(resume=True, parameters={"x": 5}, ratio=4)
    assert state.result[last].result == "20 rows"
    assert ran() == ["multiplied", "publish"]
    assert view().header.parameters == {"x": 5, "ratio": 4}


def test_parameter_that_could_not_be_recorded_has_to_be_given_again() -> None:
    # R-RUN-5
    flow, _ = parameter_flow()
    failed_run(flow, x=5, ratio=complex(1, 0))
    BROKEN.add("publish")
    state = flow.run(resume=True, ratio=complex(1, 0))
    assert state.is_failed()
    assert ran() == ["publish"]


def test_parameter_without_default_that_is_new_is_asked_for() -> None:
    # R-RUN-5
    with Flow("parameters") as before:
        publish(1)
    failed_run(before)
    flow, _ = parameter_flow()
    with pytest.raises(ValueError, match="did not receive the following required parameters: x"):
        flow.run(resume=home().run_ids()[0])


# -------------------------------------------------------------------------------- the record


def test_log_says_what_is_continued_and_why_tasks_run_again(caplog: pytest.LogCaptureFixture) -> None:
    flow = rows_flow()
    failed_run(flow, flow_run_name="amber-first")
    caplog.clear()
    with caplog.at_level(logging.INFO, "tenuto"):
        flow.run(resume=True)
    assert caplog.messages == [
        "Continuing run 'amber-first': what finished there is reused where code and inputs are unchanged.",
        "Beginning Flow run for 'rows'",
        "Task 'load': Starting task run...",
        "Task 'load': Finished task run for task with final state: 'Cached'",
        "Task 'size': Starting task run...",
        "Task 'size': Finished task run for task with final state: 'Cached'",
        "Task 'publish': Starting task run...",
        "Task 'publish' runs again: it ended Failed.",
        "Task 'publish': Finished task run for task with final state: 'Success'",
        "Flow run SUCCESS: all reference tasks succeeded",
    ]


def test_failed_run_ends_by_telling_what_is_kept_and_how_to_go_on(caplog: pytest.LogCaptureFixture) -> None:
    flow = rows_flow()
    failed_run(flow, flow_run_name="amber-first")
    # The flow is not at the top of a file that runs, so that there is no command for it.
    assert caplog.messages[-1] == "2 results are kept. To continue this run: flow.run(resume='amber-first')"


def test_inputs_and_code_of_a_task_taken_over_are_recorded_again() -> None:
    flow = rows_flow()
    failed_run(flow)
    flow.run(resume=True)
    old, new = view(1), view(0)
    for key in (("load-1", -1), ("size-1", -1)):
        assert new.tasks[key].inputs == old.tasks[key].inputs
        assert new.tasks[key].code == old.tasks[key].code
        assert new.tasks[key].state == "Cached"
    assert new.tasks["size-1", -1].inputs.keys() == {"rows"}


def test_states_handed_over_win_over_the_earlier_run() -> None:
    # R-RUN-13
    flow = rows_flow()
    failed_run(flow)
    (first,) = flow.get_tasks(name="load")
    (second,) = flow.get_tasks(name="size")
    state = flow.run(resume=True, task_states={first: Success(result=[1])})
    assert state.result[second].result == 1
    assert ran() == ["size", "publish"]
