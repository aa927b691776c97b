"""Mapping and control flow in runs: the rules of building are tested beside the core."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tenuto import (
    Flow,
    Parameter,
    apply_map,
    case,
    context,
    flatten,
    mapped,
    resource_manager,
    task,
    unmapped,
)
from tenuto.engine.signals import FAIL, SKIP, TRIGGERFAIL
from tenuto.engine.state import Failed, Mapped, Skipped, State, Success, TriggerFailed
from tenuto.tasks.control_flow import ifelse, merge, switch
from tenuto.tasks.control_flow.filter import FilterTask
from tenuto.triggers import all_finished, some_failed

UNMAPPABLE = "At least one upstream state has an unmappable result."
NOTHING = "No upstream states can be mapped over."


@task
def inc(x: Any) -> Any:
    return x + 1


@task
def same(x: Any) -> Any:
    return x


@task
def total(values: Any) -> Any:
    return sum(values)


@task
def collect(values: Any) -> Any:
    return values


@task
def give(value: Any) -> Any:
    """Return what was handed over wrapped, so that it is no constant of another task."""
    return value()


def produced(value: Callable[[], Any]) -> Any:
    """Return a task of the active flow that returns what `value` does."""
    return give(value)


def raising(error: BaseException) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


def results(state: State, node: Any) -> Any:
    return state.result[node].result


def names(state: State, node: Any) -> list[str]:
    return [type(child).__name__ for child in state.result[node].map_states]


# -------------------------------------------------------------------------------------- the table of outcomes


# R-MAP-5 R-MAP-12 R-MAP-14
@pytest.mark.parametrize(
    "value", [[1, 2, 3], (1, 2), range(2), np.array([1, 2])], ids=["list", "tuple", "range", "array"]
)
def test_sequence_is_mapped_and_reduced(value: Any) -> None:
    with Flow("f") as flow:
        many: Any = inc.map(produced(lambda: value))
        reduced: Any = total(many)
    state = flow.run()
    assert isinstance(state, Success)
    assert isinstance(state.result[many], Mapped)
    assert state.result[many].message == "Ready to proceed with mapping."
    assert results(state, many) == [item + 1 for item in value]
    assert names(state, many) == ["Success"] * len(value)
    assert results(state, reduced) == sum(value) + len(value)


# R-MAP-7
def test_empty_sequence_gives_an_empty_list() -> None:
    with Flow("f") as flow:
        many: Any = inc.map(produced(list))
        reduced: Any = collect(many)
        further: Any = inc.map(many)
    state = flow.run()
    assert state.is_successful()
    assert isinstance(state.result[many], Mapped)
    assert (results(state, many), results(state, reduced), results(state, further)) == ([], [], [])
    assert state.result[many].n_map_states == 0


# R-MAP-10
def test_text_is_mapped_over_its_characters() -> None:
    with Flow("f") as flow:
        many: Any = same.map(produced(lambda: "abc"))
    assert results(flow.run(), many) == ["a", "b", "c"]


# R-MAP-8 R-MAP-10
@pytest.mark.parametrize(
    "value",
    [None, 5, {1, 2}, (i for i in (1, 2)), {"a": 1}, {0: "zero"}],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_positions_fails_the_mapped_task(value: Any) -> None:
    with Flow("f") as flow:
        many: Any = inc.map(produced(lambda: value))
        reduced: Any = total(many)
    state = flow.run()
    assert isinstance(state, Failed)
    assert isinstance(state.result[many], Failed)
    assert state.result[many].message == UNMAPPABLE
    assert results(state, many) is None
    assert isinstance(state.result[reduced], TriggerFailed)


# R-MAP-9
def test_failed_upstream_leaves_nothing_to_map_whatever_the_trigger() -> None:
    with Flow("f") as flow:
        source = produced(raising(ValueError("x")))
        many: Any = inc.map(source)
        always: Any = inc.map(source, task_args={"trigger": all_finished})
        reduced: Any = total(many)
    state = flow.run()
    assert state.is_failed()
    for node in (many, always):
        assert type(state.result[node]) is Failed
        assert state.result[node].message == NOTHING
        assert results(state, node) is None
    assert isinstance(state.result[reduced], TriggerFailed)


# R-MAP-9 R-SKIP-1
def test_skipped_upstream_skips_the_mapped_task_and_what_follows() -> None:
    with Flow("f") as flow:
        many: Any = inc.map(produced(raising(SKIP("no"))))
        reduced: Any = total(many)
    state = flow.run()
    assert state.is_successful()
    assert isinstance(state.result[many], Skipped)
    assert results(state, many) is None
    assert isinstance(state.result[reduced], Skipped)


# R-MAP-11 R-MAP-12 R-MAP-13 R-MAP-14
def test_failed_child_fails_what_gathers_it_but_not_its_siblings() -> None:
    @task
    def risky(x: int) -> Any:
        if x == 2:
            raise ValueError("two")
        return x

    with Flow("f") as flow:
        first: Any = risky.map([1, 2, 3])
        second: Any = inc.map(first)
        reduced: Any = collect(second)
        anyway: Any = collect(first, task_args={"trigger": all_finished})
    state = flow.run()
    assert state.is_failed()
    assert isinstance(state.result[first], Mapped)
    assert state.result[first].is_successful()
    assert names(state, first) == ["Success", "Failed", "Success"]
    assert repr(results(state, first)) == "[1, ValueError('two'), 3]"
    assert names(state, second) == ["Success", "TriggerFailed", "Success"]
    found = results(state, second)
    assert (found[0], type(found[1]), found[2]) == (2, TRIGGERFAIL, 4)
    assert isinstance(state.result[reduced], TriggerFailed)
    assert isinstance(state.result[anyway], Success)
    assert repr(results(state, anyway)) == "[1, ValueError('two'), 3]"


# R-MAP-12 R-SKIP-4
@pytest.mark.parametrize("skips", [True, False])
def test_skipped_child_skips_what_gathers_it_unless_told_otherwise(skips: bool) -> None:
    @task
    def choosy(x: int) -> Any:
        if x == 2:
            raise SKIP("two", result=None)
        return x

    with Flow("f") as flow:
        first: Any = choosy.map([1, 2, 3])
        second: Any = inc.map(first)
        reduced: Any = collect(second, task_args={"skip_on_upstream_skip": skips})
    state = flow.run()
    assert state.is_successful()
    assert names(state, second) == ["Success", "Skipped", "Success"]
    assert results(state, second) == [2, None, 4]
    if skips:
        assert isinstance(state.result[reduced], Skipped)
    else:
        assert results(state, reduced) == [2, None, 4]


# R-MAP-6
def test_shortest_argument_decides_and_the_rest_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    @task
    def both(x: int, y: int) -> tuple[int, int]:
        return x, y

    caplog.set_level("WARNING", "tenuto")
    with Flow("f") as flow:
        uneven: Any = both.map([1, 2, 3], [10, 20])
    state = flow.run()
    assert state.is_successful()
    assert results(state, uneven) == [(1, 10), (2, 20)]
    assert any("length" in record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    caplog.clear()
    with Flow("g") as even:
        both.map([1, 2], [10, 20])
    even.run()
    assert not caplog.records


# R-MAP-11
def test_failed_child_fails_the_run_when_the_mapped_task_decides() -> None:
    with Flow("f") as flow:
        divided: Any = task(lambda x: 1 / x, name="divide").map([1, 0])
        last: Any = collect(divided, task_args={"trigger": all_finished})
    assert flow.run().is_successful()
    flow.set_reference_tasks([divided])
    assert flow.run().is_failed()
    flow.set_reference_tasks([last])
    assert flow.run().is_successful()


# ---------------------------------------------------------------------------------------------------- mapping


# R-MAP-5
def test_children_know_their_index_and_the_parents_run_is_never_called() -> None:
    seen: list[tuple[Any, ...]] = []

    @task
    def look(x: int) -> None:
        seen.append((x, context.map_index, context.task_full_name, context.task_name))

    with Flow("f") as flow:
        look.map([5, 6])
    flow.run()
    assert seen == [(5, 0, "look[0]", "look"), (6, 1, "look[1]", "look")]


# R-MAP-5
def test_log_names_the_parent_plainly_and_the_children_by_index(capsys: pytest.CaptureFixture[str]) -> None:
    with Flow("f") as flow:
        inc.map([1, 2])
    flow.run()
    lines = [line.partition(" | ")[2] for line in capsys.readouterr().out.splitlines()]
    own = [line for line in lines if line.startswith("Task 'inc")]
    assert own == [
        "Task 'inc': Starting task run...",
        "Task 'inc': Finished task run for task with final state: 'Mapped'",
        "Task 'inc[0]': Starting task run...",
        "Task 'inc[0]': Finished task run for task with final state: 'Success'",
        "Task 'inc[1]': Starting task run...",
        "Task 'inc[1]': Finished task run for task with final state: 'Success'",
    ]


# R-MAP-1
def test_defaults_that_are_not_passed_are_unaffected() -> None:
    @task
    def scaled(x: int, factor: int = 10) -> int:
        return x * factor

    with Flow("f") as flow:
        many: Any = scaled.map([1, 2])
        given: Any = scaled.map([1, 2], factor=unmapped(3))
        single: Any = scaled(x=mapped([1, 2]), factor=5)
    state = flow.run()
    assert results(state, many) == [10, 20]
    assert results(state, given) == [3, 6]
    assert results(state, single) == [5, 10]


# R-MAP-3
def test_list_of_tasks_is_mapped_over() -> None:
    with Flow("f") as flow:
        many: Any = inc.map([inc(1), 5, inc(2)])
    assert results(flow.run(), many) == [3, 6, 4]


# R-MAP-4
def test_map_without_mapped_arguments_runs_once() -> None:
    @task
    def one() -> int:
        return 1

    with Flow("f") as flow:
        plain: Any = one.map()
        whole: Any = collect.map(unmapped([1, 2]))
    state = flow.run()
    assert type(state.result[plain]) is Success
    assert results(state, plain) == 1
    assert results(state, whole) == [1, 2]


# R-MAP-15
def test_unmapped_upstream_is_passed_whole_and_its_failure_fails_every_child() -> None:
    @task
    def pick(x: int, all_of: list[int]) -> tuple[int, int]:
        return x, len(all_of)

    with Flow("f") as flow:
        whole: Any = pick.map([1, 2], all_of=unmapped(produced(lambda: [7, 8, 9])))
        broken: Any = pick.map([1, 2], all_of=unmapped(produced(raising(ValueError("x")))))
    state = flow.run()
    assert results(state, whole) == [(1, 3), (2, 3)]
    assert isinstance(state.result[broken], Mapped)
    assert names(state, broken) == ["TriggerFailed", "TriggerFailed"]


# R-MAP-16
def test_mapped_upstream_task_limits_the_length_and_pairs_by_index() -> None:
    @task
    def check(x: int) -> int:
        if x == 1:
            raise ValueError("one")
        return x

    with Flow("f") as flow:
        checks: Any = check.map([0, 1])
        many: Any = inc.map([10, 20, 30], upstream_tasks=[checks])
    state = flow.run()
    assert names(state, many) == ["Success", "TriggerFailed"]
    assert results(state, many)[0] == 11


# R-MAP-13
def test_chain_of_maps_goes_child_by_child() -> None:
    with Flow("f") as flow:
        last: Any = inc.map(inc.map(inc.map([1, 2, 3])))
    assert results(flow.run(), last) == [4, 5, 6]


# R-MAP-18
def test_item_of_a_mapped_task_can_be_picked() -> None:
    with Flow("f") as flow:
        many: Any = inc.map([1, 2, 3])
        picked: Any = same(many[1])
    assert results(flow.run(), picked) == 3


# R-MAP-17 R-MAP-19
def test_retry_runs_unfinished_children_only_and_the_order_is_that_of_the_index() -> None:
    from datetime import timedelta

    calls: list[int] = []

    @task(max_retries=2, retry_delay=timedelta(0))
    def flaky(x: int) -> int:
        calls.append(x)
        if x == 2 and calls.count(2) < 3:
            raise ValueError("again")
        return x

    with Flow("f") as flow:
        first: Any = flaky.map([1, 2, 3])
        second: Any = inc.map(first)
    state = flow.run()
    assert state.is_successful()
    assert (calls.count(1), calls.count(2), calls.count(3)) == (1, 3, 1)
    assert results(state, first) == [1, 2, 3]
    assert results(state, second) == [2, 3, 4]


# R-MAP-14
def test_trigger_of_a_reducing_task_sees_the_children() -> None:
    with Flow("f") as flow:
        many: Any = task(lambda x: 1 / x, name="divide").map([1, 0])
        some: Any = collect(many, task_args={"trigger": some_failed(at_least=1, at_most=1)})
        both: Any = collect(many, task_args={"trigger": some_failed(at_least=2)})
    state = flow.run()
    assert isinstance(state.result[some], Success)
    assert isinstance(state.result[both], TriggerFailed)


# ---------------------------------------------------------------------------------------------------- flatten


# R-FLAT-1
def test_one_level_of_nesting_is_removed_before_passing_or_mapping() -> None:
    with Flow("f") as flow:
        nested = produced(lambda: [[1], [2, [3]]])
        passed: Any = collect(flatten(nested))
        over: Any = same.map(flatten(nested))
        constant: Any = same.map(flatten([[1], [2, 3]]))
        whole: Any = collect.map(unmapped(flatten([[1], [2]])))
        children: Any = task(lambda n: list(range(n)), name="upto").map([1, 3])
        gathered: Any = collect(flatten(children))
        further: Any = inc.map(flatten(children))
    state = flow.run()
    assert results(state, passed) == results(state, over) == [1, 2, [3]]
    assert results(state, constant) == [1, 2, 3]
    assert results(state, whole) == [1, 2]
    assert results(state, gathered) == [0, 0, 1, 2]
    assert results(state, further) == [1, 1, 2, 3]


# R-FLAT-2
@pytest.mark.parametrize("value", [[1, 2, 3], 5, ["ab", "cd"], "ab"])
def test_what_is_not_nested_is_passed_unchanged(value: Any) -> None:
    with Flow("f") as flow:
        passed: Any = collect(flatten(produced(lambda: value)))
    assert results(flow.run(), passed) == value


# R-FLAT-3
def test_failed_skipped_and_scalar_children_contribute_one_entry() -> None:
    @task
    def items(x: int) -> Any:
        if x == 1:
            raise ValueError("one")
        if x == 3:
            return 33
        return [x, x * 10]

    with Flow("f") as flow:
        children: Any = items.map([1, 2, 3, 4])
        many: Any = inc.map(flatten(children))
    state = flow.run()
    assert names(state, many) == ["TriggerFailed", "Success", "Success", "Success", "Success", "Success"]
    assert results(state, many)[1:] == [3, 21, 34, 5, 41]


# R-FLAT-3
def test_texts_of_children_stay_whole() -> None:
    with Flow("f") as flow:
        words: Any = task(lambda x: x * 2, name="double").map(["ab", "c"])
        many: Any = same.map(flatten(words))
    assert results(flow.run(), many) == ["abab", "cc"]


# R-FLAT-4
def test_flattening_waits_for_all_children() -> None:
    order: list[str] = []

    @task
    def make(x: int) -> list[int]:
        order.append(f"make {x}")
        return [x]

    @task
    def use(x: int) -> None:
        order.append(f"use {x}")

    with Flow("f") as flow:
        use.map(flatten(make.map([1, 2])))
    flow.run()
    assert order == ["make 1", "make 2", "use 1", "use 2"]


# -------------------------------------------------------------------------------------------------- apply_map


# R-AMAP-1 R-AMAP-2
def test_mapped_function_runs_each_of_its_tasks_per_item() -> None:
    count: list[int] = []

    @task
    def tick() -> str:
        count.append(1)
        return "tick"

    def func(x: Any, shift: Any) -> tuple[Any, Any]:
        return task(lambda x, y: x * 2 + y, name="scale")(inc(x), shift), tick()

    with Flow("f") as flow:
        scaled, ticks = apply_map(func, produced(lambda: [1, 2, 3]), unmapped(produced(lambda: 100)))
    state = flow.run()
    assert results(state, scaled) == [104, 106, 108]
    assert results(state, ticks) == ["tick"] * 3
    assert len(count) == 3


# R-AMAP-2
def test_whole_and_items_of_one_list_in_one_function() -> None:
    with Flow("f") as flow:
        values = produced(lambda: [1, 2, 5])
        shares: Any = apply_map(
            lambda x, every: task(lambda a, b: a / sum(b), name="share")(x, every), values, unmapped(values)
        )
    assert results(flow.run(), shares) == [0.125, 0.25, 0.625]


# R-AMAP-6
def test_case_in_a_mapped_function_decides_per_item() -> None:
    @task
    def is_even(x: int) -> bool:
        return x % 2 == 0

    def func(x: Any) -> Any:
        with case(is_even(x), True):
            even: Any = task(lambda x: f"{x} even", name="even")(x)
        with case(is_even(x), False):
            odd: Any = task(lambda x: f"{x} odd", name="odd")(x)
        return merge(even, odd)

    with Flow("f") as flow:
        words: Any = apply_map(func, [1, 2, 3])
    state = flow.run()
    assert state.is_successful()
    assert results(state, words) == ["1 odd", "2 even", "3 odd"]


# R-AMAP-6
@pytest.mark.parametrize("taken", [True, False])
def test_mapped_function_in_a_case_is_skipped_with_it(taken: bool) -> None:
    with Flow("f") as flow:
        with case(produced(lambda: taken), True):
            made: Any = apply_map(lambda x: inc(inc(x)), [1, 2])
    state = flow.run()
    assert state.is_successful()
    assert results(state, made) == ([3, 4] if taken else None)
    assert isinstance(state.result[made], Mapped if taken else Skipped)


# ------------------------------------------------------------------------------------------------- conditions


# R-CASE-2 R-CASE-3
@pytest.mark.parametrize(
    ("given", "value", "taken"),
    [
        ("a", "a", True),
        ("a", "b", False),
        (1, True, True),
        (0, False, True),
        ("x", True, False),
        (None, None, True),
    ],
)
def test_block_runs_if_the_values_are_equal(given: Any, value: Any, taken: bool) -> None:
    with Flow("f") as flow:
        with case(produced(lambda: given), value):
            first: Any = same(1)
            second: Any = inc(first)
    state = flow.run()
    compare = flow.get_tasks(name=f"case({value})")[0]
    assert state.is_successful()
    assert results(state, compare) is None
    if taken:
        assert type(state.result[compare]) is Success
        assert results(state, second) == 2
    else:
        assert isinstance(state.result[compare], Skipped)
        assert state.result[compare].message == f'Provided value "{given}" did not match "{value}"'
        assert isinstance(state.result[second], Skipped)
        assert isinstance(state.result[first], Skipped)


# R-CASE-3 R-CASE-4
def test_value_that_is_no_bool_skips_both_boolean_blocks() -> None:
    with Flow("f") as flow:
        asked = produced(lambda: "x")
        with case(asked, True):
            yes: Any = same(1)
        with case(asked, False):
            no: Any = same(2)
    state = flow.run()
    assert isinstance(state.result[yes], Skipped)
    assert isinstance(state.result[no], Skipped)


# R-CASE-7
@pytest.mark.parametrize("value", [np.arange(2), pd.DataFrame({"a": [1]})], ids=["array", "frame"])
def test_array_as_a_condition_skips_with_a_clear_message(value: Any) -> None:
    with Flow("f") as flow:
        with case(produced(lambda: value), 1):
            same(1)
    state = flow.run()
    compare = state.result[flow.get_tasks(name="case(1)")[0]]
    assert isinstance(compare, Skipped)
    assert "cannot be compared as a whole" in str(compare.message)


# R-SWITCH-1 R-SWITCH-2 R-SWITCH-3
def test_switch_and_ifelse_run_one_branch() -> None:
    with Flow("f") as flow:
        asked = produced(lambda: "b")
        a, b = same("A"), same("B")
        yes, no = same("yes"), same("no")
        switch(asked, {"a": a, "b": b})
        ifelse(asked, yes, no)
        merged: Any = merge(a, b)
    state = flow.run()
    assert state.is_successful()
    assert isinstance(state.result[a], Skipped)
    assert results(state, merged) == "B"
    assert results(state, yes) == "yes"
    assert isinstance(state.result[no], Skipped)


# R-SWITCH-4
def test_mapped_switch_decides_item_by_item() -> None:
    with Flow("f") as flow:
        kinds = produced(lambda: ["a", "b", "a"])
        a: Any = same.map(["a0", "a1", "a2"])
        b: Any = same.map(["b0", "b1", "b2"])
        switch(kinds, {"a": a, "b": b}, mapped=True)
        merged: Any = merge(a, b, mapped=True)
        truths = produced(lambda: [1, 0])
        yes: Any = same.map(["y0", "y1"])
        ifelse(truths, yes, None, mapped=True)
    state = flow.run()
    assert results(state, merged) == ["a0", "b1", "a2"]
    assert names(state, yes) == ["Success", "Skipped"]


# R-MERGE-1 R-MERGE-2 R-MERGE-5 R-MERGE-6
def test_merge_takes_the_first_that_is_there() -> None:
    with Flow("f") as flow:
        skipped = produced(raising(SKIP("no")))
        nothing = produced(lambda: None)
        falsy = produced(lambda: 0)
        failed = produced(raising(FAIL("bad")))
        first: Any = merge(skipped, nothing, falsy, 5)
        none: Any = merge(skipped, skipped)
        broken: Any = merge(falsy, failed)
        ordered: Any = merge(
            *[produced(lambda: None) for _ in range(9)], produced(lambda: 10), produced(lambda: 11)
        )
        of_nothing: Any = merge(nothing)
    state = flow.run()
    assert results(state, first) == 0
    assert isinstance(state.result[none], Skipped)
    assert state.result[none].message == "All upstreams were skipped"
    assert isinstance(state.result[broken], TriggerFailed)
    assert results(state, ordered) == 10
    assert results(state, of_nothing) is None


# R-FILT-1 R-FILT-3
def test_filter_keeps_the_results_of_mapped_children() -> None:
    @task
    def risky(x: int) -> Any:
        outcomes: dict[int, Callable[[], Any]] = {
            1: raising(ValueError("x")),
            2: raising(SKIP("s")),
            3: raising(FAIL("f")),
            4: lambda: None,
        }
        return outcomes.get(x, lambda: x)()

    with Flow("f") as flow:
        many: Any = risky.map([0, 1, 2, 3, 4, 5])
        good: Any = FilterTask()(many)
        over_failed: Any = FilterTask()(produced(raising(ValueError("x"))))
    state = flow.run()
    assert results(state, good) == [0, 5]
    # R-FILT-4
    assert isinstance(state.result[over_failed], Failed)
    assert "not iterable" in str(state.result[over_failed].message)


# -------------------------------------------------------------------------------------------------- resources


class RoomResource:
    log: list[str]

    def __init__(self, fail: str = "") -> None:
        self.fail = fail
        type(self).log.append("init")
        if fail == "init":
            raise ValueError("init")

    def setup(self) -> str:
        type(self).log.append("setup")
        if self.fail == "setup":
            raise ValueError("setup")
        if self.fail == "skip":
            raise SKIP("no room")
        return "key"

    def cleanup(self, key: str) -> None:
        type(self).log.append(f"cleanup {key}")


def room_flow(fail: str = "", inside: Callable[[], Any] = lambda: "used") -> tuple[Flow, Any]:
    RoomResource.log = []
    room = resource_manager(RoomResource, name="Room")
    with Flow("f") as flow:
        with room(fail) as key:
            used: Any = give(inside, upstream_tasks=[key])
    return flow, used


# R-RM-1 R-RM-2
def test_resource_is_set_up_before_and_cleaned_up_after_its_block() -> None:
    def use() -> str:
        RoomResource.log.append("use")
        return "used"

    flow, used = room_flow(inside=use)
    state = flow.run()
    assert state.is_successful()
    assert RoomResource.log == ["init", "setup", "use", "cleanup key"]
    assert results(state, used) == "used"


# R-RM-3 R-RM-4
def test_failure_in_the_block_is_cleaned_up_and_fails_the_run() -> None:
    flow, used = room_flow(inside=raising(ValueError("x")))
    state = flow.run()
    assert state.is_failed()
    assert RoomResource.log == ["init", "setup", "cleanup key"]
    assert isinstance(state.result[used], Failed)


# R-RM-3
@pytest.mark.parametrize(
    ("fail", "message", "log"),
    [
        ("init", "Resource manager init failed", ["init"]),
        ("setup", "Resource manager setup failed", ["init", "setup"]),
        ("skip", "Resource manager setup skipped", ["init", "setup"]),
    ],
)
def test_clean_up_is_skipped_when_there_is_nothing_to_clean_up(
    fail: str, message: str, log: list[str]
) -> None:
    flow, used = room_flow(fail)
    state = flow.run()
    cleanup = state.result[flow.get_tasks(name="Room.cleanup")[0]]
    assert isinstance(cleanup, Skipped)
    assert cleanup.message == message
    assert RoomResource.log == log
    assert results(state, used) != "used"
    assert state.is_failed() is (fail != "skip")


# R-RM-6
def test_continued_run_sets_up_and_cleans_up_again() -> None:
    flow, used = room_flow()
    state = flow.run()
    RoomResource.log.clear()
    again = flow.run(task_states=state.result)
    assert again.is_successful()
    assert RoomResource.log == ["setup", "cleanup key"]
    assert results(again, used) == "used"


# R-RM-8
def test_task_outside_the_block_does_not_delay_the_clean_up() -> None:
    RoomResource.log = []
    room = resource_manager(RoomResource, name="Room")
    with Flow("f") as flow:
        with room() as key:
            used: Any = give(lambda: "used", upstream_tasks=[key])
        failing: Any = inc(used)
    state = flow.run()
    assert isinstance(state.result[failing], Failed)
    assert RoomResource.log == ["init", "setup", "cleanup key"]


# ------------------------------------------------------------------------------------------------ the example


# R-MAP-1 R-AMAP-6 R-FILT-1 R-FLAT-1
def test_crawl() -> None:
    @task
    def pages() -> list[int]:
        return [1, 2, 3]

    @task
    def links(page: int, width: int) -> list[int]:
        if page == 2:
            raise ValueError("page 2 is broken")
        return [page * 10 + i for i in range(width)]

    @task
    def even(x: int) -> bool:
        return x % 2 == 0

    @task
    def halve(x: int) -> int:
        return x // 2

    def shrink(x: Any) -> Any:
        with case(even(x), True):
            h = halve(x)
        return merge(h, x)

    keep_good = FilterTask()
    with Flow("crawl") as flow:
        found: Any = links.map(pages(), width=unmapped(2))
        good: Any = keep_good(found)
        small: Any = apply_map(shrink, flatten(good))
    flow.set_reference_tasks([small])
    state = flow.run()
    assert state.is_successful()
    assert results(state, good) == [[10, 11], [30, 31]]
    assert results(state, small) == [5, 11, 15, 31]


# R-CASE-5
def test_parameter_in_a_block_is_free_of_it() -> None:
    with Flow("f") as flow:
        with case(produced(lambda: 1), 2):
            used: Any = inc(Parameter("p", default=1))
    state = flow.run(p=4)
    assert isinstance(state.result[used], Skipped)
    assert results(state, flow.get_tasks(name="p")[0]) == 4
