"""What every Result that can write promises, whatever it writes to."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenuto.engine.result import Result
from tenuto.engine.result.base import is_same
from tenuto.engine.results import LocalResult, PrefectResult, S3Result, URLResult
from tenuto.engine.serializers import (
    AutoSerializer,
    CompressedSerializer,
    DateTimeSerializer,
    JSONSerializer,
    PandasSerializer,
    PickleSerializer,
    Serializer,
)
from tenuto.engine.state import State, Success

Make = Callable[..., Result]

PLAIN = [5, 0, False, "text", "", [1, [2]], {"a": {"b": None}}, 1.5, "ünï\n"]
FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})


class Dictionary(Result):
    """The smallest Result of a user's own: the contract holds for it too."""

    shelf: dict[str, bytes]

    def __init__(self, shelf: dict[str, bytes], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shelf = shelf

    def write(self, value_: Any, **kwargs: Any) -> "Dictionary":
        new = self.format(**kwargs)
        new.value = value_
        self.shelf[str(new.location)] = self.serializer.serialize(value_)
        return new

    def read(self, location: str) -> "Dictionary":
        new = self.copy()
        new.location = location
        new.value = self.serializer.deserialize(self.shelf[location])
        return new

    def exists(self, location: str, **kwargs: Any) -> bool:
        return (location.format(**kwargs) if kwargs else location) in self.shelf


@pytest.fixture(params=["local", "local in home", "prefect", "dictionary", "s3", "url"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Return a function that makes the Result under test with given keywords."""
    shelf: dict[str, bytes] = {}
    if request.param in ("s3", "url"):
        request.getfixturevalue("s3_environment")

    def made(**kwargs: Any) -> Result:
        if request.param == "local":
            return LocalResult(dir=tmp_path / "results", **kwargs)
        if request.param == "local in home":
            return LocalResult(**kwargs)
        if request.param == "prefect":
            return PrefectResult(**kwargs)
        if request.param == "s3":
            return S3Result("results", **kwargs)
        if request.param == "url":
            return URLResult("s3://results/some/prefix", **kwargs)
        return Dictionary(shelf, **kwargs)

    return made


def templates(make: Make) -> bool:
    """Say whether locations are templates: those of a PrefectResult are values."""
    return not isinstance(make(), PrefectResult)


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_what_is_written_is_read_back(make: Make, value: Any) -> None:
    written = make().write(value)
    assert (written.value, type(written)) == (value, type(make()))
    assert written.location is not None
    read = make().read(written.location)
    assert is_same(read.value, value)
    assert read.location == written.location
    assert make().exists(written.location)


# R-RES-2
def test_writing_and_reading_leave_the_result_as_it_was(make: Make) -> None:
    result = make(location="{x}.data") if templates(make) else make()
    before = result.copy()
    written = result.write([1], x=1)
    assert written.location is not None
    result.read(written.location)
    result.exists(written.location)
    assert result == before
    assert result.value is None


# R-RES-9, R-CKPT-4
def test_the_location_is_filled_with_the_given_values(make: Make) -> None:
    if not templates(make):
        assert make(location="{x}").write(5, x="a").location == "5"
        return
    result = make(location="{date:%Y-%m-%d}/{x}-{parameters[env]}")
    written = result.write(1, date=datetime(2021, 1, 2, tzinfo=UTC), x="a", parameters={"env": "b"})
    assert written.location is not None
    assert written.location.endswith("2021-01-02/a-b")
    assert result.exists(written.location)


# R-RES-10
def test_a_function_names_the_location(make: Make) -> None:
    if not templates(make):
        return
    written = make(location=lambda x, **kwargs: f"made/{x}").write(1, x="a", y=2)
    assert written.location is not None
    assert written.location.endswith("made/a")


# R-RES-5
def test_a_missing_value_is_a_key_error_and_nothing_is_written(make: Make) -> None:
    if not templates(make):
        return
    with pytest.raises(KeyError):
        make(location="{nokey}").write(1, x=2)


# R-CKPT-6
def test_writing_again_replaces_what_was_there(make: Make) -> None:
    result = make(location="same") if templates(make) else make()
    first = result.write(1)
    second = result.write(2)
    assert second.location is not None
    assert make().read(second.location).value == 2
    assert (first.location == second.location) == templates(make)


def test_default_locations_differ(make: Make) -> None:
    locations = {make().write(value).location for value in range(5)}
    assert len(locations) == 5


def test_what_was_not_written_does_not_exist(make: Make) -> None:
    assert not make().exists("{nothing")
    with pytest.raises((OSError, ValueError, KeyError)):
        make().read("{nothing")


@pytest.mark.parametrize(
    ("serializer", "value"),
    [
        (JSONSerializer(), {"a": [1, None]}),
        (AutoSerializer(), FRAME),
        (AutoSerializer(), {"a": [1, None]}),
        (DateTimeSerializer(), datetime(2020, 1, 1, tzinfo=UTC)),
        (PickleSerializer(), {"frame": FRAME, "array": np.arange(3)}),
        (PandasSerializer("parquet"), FRAME),
        (PandasSerializer("csv", serialize_kwargs={"index": False}), FRAME),
        (CompressedSerializer(PickleSerializer(), format="gzip"), FRAME),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_serializer_serves(make: Make, serializer: Serializer, value: Any) -> None:
    try:
        result = make(serializer=serializer)
    except TypeError:
        assert not templates(make)  # a value as location must be text
        return
    written = result.write(value)
    assert written.location is not None
    assert is_same(result.read(written.location).value, value)


# R-CKPT-5
def test_a_value_that_cannot_be_serialised_raises_and_leaves_nothing(make: Make, tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        make(serializer=JSONSerializer()).write(object())
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


# R-CLOUD-1: results travel to other processes
def test_a_result_works_after_pickling(make: Make) -> None:
    result = make(value=[1], location="a-{x}") if templates(make) else make(value=[1])
    restored = cloudpickle.loads(cloudpickle.dumps(result))
    assert restored == result
    assert restored.write(2, x=1).value == 2


# R-STATE-12
def test_a_state_finds_its_value_again(make: Make) -> None:
    written = make().write([1, 2])
    state = Success(result=make(location=written.location))
    assert state.result is None
    assert state.load_result().result == [1, 2]
    if not isinstance(written, Dictionary):  # which no other process could reach
        assert State.deserialize(Success(result=written).serialize()).load_result().result == [1, 2]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_any_plain_value_round_trips(make: Make, value: Any) -> None:
    written = make().write(value)
    assert written.location is not None
    assert make().read(written.location).value == value
