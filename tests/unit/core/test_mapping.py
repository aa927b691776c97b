"""Mapping: what `.map`, annotations and `apply_map` build."""

from typing import Any

import pytest

from tenuto import Flow, Task, apply_map, case, flatten, mapped, resource_manager, tags, task, unmapped
from tenuto.core.edge import Edge
from tenuto.core.nodes import Constant
from tenuto.tasks.control_flow import merge, switch


@task
def add(x: Any, y: Any = 1) -> Any:
    return x + y


@task
def nothing() -> Any: ...


def looks(flow: Flow, node: Any) -> set[tuple[str, str | None, bool, bool]]:
    """Return the edges to a task: name above, argument, mapped, flattened."""
    return {(edge.upstream_task.name, edge.key, edge.mapped, edge.flattened) for edge in flow.edges_to(node)}


# R-MAP-1
def test_map_makes_every_argument_and_upstream_task_mapped_but_those_unmapped() -> None:
    a, b, c, d = (Task(name=name) for name in "abcd")
    with Flow("f") as flow:
        node: Any = add.map(a, y=unmapped(b), upstream_tasks=[c, unmapped(d)])
        short: Any = add.map(a)
    assert looks(flow, node) == {
        ("a", "x", True, False),
        ("b", "y", False, False),
        ("c", None, True, False),
        ("d", None, False, False),
    }
    assert looks(flow, short) == {("a", "x", True, False)}
    assert add not in flow.tasks


# R-MAP-1
def test_call_with_mapped_and_single_annotations_do_the_same() -> None:
    a, b = Task(name="a"), Task(name="b")
    with Flow("f") as flow:
        whole: Any = add(a, unmapped(b), mapped=True)
        single: Any = add(x=mapped(a), y=b)
    assert looks(flow, whole) == looks(flow, single) == {("a", "x", True, False), ("b", "y", False, False)}


# R-MAP-1 R-FLAT-1
def test_annotations_combine_in_any_order() -> None:
    a, b, c, d = (Task(name=name) for name in "abcd")
    with Flow("f") as flow:
        node: Any = add.map(unmapped(flatten(a)), flatten(b))
        other: Any = add(flatten(unmapped(c)), mapped(flatten(d)))
        constant: Any = add(flatten([[1], [2]]))
    assert looks(flow, node) == {("a", "x", False, True), ("b", "y", True, True)}
    assert looks(flow, other) == {("c", "x", False, True), ("d", "y", True, True)}
    assert looks(flow, constant) == {("Constant[list]", "x", False, True)}


# R-MAP-1 R-REAL-13
def test_map_takes_task_args_and_a_flow() -> None:
    flow = Flow("f")
    node: Any = add.map([1, 2], task_args={"name": "mine", "tags": ["t"]}, flow=flow)
    assert (node.name, node.tags) == ("mine", {"t"})
    assert looks(flow, node) == {("[1, 2]", "x", True, False)}


# R-MAP-2
@pytest.mark.parametrize("value", [3, None, {1, 2}, iter([1])])
def test_argument_that_cannot_be_indexed_is_refused_by_position_and_by_name(value: Any) -> None:
    with Flow("f") as flow:
        for call in (
            lambda: add.map(value),
            lambda: add.map(x=value),
            lambda: add(value, mapped=True),
        ):
            with pytest.raises(TypeError, match="^Cannot map over unsubscriptable object of type <class '"):
                call()
        add.map(unmapped(value))
    assert len(flow.tasks) == 1
    with Flow("g"), pytest.raises(TypeError, match=r"of type <class 'int'>: 3\.\.\.\n"):
        add.map(3)


# R-MAP-3
def test_sequences_become_constants_and_lists_of_tasks_collectors() -> None:
    a = Task(name="a")
    with Flow("f") as flow:
        for value in ([1], (1, 2), range(2), "abc"):
            node: Any = add.map(value)
            (edge,) = flow.edges_to(node)
            assert isinstance(edge.upstream_task, Constant)
            assert (edge.upstream_task.value, edge.mapped) == (value, True)
        over: Any = add.map([a, 2])
    assert looks(flow, over) == {("List", "x", True, False)}


# R-MAP-4
def test_map_without_mapped_arguments_makes_no_mapped_edge() -> None:
    with Flow("f") as flow:
        plain: Any = nothing.map()
        whole: Any = add.map(unmapped([1, 2]))
    assert not flow.edges
    assert flow.constants[whole] == {"x": [1, 2]}
    assert plain in flow.tasks


# R-MAP-18
def test_item_of_a_mapped_task_is_picked_from_the_gathered_list() -> None:
    with Flow("f") as flow:
        many: Any = add.map([1, 2])
        first = many[0]
    assert looks(flow, first) == {("add", "task_result", False, False)}


# R-AMAP-1
def test_function_is_called_once_with_tasks_and_what_it_returns_is_returned() -> None:
    calls: list[tuple[Any, ...]] = []
    a = Task(name="a")

    def func(x: Any, *, y: Any) -> tuple[Any, Any]:
        calls.append((x, y))
        first: Any = add(x, y)
        return first, first[0]

    with Flow("f") as flow:
        first, item = apply_map(func, a, y=unmapped([5, 6]))
    assert len(calls) == 1
    assert calls[0][0] is a
    assert isinstance(calls[0][1], Task)
    assert looks(flow, first) == {("a", "x", True, False)}
    assert flow.constants[first] == {"y": [5, 6]}
    assert looks(flow, item) == {("add", "task_result", True, False)}


# R-AMAP-1 R-FLAT-1
def test_flatten_is_honoured() -> None:
    a, b = Task(name="a"), Task(name="b")

    def func(x: Any, y: Any) -> Any:
        return add(x, y)

    with Flow("f") as flow:
        made: Any = apply_map(func, flatten(a), y=unmapped(flatten(b)))
    assert looks(flow, made) == {("a", "x", True, True), ("b", "y", False, True)}


# R-AMAP-2
def test_every_task_of_the_function_depends_on_every_mapped_argument() -> None:
    a, b, c = (Task(name=name) for name in "abc")

    def func(x: Any, y: Any, z: Any) -> tuple[Any, Any, Any]:
        alone: Any = nothing()
        one: Any = add(x)
        after: Any = add(one, y)
        return alone, one, after

    with Flow("f") as flow:
        alone, one, after = apply_map(func, a, b, unmapped(c))
    assert looks(flow, alone) == {("a", None, True, False), ("b", None, True, False)}
    assert looks(flow, one) == {("a", "x", True, False), ("b", None, True, False)}
    assert looks(flow, after) == {("add", "x", True, False), ("b", "y", True, False)}
    assert c in flow.tasks


# R-AMAP-2
def test_tasks_from_outside_that_are_no_arguments_are_handed_over_whole() -> None:
    a, outside = Task(name="a"), Task(name="outside")

    def func(x: Any) -> Any:
        return add(x, outside), add(unmapped(x))

    with Flow("f") as flow:
        outside()
        called: Any = Task(name="called")()

        def closing(x: Any) -> Any:
            return add(x, called)

        by_closure: Any = apply_map(closing, a)
        made, whole = apply_map(func, a)
    assert looks(flow, by_closure) == {("a", "x", True, False), ("called", "y", False, False)}
    assert looks(flow, made) == {("a", "x", True, False), ("outside", "y", True, False)}
    assert looks(flow, whole) == {("a", "x", False, False), ("a", None, True, False)}


# R-AMAP-2
def test_same_task_may_be_given_mapped_and_whole() -> None:
    a = Task(name="a")

    def both(x: Any, y: Any) -> Any:
        return add(x, y)

    with Flow("f") as flow:
        made: Any = apply_map(both, a, unmapped(a))
        again: Any = apply_map(both, a, a)
    over_all = next(edge.upstream_task for edge in flow.edges_to(made) if not edge.mapped)
    assert over_all.run(3) == 3
    assert looks(flow, over_all) == {("a", "value", False, False)}
    assert looks(flow, again) == {("a", "x", True, False), ("a", "y", True, False)}


# R-AMAP-3
@pytest.mark.parametrize(
    ("value", "name"), [(1, "int"), ({1}, "set"), ({"a": 1}, "dict"), (None, "NoneType")]
)
def test_argument_that_is_no_sequence_is_refused(value: Any, name: str) -> None:
    with Flow("f"):
        for given in ((value,), ()):
            with pytest.raises(TypeError, match=f"^Cannot map over non-sequence object of type `{name}`\n"):
                apply_map(add, *given, **({} if given else {"x": value}))
        apply_map(add, [1], unmapped(value))


# R-AMAP-4
def test_flow_is_inferred_or_handed_on_to_the_function() -> None:
    with pytest.raises(ValueError, match="^Couldn't infer a flow in the current context\n"):
        apply_map(add, [1])
    flow = Flow("f")
    seen: list[Any] = []

    def func(x: Any, flow: Flow) -> Any:
        seen.append(flow)
        return add(x, flow=flow)

    made: Any = apply_map(func, [1, 2], flow=flow)
    assert seen == [flow]
    assert looks(flow, made) == {("[1, 2]", "x", True, False)}


# R-AMAP-5 R-GRAPH-13
def test_mapping_inside_the_function_is_refused() -> None:
    text = "^Cannot set `mapped=True` when running from inside a mapped context\n"
    branch = Task()
    calls: list[Any] = [
        lambda x: add.map(x),
        lambda x: add(mapped(x)),
        lambda x: add(x, mapped=True),
        lambda x: apply_map(lambda y: add(y), x),
        lambda x: switch(x, {1: branch}, mapped=True),
    ]
    for func in calls:
        with pytest.raises(ValueError, match=text), Flow("f") as flow:
            apply_map(func, [1])
        with flow:  # the body is closed again
            add.map([1])


# R-AMAP-5
def test_another_flow_may_be_built_and_mapped_inside_the_function() -> None:
    inner = Flow("inner")

    def func(x: Any) -> Any:
        add.map([1, 2], flow=inner)
        return add(x)

    with Flow("f") as flow:
        apply_map(func, [1])
    assert [edge.mapped for edge in inner.edges] == [True]
    assert len(flow.tasks) == 2


# R-AMAP-6 R-CASE-1
def test_case_and_merge_inside_the_function_work_per_item() -> None:
    def func(x: Any) -> Any:
        with case(add(x), 2):
            inner: Any = add(x, task_args={"name": "inner"})
        return merge(inner, x)

    a = Task(name="a")
    with Flow("f") as flow:
        merged: Any = apply_map(func, a)
    inner = flow.get_tasks(name="inner")[0]
    compare = flow.get_tasks(name="case(2)")[0]
    assert looks(flow, compare) == {("add", "value", True, False)}
    assert looks(flow, inner) == {("a", "x", True, False), ("case(2)", None, True, False)}
    assert looks(flow, merged) == {("inner", "task_1", True, False), ("a", "task_2", True, False)}


# R-AMAP-6
def test_apply_map_may_stand_in_a_case_or_a_resource_block() -> None:
    class RoomResource:
        def __init__(self) -> None: ...

        def setup(self) -> str:
            return "key"

        def cleanup(self, key: str) -> None: ...

    Room = resource_manager(RoomResource, name="Room")

    def func(x: Any) -> Any:
        return add(add(x, task_args={"name": "first"}))

    a = Task(name="a")
    with Flow("f") as flow:
        a()
        with case(a.copy(name="condition")(), True):
            guarded: Any = apply_map(func, [1, 2])
        with Room():
            roomy: Any = apply_map(func, [3, 4])
    above, below = flow.get_tasks(name="first")
    assert looks(flow, above) == {("[1, 2]", "x", True, False), ("case(True)", None, False, False)}
    assert looks(flow, guarded) == {("first", "x", True, False)}
    assert looks(flow, below) == {("[3, 4]", "x", True, False), ("Room.setup", None, False, False)}
    assert Edge(roomy, flow.get_tasks(name="Room.cleanup")[0]) in flow.edges


def test_tasks_in_the_function_take_the_tags_round_it() -> None:
    with Flow("f"), tags("t"):
        made: Any = apply_map(lambda x: add(x), [1])
    assert made.tags == {"t"}


def test_error_in_the_function_closes_its_body() -> None:
    def func(x: Any) -> Any:
        add(x)
        raise ZeroDivisionError

    with Flow("f") as flow:
        with pytest.raises(ZeroDivisionError):
            apply_map(func, [1])
        after: Any = add(1)
    assert looks(flow, after) == set()
