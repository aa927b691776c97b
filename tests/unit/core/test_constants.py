"""Plain values and collections where tasks are expected."""

from collections import namedtuple
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from tenuto import Flow, Task, mapped, task, unmapped
from tenuto.core.edge import Edge
from tenuto.core.nodes import Constant, Dict, List, Set, Tuple, as_task


class Point(NamedTuple):
    x: Any
    y: Any


@dataclass
class Config:
    ratio: Any
    name: str = "n"


@task
def take(value: Any = None, other: Any = None) -> Any:
    return value


def keyed(flow: Flow, node: Any) -> dict[str | None, str]:
    """Return argument -> name of the task that brings it."""
    return {edge.key: edge.upstream_task.name for edge in flow.upstream_edges(node)}


# R-CONST-1 [seed S-17]
@pytest.mark.parametrize(
    "value", [5, None, "text", [1, 2], {"a": [1]}, pd.DataFrame({"a": [1]}), np.arange(3)]
)
def test_plain_value_of_an_argument_is_kept_beside_the_graph(value: Any) -> None:
    with Flow("f") as flow:
        node: Any = take(value)
    assert flow.tasks == {node}
    assert flow.constants[node]["value"] is value


# R-CONST-1
def test_value_that_passes_no_data_or_is_mapped_becomes_a_node() -> None:
    with Flow("f") as flow:
        after: Any = take(upstream_tasks=[5])
        over: Any = take(mapped([1, 2]))
        over_all: Any = take.map([3], other=unmapped(4))
    assert {edge.upstream_task.name: edge.key for edge in flow.edges_to(after)} == {"5": None}
    (edge,) = flow.edges_to(over)
    assert isinstance(edge.upstream_task, Constant)
    assert (edge.upstream_task.value, edge.mapped) == ([1, 2], True)
    assert keyed(flow, over_all) == {"value": "[3]"}
    assert flow.constants[over_all] == {"other": 4}


# R-CONST-1
def test_constant_task_that_is_no_node_yet_is_taken_for_its_value() -> None:
    with Flow("f") as flow:
        node: Any = take(Constant(5))  # type: ignore[arg-type, unused-ignore]
    assert flow.tasks == {node}
    assert flow.constants[node] == {"value": 5}


# R-CONST-2
@pytest.mark.parametrize(
    ("value", "name"),
    [
        ([1, 2], "[1, 2]"),
        ("abc", "'abc'"),
        ("abcdef", "'abcdef'"),
        ("abcdefg", "Constant[str]"),
        (None, "None"),
        (12345678, "12345678"),
        (123456789, "Constant[int]"),
        ([1, 2, 3], "Constant[list]"),
        (range(3), "Constant[range]"),
        (datetime(2020, 1, 1), "Constant[datetime]"),  # noqa: DTZ001
        (list(range(100_000)), "Constant[list]"),
    ],
)
def test_constant_is_named_by_its_text_if_that_is_short(value: Any, name: str) -> None:
    constant = Constant(value)
    assert (constant.name, constant.auto_generated, constant.run()) == (name, True, value)
    assert Constant(value, name="mine").name == "mine"


# R-CONST-2
def test_name_of_a_large_value_costs_no_text_of_it() -> None:
    class Large:
        def __len__(self) -> int:
            return 10**9

        def __repr__(self) -> str:
            raise AssertionError("the text of a large value was made")

    assert Constant(Large()).name == "Constant[Large]"


# R-CONST-3
def test_collections_of_tasks_become_collectors_at_any_depth() -> None:
    a, b = Task(name="a"), Task(name="b")
    with Flow("f") as flow:
        in_list: Any = take([a, 1, [b, 2], [3, 4]])
        in_tuple: Any = take((a,))
        in_set: Any = take({a, 5})
    assert keyed(flow, in_list) == {"value": "List"}
    assert keyed(flow, in_tuple) == {"value": "Tuple"}
    assert keyed(flow, in_set) == {"value": "Set"}
    outer = next(iter(flow.upstream_tasks(in_list)))
    assert isinstance(outer, List)
    assert keyed(flow, outer) == {"arg_1": "a", "arg_3": "List"}
    assert flow.constants[outer] == {"arg_2": 1, "arg_4": [3, 4]}


# R-CONST-3 R-REAL-9
def test_dictionary_values_are_searched_and_keys_are_not() -> None:
    a, key = Task(name="a"), Task(name="key")
    with Flow("f") as flow:
        node: Any = take({"x": a, "y": 1, key: {"z": a}})
        key()
    collector = next(iter(flow.upstream_tasks(node)))
    assert isinstance(collector, Dict)
    assert keyed(flow, collector) == {"values": "List"}
    assert flow.constants[collector] == {"keys": ["x", "y", key]}
    values = next(iter(flow.upstream_tasks(collector)))
    assert keyed(flow, values) == {"arg_1": "a", "arg_3": "Dict"}
    assert key not in flow.tasks


# R-CONST-3
def test_value_without_a_task_inside_is_one_constant() -> None:
    value = {"a": [1, (2, {3})], "b": {"c": None}}
    with Flow("f") as flow:
        node: Any = take(value)
    assert flow.tasks == {node}
    assert flow.constants[node]["value"] is value


# R-CONST-3
def test_collection_that_contains_itself_is_a_constant() -> None:
    endless: list[Any] = [1]
    endless.append(endless)
    with Flow("f") as flow:
        node: Any = take(endless)
    assert flow.constants[node]["value"] is endless


# R-CONST-3
def test_same_collection_twice_is_collected_twice() -> None:
    a = Task(name="a")
    shared = [a]
    with Flow("f") as flow:
        node: Any = take([shared, shared])
    collector = next(iter(flow.upstream_tasks(node)))
    assert sorted(edge.key or "" for edge in flow.edges_to(collector)) == ["arg_1", "arg_2"]


# R-CONST-3 R-MAP-3
def test_annotated_task_in_a_collection_counts_as_one() -> None:
    a = Task(name="a")
    with Flow("f") as flow:
        node: Any = take([unmapped(a), 1])
    collector = next(iter(flow.upstream_tasks(node)))
    assert flow.upstream_tasks(collector) == {a}


# R-CONST-4
def test_named_tuple_keeps_its_type() -> None:
    Pair = namedtuple("Pair", ["left", "right"])  # noqa: PYI024  # the untyped one counts too
    a = Task(name="a")
    with Flow("f") as flow:
        for value, expected in ((Point(a, 2), Point(1, 2)), (Pair(a, 2), Pair(1, 2)), ((a, 2), (1, 2))):
            collector = as_task(value)
            assert collector.run(arg_1=1, arg_2=2) == expected
            assert type(collector.run(arg_1=1, arg_2=2)) is type(expected)
            assert isinstance(collector, Tuple)
            assert collector.name == "Tuple"
    assert len(flow.tasks) == 4


# R-CONST-4
def test_other_objects_are_not_searched_and_a_task_in_a_dataclass_warns() -> None:
    a = Task(name="a")
    hidden = Config(a)
    with Flow("f") as flow:
        with pytest.warns(UserWarning, match="field 'ratio' of a Config holds a task"):
            node: Any = take(hidden)
        take([Config(0.5), Config])
        a()
    assert flow.constants[node]["value"] is hidden
    assert not flow.upstream_tasks(node)


# R-CONST-5
def test_collectors_keep_the_order_of_more_than_nine_arguments() -> None:
    arguments = {f"arg_{number}": number for number in (10, 2, 1, 11, 3)}
    assert List().run(**arguments) == [1, 2, 3, 10, 11]
    assert Tuple().run(**arguments) == (1, 2, 3, 10, 11)
    assert Set().run(**arguments) == {1, 2, 3, 10, 11}
    assert List().run(arg_1="first", named="last") == ["first", "last"]


# R-CONST-5
def test_dictionary_needs_as_many_keys_as_values() -> None:
    assert Dict().run(keys=["a", "b"], values=[1, 2]) == {"a": 1, "b": 2}
    with pytest.raises(ValueError, match="as many keys as values, not 2 and 1"):
        Dict().run(keys=["a", "b"], values=[1])


# R-CONST-7
def test_as_task_converts_whatever_it_gets() -> None:
    a = Task(name="a")
    assert as_task(a) is a
    assert as_task(unmapped(a)) is a
    constant = as_task(unmapped(5))
    assert isinstance(constant, Constant)
    assert constant.value == 5
    flow = Flow("f")
    collector = as_task([a, 1], flow=flow)
    assert flow.edges == {Edge(a, collector, "arg_1")}
    assert constant not in flow.tasks
    with pytest.raises(ValueError, match="infer an active Flow context"):
        as_task([a])


# R-CONST-3
def test_collectors_may_be_called_by_hand() -> None:
    a = Task(name="a")
    with Flow("f") as flow:
        node: Any = List()(a, 2)
    assert keyed(flow, node) == {"arg_1": "a"}
    assert flow.constants[node] == {"arg_2": 2}
