"""The base `Result`: holding a value and naming its place."""

import copy
import pickle
import re
from datetime import UTC, datetime
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest

from tenuto.engine import result as result_package
from tenuto.engine.result import NoResult, NoResultType, Result, ResultNotImplementedError
from tenuto.engine.result.base import is_same
from tenuto.engine.serializers import JSONSerializer, PickleSerializer


class Shelf(Result):
    """A Result of a user's own, as the documentation shows."""

    def __init__(self, name: str, **kwargs: Any) -> None:
        self.name = name
        super().__init__(**kwargs)


def test_a_result_holds_value_location_and_serializer() -> None:
    result = Result(5, "there", JSONSerializer())
    assert (result.value, result.location, result.serializer) == (5, "there", JSONSerializer())
    empty = Result()
    assert (empty.value, empty.location, empty.serializer) == (None, None, PickleSerializer())


# R-RES-1
def test_the_base_class_stores_nothing() -> None:
    for call in (
        lambda: Result().exists("x"),
        lambda: Result().exists("x", a=1),
        lambda: Result().read("x"),
        lambda: Result().write(5),
        lambda: Result().write(5, a=1),
        lambda: Shelf("a").write(5),
    ):
        with pytest.raises(ResultNotImplementedError, match="Choose a subclass") as caught:
            call()
        assert isinstance(caught.value, NotImplementedError)


# R-RES-2
def test_methods_return_new_objects_and_leave_the_result_as_it_is() -> None:
    result = Shelf("a", value=1, location="{x}.txt")
    before = dict(result._attributes())
    others = [result.copy(), result.from_value(2), result.format(x=3)]
    assert all(other is not result and type(other) is Shelf for other in others)
    assert result._attributes() == before
    assert [(o.value, o.location, o.name) for o in others] == [
        (1, "{x}.txt", "a"),
        (2, None, "a"),
        (1, "3.txt", "a"),
    ]


# R-RES-2
def test_a_result_gets_the_target_as_its_location() -> None:
    result = Result(location="there")
    result.set_location("{x}/target")
    assert result.format(x=1).location == "1/target"
    result.set_location(lambda x, **kwargs: f"made-{x}")
    assert result.location is None
    assert result.format(x=1, y=2).location == "made-1"
    result.set_location("again")
    assert result.format().location == "again"


# R-RES-3
def test_results_of_one_class_with_equal_attributes_are_equal() -> None:
    assert Result(1, "a") == Result(1, "a")
    assert Result(1, "a") != Result(2, "a")
    assert Result(1, "a") != Result(1, "b")
    assert Result(1) != Result(1, serializer=JSONSerializer())
    assert Shelf("a") == Shelf("a")
    assert Shelf("a") != Shelf("b")
    assert Result(1) != Shelf("a", value=1)
    assert Result(1) != 1
    assert Result(np.arange(3)) == Result(np.arange(3))
    assert Result(pd.DataFrame({"a": [1]})) != Result(pd.DataFrame({"a": [2]}))


# R-RES-3
def test_repr_shows_class_and_value() -> None:
    assert repr(Result(5)) == "<Result: 5>"
    assert repr(Shelf("a", value="text")) == "<Shelf: 'text'>"


# R-RES-4
def test_no_result_is_one_object() -> None:
    assert NoResultType() is NoResult
    assert NoResult.value is None
    assert NoResult != Result(None)
    for same in (
        copy.copy(NoResult),
        copy.deepcopy(NoResult),
        NoResult.copy(),
        pickle.loads(pickle.dumps(NoResult)),
        cloudpickle.loads(cloudpickle.dumps([NoResult]))[0],
    ):
        assert same is NoResult


# R-RES-5
def test_a_missing_template_key_is_a_key_error() -> None:
    with pytest.raises(KeyError, match=r"^'nokey'"):
        Result(location="{nokey}.txt").format(other=1)


# R-RES-6
def test_validators_are_accepted_and_ignored() -> None:
    with pytest.warns(DeprecationWarning, match=r"Shelf\(validators=...\) is ignored"):
        Shelf("a", validators=[len])
    with pytest.warns(DeprecationWarning, match="run_validators"):
        Result(1, run_validators=True)
    with pytest.raises(TypeError, match="Shelf got an unexpected keyword argument 'colour'"):
        Shelf("a", colour="red")


# R-RES-7
def test_a_subclass_needs_read_write_and_exists_only() -> None:
    stored: dict[str, bytes] = {}

    class InMemory(Result):
        def write(self, value_: Any, **kwargs: Any) -> "InMemory":
            new = self.format(**kwargs)
            new.value = value_
            stored[str(new.location)] = self.serializer.serialize(value_)
            return new

        def read(self, location: str) -> "InMemory":
            new = self.copy()
            new.location = location
            new.value = self.serializer.deserialize(stored[location])
            return new

        def exists(self, location: str, **kwargs: Any) -> bool:
            return location.format(**kwargs) in stored

    result = InMemory(location="{a}-{b}", serializer=JSONSerializer())
    written = result.write([1], a="x", b=2)
    assert (written.value, written.location) == ([1], "x-2")
    assert result.exists("x-2")
    assert result.exists("{a}-2", a="x")
    assert not result.exists("y")
    assert result.read("x-2").value == [1]


# R-RES-9
def test_a_location_is_a_template() -> None:
    date = datetime(2021, 11, 6, tzinfo=UTC)
    result = Result(location="{date:%Y-%m-%d}/{task_name}-{parameters[env]}-{map_index}")
    made = result.format(date=date, task_name="load", parameters={"env": "prod"}, map_index=None)
    assert made.location == "2021-11-06/load-prod-None"


# R-RES-10
def test_a_function_as_location_gets_all_values() -> None:
    result = Result(location=lambda **kwargs: "-".join(sorted(kwargs)))
    assert result.location is None
    assert result.format(b=1, a=2).location == "a-b"
    assert result.from_value(3).format(a=1).location == "a"
    with pytest.raises(TypeError):
        Result(location=lambda x: x).format(x=1, y=2)


# R-RES-11 as far as it concerns a Result: an argument of that name is no obstacle
def test_a_value_may_be_named_self() -> None:
    assert Result(location="{self}").format(self="me").location == "me"


def test_the_default_location_is_made_from_the_date() -> None:
    now = datetime.now(UTC)
    location = Result().format().location
    assert location is not None
    assert re.fullmatch(rf"{now.year}/{now.month}/\d+/[0-9a-f-]{{36}}\.prefect_result", location)
    assert Result().default_location != Result().default_location


def test_results_pickle() -> None:
    result = Shelf("a", value=[1], location=None, serializer=JSONSerializer())
    result.set_location(str)
    restored = pickle.loads(pickle.dumps(result))
    assert restored == result
    assert restored._formatter is str


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (float("nan"), float("nan"), False),
        (np.arange(3), np.arange(4), False),
        (np.arange(3), [0, 1, 2], True),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]}), False),
        ({"a": [np.ones(1)]}, {"a": [np.ones(1)]}, True),
        ({"a": 1}, {"b": 1}, False),
        ([1], (1,), False),
        ([1, 2], [1], False),
        (1, "1", False),
    ],
    ids=repr,
)
def test_values_of_any_kind_can_be_compared(one: Any, other: Any, same: bool) -> None:
    assert is_same(one, other) is same
    assert is_same(one, one)


def test_all_lists_the_public_names() -> None:
    assert set(result_package.__all__) == {"NoResult", "NoResultType", "Result", "ResultNotImplementedError"}
