"""`with case(...)`: which tasks are guarded, and by what."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tenuto import Flow, Parameter, Task, case, task
from tenuto.core.edge import Edge
from tenuto.core.nodes import Constant
from tenuto.engine.signals import SKIP
from tenuto.tasks.control_flow import FilterTask, merge
from tenuto.tasks.control_flow.conditional import CompareValue


@task
def condition() -> Any: ...


@task
def work(x: Any = None, y: Any = None) -> Any:
    return x


def guards(flow: Flow, value: Any = True) -> set[Task]:
    """Return the tasks below the comparison of a block."""
    return flow.downstream_tasks(flow.get_tasks(name=f"case({value})")[0])


# R-CASE-1 R-GRAPH-11
def test_tasks_without_an_upstream_in_the_block_depend_on_the_comparison() -> None:
    with Flow("f") as flow:
        asked: Any = condition()
        outer: Any = work()
        with case(asked, True):
            first: Any = work(outer)
            second: Any = work(first)
            also: Any = work()
    compare = flow.get_tasks(name="case(True)")[0]
    assert isinstance(compare, CompareValue)
    assert flow.edges_to(compare) == {Edge(asked, compare, "value")}
    assert guards(flow) == {first, also}
    assert flow.upstream_tasks(first) == {outer, compare}
    assert flow.upstream_tasks(second) == {first}


# R-CASE-1
def test_empty_block_adds_nothing() -> None:
    with Flow("f") as flow:
        asked: Any = condition()
        with case(asked, True):
            pass
    assert flow.tasks == {asked}


# R-CASE-1
def test_block_that_fails_adds_no_comparison() -> None:
    with Flow("f") as flow:
        asked: Any = condition()
        guard = case(asked, True)
        with pytest.raises(ZeroDivisionError), guard:
            work(1 / 0)
        with guard:
            inside: Any = work()
        outside: Any = work()
    assert guards(flow) == {inside}
    assert not flow.upstream_tasks(outside)


# R-CASE-2
@pytest.mark.parametrize(("value", "given"), [("y", "x"), ("x", True), (1, "1"), (None, 0)])
def test_other_value_skips_and_names_both(value: Any, given: Any) -> None:
    with pytest.raises(SKIP) as skipped:
        CompareValue(value).run(given)
    assert str(skipped.value) == f'Provided value "{given}" did not match "{value}"'
    assert skipped.value.state.result is None


# R-CASE-3
@pytest.mark.parametrize(
    ("value", "given"), [(1, True), (0, False), ("x", "x"), (None, None), ([1], [1]), (np.int64(2), 2)]
)
def test_equal_value_succeeds_without_a_result(value: Any, given: Any) -> None:
    compare: Any = CompareValue(value)
    assert compare.run(given) is None


# R-CASE-3
def test_value_cannot_be_a_task() -> None:
    with Flow("f"):
        asked: Any = condition()
        with pytest.raises(TypeError, match="^`value` cannot be a task\n"):
            case(asked, asked)


# R-CASE-4
def test_inner_block_depends_on_the_outer_one() -> None:
    with Flow("f") as flow:
        asked, other = condition(), condition()
        with case(asked, 1):
            before: Any = work()
            with case(other, 2):
                inner: Any = work()
                after: Any = work(before)
        with case(asked, 3):
            beside: Any = work()
    second = flow.get_tasks(name="case(2)")[0]
    assert guards(flow, 1) == {before, second}
    assert guards(flow, 2) == {inner, after}
    assert guards(flow, 3) == {beside}


# R-CASE-5 R-GRAPH-11
def test_parameters_constants_and_tasks_only_used_inside_are_not_guarded() -> None:
    with Flow("f") as flow:
        asked: Any = condition()
        used: Any = work()
        constant = Constant(5)
        with case(asked, True):
            parameter = Parameter("p", default=1)
            inside: Any = work(parameter, used)
            inside_too: Any = work(upstream_tasks=[constant])
    assert guards(flow) == {inside, inside_too}
    for free in (parameter, used, constant):
        assert not flow.upstream_tasks(free)


# R-CASE-6
def test_block_yields_nothing_and_belongs_to_one_flow() -> None:
    with Flow("f"):
        asked: Any = condition()
        guard = case(asked, True)
        with guard as yielded:
            assert yielded is None
            work()
    with Flow("g"), pytest.raises(ValueError, match="A block belongs to one flow"), guard:
        work()


# R-CASE-6
def test_flow_built_inside_a_block_of_another_one_is_left_alone() -> None:
    with Flow("f") as flow:
        asked: Any = condition()
        with case(asked, True):
            inside: Any = work()
            with Flow("inner") as inner:
                alone: Any = work()
    assert guards(flow) == {inside}
    assert inner.tasks == {alone}
    assert not inner.edges


# R-CASE-7
def test_value_that_has_no_single_answer_is_compared_by_identity() -> None:
    array, frame = np.arange(3), pd.DataFrame({"a": [1, 2]})
    for value in (array, frame):
        CompareValue(value).run(value)
        with pytest.raises(
            SKIP, match=f"type {type(value).__name__} did not match .* cannot be compared as a whole"
        ):
            CompareValue(1).run(value)


# R-TASK-10
def test_condition_that_is_decided_already_warns() -> None:
    with Flow("f"):
        asked: Any = condition()
        with pytest.warns(UserWarning, match=r"plain value False.*`task\.is_equal\(value\)`"):
            case(asked == 1, True)


# R-SKIP-6
def test_guarded_task_that_does_not_skip_warns() -> None:
    stubborn = work.copy(skip_on_upstream_skip=False, name="stubborn")
    with Flow("f") as flow:
        asked: Any = condition()
        guard = case(asked, True)
        with pytest.warns(UserWarning, match="<Task: stubborn> has `skip_on_upstream_skip=False`"):
            build(guard, stubborn)
        with case(asked, 2):
            one, other = work(), work()
            merged: Any = merge(one, other)
            FilterTask()([merged])
    assert flow.get_tasks(name="stubborn")


def build(guard: case, guarded: Task) -> None:
    with guard:
        guarded.copy()()


# R-CALL-12
def test_block_works_without_an_active_flow() -> None:
    flow = Flow("f")
    asked: Any = condition(flow=flow)
    with case(asked, True):
        inside: Any = work(flow=flow)
    assert guards(flow) == {inside}
