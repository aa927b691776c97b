"""Python's operators on tasks."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tenuto import Flow, Parameter, Task, task
from tenuto.core.edge import Edge
from tenuto.core.operators import GetAttr, GetItem
from tenuto.engine.results import LocalResult, PrefectResult
from tenuto.tasks.core import operators

BINARY: list[tuple[str, Callable[[Any, Any], Any]]] = [
    ("Add", operator.add),
    ("Sub", operator.sub),
    ("Mul", operator.mul),
    ("Div", operator.truediv),
    ("FloorDiv", operator.floordiv),
    ("Mod", operator.mod),
    ("Pow", operator.pow),
    ("GreaterThan", operator.gt),
    ("GreaterThanOrEqual", operator.ge),
    ("LessThan", operator.lt),
    ("LessThanOrEqual", operator.le),
]
REFLECTED = {
    "GreaterThan": "LessThan",
    "LessThan": "GreaterThan",
    "GreaterThanOrEqual": "LessThanOrEqual",
    "LessThanOrEqual": "GreaterThanOrEqual",
}


# R-OP-1
@pytest.mark.parametrize(("name", "operate"), BINARY)
def test_operator_makes_a_node_that_computes_the_same(name: str, operate: Callable[[Any, Any], Any]) -> None:
    with Flow("f") as flow:
        a, b = Task(name="a"), Task(name="b")
        node = operate(a, b)
        with_value = operate(a, 3)
    assert (type(node).__name__, node.name) == (name, name)
    assert flow.edges_to(node) == {Edge(a, node, "x"), Edge(b, node, "y")}
    assert flow.constants[with_value] == {"y": 3}
    for x, y in ((7, 2), (2, 7), (3, 3)):
        assert node.run(x, y) == operate(x, y)


# R-OP-1
@pytest.mark.parametrize(("name", "operate"), BINARY)
def test_operator_works_with_the_task_on_the_right(name: str, operate: Callable[[Any, Any], Any]) -> None:
    with Flow("f") as flow:
        a = Task(name="a")
        node = operate(8, a)
    turned = REFLECTED.get(name)
    assert node.name == (turned or name)
    assert flow.constants[node] == ({"y": 8} if turned else {"x": 8})
    for value in (2, 8, 9):
        given = {"x": value, **flow.constants[node]} if turned else {"y": value, **flow.constants[node]}
        assert node.run(**given) == operate(8, value)


# R-OP-1
@pytest.mark.parametrize(
    ("name", "make", "compute"),
    [
        ("And", lambda a, b: a & b, lambda x, y: x and y),
        ("Or", lambda a, b: a.or_(b), lambda x, y: x or y),
        ("Equal", lambda a, b: a.is_equal(b), lambda x, y: x == y),
        ("NotEqual", lambda a, b: a.is_not_equal(b), lambda x, y: x != y),
    ],
)
def test_logic_and_comparisons_are_methods_or_signs(
    name: str, make: Callable[[Any, Any], Any], compute: Callable[[Any, Any], Any]
) -> None:
    with Flow("f") as flow:
        a = Task(name="a")
        node = make(a, 3)
    assert node.name == name
    assert flow.edges_to(node) == {Edge(a, node, "x")}
    for x, y in ((0, 3), (3, 3), ([], "text")):
        assert node.run(x, y) == compute(x, y)


# R-OP-1
def test_not_takes_one_value_and_and_works_reflected() -> None:
    with Flow("f") as flow:
        a = Task(name="a")
        negated = a.not_()
        both = True & a
    assert (negated.name, negated.run(0), negated.run(1)) == ("Not", True, False)
    assert flow.constants[both] == {"x": True}


# R-OP-1
def test_bar_makes_a_dependency_and_returns_the_later_task() -> None:
    with Flow("f") as flow:
        a, b, c = Task(name="a"), Task(name="b"), Task(name="c")
        assert (a | b | c) is c
        assert (5 | a) is a
    assert {Edge(a, b), Edge(b, c)} <= flow.edges
    assert [(edge.upstream_task.name, edge.key) for edge in flow.edges_to(a)] == [("5", None)]


# R-OP-1 R-CALL-3
@pytest.mark.parametrize(
    "make", [lambda a: a + 1, lambda a: a[0], lambda a: a.not_(), lambda a: a | a.copy()]
)
def test_operator_outside_a_flow_is_refused(make: Callable[[Any], Any]) -> None:
    with pytest.raises(
        ValueError, match="could not infer an active Flow context|Could not infer an active Flow"
    ):
        make(Task())


# R-OP-2
def test_what_would_not_be_a_node_fails() -> None:
    with Flow("f"):
        a: Any = Task(name="a")
        a()
        for fails in (lambda: -a, lambda: ~a, lambda: len(a)):
            with pytest.raises(TypeError):
                fails()
        with pytest.raises(AttributeError):
            a.shape


# R-OP-3
def test_item_is_named_after_task_and_key_and_inherits_how_it_is_kept() -> None:
    result = LocalResult(location="place")
    with Flow("f") as flow:
        a = Task(name="a", result=result, checkpoint=False)
        key = Task(name="key")
        item, other = a["k"], a[key]
    assert (item.name, other.name) == ("a['k']", "a[key]")
    assert (item.checkpoint, type(item.result)) == (False, LocalResult)
    assert flow.constants[item] == {"key": "k"}
    assert flow.edges_to(other) == {Edge(a, other, "task_result"), Edge(key, other, "key")}
    assert item.run([1, 2], 1) == 2


# R-OP-3
def test_item_is_never_written_to_the_place_of_its_task() -> None:
    def place(**kwargs: Any) -> str:
        return "place"

    with Flow("f"):
        for result in (LocalResult(location="place"), LocalResult(location=place)):
            parent = Task(result=result)
            item = parent[0]
            assert item.result is not parent.result
            assert item.result.location is None
            assert item.result.format(task_name="x").location != "place"
            assert item.target is None
        parameter = Parameter("p")
        assert isinstance(parameter[0].result, PrefectResult)


# R-OP-4
def test_task_with_nout_can_be_unpacked() -> None:
    with Flow("f") as flow:
        low, high = Task(name="split", nout=2)
        assert list(Task(name="none", nout=0)()) == []
    assert [low.name, high.name] == ["split[0]", "split[1]"]
    assert [flow.constants[one]["key"] for one in (low, high)] == [0, 1]


# R-OP-4
def test_task_without_nout_is_not_iterable() -> None:
    @task
    def pair(x: Any) -> tuple[Any, Any]:
        return x, x

    with Flow("f"):
        with pytest.raises(TypeError, match=r"^Task is not iterable\..*`nout=`"):
            iter(Task(name="a")())
        over: Any = pair.map([1])
        also_over: Any = pair([1], mapped=True)
        assert over.nout is also_over.nout is None
        with pytest.raises(TypeError, match="not iterable"):
            _low, _high = over
        assert pair.nout == 2


# R-OP-5
def test_default_stands_for_a_missing_key_or_attribute_only() -> None:
    assert GetItem(default=3).run({"a": 1}, "b") == 3
    assert GetItem(default=None).run({}, "b") is None
    assert GetAttr(default=3).run(object(), "b") == 3
    assert GetAttr().run(1j, "imag") == 1
    with pytest.raises(KeyError):
        GetItem().run({}, "b")
    with pytest.raises(IndexError):
        GetItem(default=3).run([], 0)
    with pytest.raises(AttributeError):
        GetAttr().run(object(), "b")


# R-OP-1
def test_array_on_the_left_makes_one_node() -> None:
    with Flow("f") as flow:
        a = Task(name="a")
        node: Any = np.arange(3) + a
        scalar: Any = np.float64(2) * a
    assert (node.name, scalar.name) == ("Add", "Mul")
    assert list(flow.constants[node]["x"]) == [0, 1, 2]


# R-INV-1
def test_operator_classes_are_offered_where_they_always_were() -> None:
    assert operators.Add is type_of("Add")
    assert set(operators.__all__) == {
        *dict(BINARY),
        "And",
        "Or",
        "Not",
        "Equal",
        "NotEqual",
        "GetItem",
        "GetAttr",
    }


def type_of(name: str) -> Any:
    from tenuto.core import operators as core

    return getattr(core, name)
