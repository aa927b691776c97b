"""`switch`, `ifelse` and `merge`."""

from typing import Any

import pytest

from tenuto import Flow, Parameter, Task, task
from tenuto.core.edge import Edge
from tenuto.engine.signals import SKIP
from tenuto.tasks.control_flow import ifelse, merge, switch
from tenuto.tasks.control_flow.conditional import Merge
from tenuto.triggers import all_finished, not_all_skipped


@task
def condition() -> Any: ...


@task
def work(x: Any = None) -> Any:
    return x


# R-SWITCH-1
def test_each_branch_depends_on_its_own_comparison() -> None:
    with Flow("f") as flow:
        asked: Any = condition()
        a, b = Task(name="a"), work()
        returned: Any = switch(asked, {"x": a, 2: b})  # type: ignore[func-returns-value]
    assert returned is None
    for value, branch in (("x", a), (2, b)):
        compare = flow.get_tasks(name=f'CompareValue: "{value}"')[0]
        assert compare.tags == {"switch"}
        assert flow.edges_to(compare) == {Edge(asked, compare, "value")}
        assert flow.upstream_tasks(branch) == {compare}
        assert branch.tags == set()


# R-SWITCH-2
def test_ifelse_asks_for_the_truth_of_the_condition() -> None:
    with Flow("f") as flow:
        asked: Any = condition()
        yes, no = work(), work()
        ifelse(asked, yes, no)
        ifelse(asked, None, work())
    truth, again = flow.get_tasks(name="as_bool")
    assert flow.edges_to(truth) == {Edge(asked, truth, "x")}
    assert (truth.run([]), truth.run("x")) == (False, True)
    assert [one.name for one in flow.downstream_tasks(again)] == ['CompareValue: "False"']
    assert {one.name for one in flow.downstream_tasks(truth)} == {
        'CompareValue: "True"',
        'CompareValue: "False"',
    }


# R-SWITCH-3
def test_branch_with_work_of_its_own_before_it_warns() -> None:
    with Flow("f"):
        asked: Any = condition()
        before: Any = work()
        branch: Any = work(before)
        with pytest.warns(UserWarning, match=r"Only <Task: work> itself.*`with case\(\.\.\.\)`"):
            switch(asked, {1: branch})
        with pytest.warns(UserWarning, match="Only <Task: List> itself depends on the condition"):
            switch(asked, {1: [work(), work()]})


# R-SWITCH-3
def test_branch_that_only_needs_what_the_condition_needs_does_not_warn() -> None:
    with Flow("f"):
        parameter = Parameter("p", default=1)
        asked: Any = work(work(parameter))
        switch(asked, {1: work(asked), 2: work(parameter), 3: Task()})
        ifelse(asked, work(asked), None)


# R-SWITCH-4
def test_mapped_switch_maps_condition_and_branches() -> None:
    with Flow("f") as flow:
        asked: Any = work.map([1, 2])
        branch: Any = work.map([3, 4])
        with pytest.warns(UserWarning, match="Only"):
            switch(asked, {1: work.map(work())}, mapped=True)
        switch(asked, {2: branch}, mapped=True)
        ifelse(asked, work.map([5, 6]), None, mapped=True)
    compare = flow.get_tasks(name='CompareValue: "2"')[0]
    assert flow.edges_to(compare) == {Edge(asked, compare, "value", mapped=True)}
    assert Edge(compare, branch, mapped=True) in flow.edges
    truth = flow.get_tasks(name="as_bool")[0]
    assert flow.edges_to(truth) == {Edge(asked, truth, "x", mapped=True)}


# R-TASK-10
def test_condition_that_is_decided_already_warns() -> None:
    with Flow("f"):
        with pytest.warns(UserWarning, match="plain value True"):
            switch(True, {True: Task()})
        with pytest.warns(UserWarning, match="plain value False"):
            ifelse(False, Task(), None)


# R-MERGE-1 R-MERGE-6
def test_first_result_that_is_there_wins() -> None:
    assert Merge().run(task_1=None, task_2=0, task_3=5) == 0
    assert Merge().run(task_1=False, task_2=1) is False
    assert Merge().run(task_1=None) is None
    assert Merge().run() is None


# R-MERGE-4
def test_order_of_ten_and_more_inputs_is_that_of_their_numbers() -> None:
    values = {f"task_{number}": number if number > 1 else None for number in (10, 11, 1, 2, 9)}
    assert Merge().run(**values) == 2


# R-MERGE-5 D-9
def test_signal_of_a_skipped_input_is_passed_over() -> None:
    assert Merge().run(task_1=SKIP("no"), task_2=3) == 3
    assert Merge().run(task_1=SKIP("no")) is None


# R-MERGE-2
def test_merge_is_a_task_of_its_name_that_runs_unless_all_are_skipped() -> None:
    with Flow("f") as flow:
        one, other = work(), work()
        merged: Any = merge(one, other, 7)
        named: Any = merge(one, name="mine", trigger=all_finished, checkpoint=False)
    assert (merged.name, merged.trigger, merged.skip_on_upstream_skip) == ("Merge", not_all_skipped, False)
    assert flow.edges_to(merged) == {Edge(one, merged, "task_1"), Edge(other, merged, "task_2")}
    assert flow.constants[merged] == {"task_3": 7}
    assert (named.name, named.trigger, named.checkpoint) == ("mine", all_finished, False)


# R-MERGE-3
def test_merge_cannot_skip_with_its_inputs() -> None:
    with (
        Flow("f"),
        pytest.raises(ValueError, match=r"^Merge tasks must have `skip_on_upstream_skip=False`\.\n"),
    ):
        merge(work(), skip_on_upstream_skip=True)


# R-MERGE-1
def test_merge_takes_a_flow_and_maps() -> None:
    flow = Flow("f")
    one: Any = work.map([1], flow=flow)
    merged: Any = merge(one, flow=flow, mapped=True)
    assert flow.edges_to(merged) == {Edge(one, merged, "task_1", mapped=True)}
