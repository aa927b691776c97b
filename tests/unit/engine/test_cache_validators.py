"""Cache validators: when a cached result may stand for a run."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tenuto._base.digests import digest
from tenuto.engine import cache_validators
from tenuto.engine.cache_validators import (
    all_inputs,
    all_parameters,
    duration_only,
    never_use,
    partial_inputs_only,
    partial_parameters_only,
)
from tenuto.engine.state import Cached

INPUTS: dict[str, Any] = {"x": [1, 2], "frame": pd.DataFrame({"a": [1]}), "n": np.arange(3)}
PARAMETERS: dict[str, Any] = {"env": "prod", "n": 3}
ALL: dict[str, Callable[..., bool]] = {
    "duration_only": duration_only,
    "all_inputs": all_inputs,
    "all_parameters": all_parameters,
    "partial_inputs_only": partial_inputs_only(["x"]),
    "partial_parameters_only": partial_parameters_only(["n"]),
}


def cached(expires: timedelta | None = timedelta(hours=1), **inputs: Any) -> Cached:
    return Cached(
        result=1,
        hashed_inputs={name: digest(value) or "" for name, value in (INPUTS | inputs).items()},
        cached_parameters=dict(PARAMETERS),
        cached_result_expiration=None if expires is None else datetime.now(UTC) + expires,
    )


# R-CACHE-10
@pytest.mark.parametrize("name", ALL)
def test_an_expired_result_is_never_valid(name: str) -> None:
    assert ALL[name](cached(), INPUTS, PARAMETERS)
    assert ALL[name](cached(expires=None), INPUTS, PARAMETERS)
    assert not ALL[name](cached(expires=timedelta(0)), INPUTS, PARAMETERS)
    assert not ALL[name](cached(expires=-timedelta(seconds=1)), INPUTS, PARAMETERS)


# R-CACHE, table of validators
@pytest.mark.parametrize(
    ("validator", "other_x", "other_frame", "other_n", "other_env"),
    [
        (never_use, False, False, False, False),
        (duration_only, True, True, True, True),
        (all_inputs, False, False, True, True),
        (all_parameters, True, True, False, False),
        (partial_inputs_only(["x"]), False, True, True, True),
        (partial_inputs_only(), True, True, True, True),
        (partial_inputs_only("x"), False, True, True, True),
        (partial_parameters_only(["n"]), True, True, False, True),
        (partial_parameters_only(), True, True, True, True),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_each_validator_compares(
    validator: Callable[[Cached, Mapping[str, Any], Mapping[str, Any]], bool],
    other_x: bool,
    other_frame: bool,
    other_n: bool,
    other_env: bool,
) -> None:
    assert validator(cached(), INPUTS, PARAMETERS) is (validator is not never_use)
    assert validator(cached(), INPUTS | {"x": [1, 3]}, PARAMETERS) is other_x
    assert validator(cached(), INPUTS | {"frame": pd.DataFrame({"a": [2]})}, PARAMETERS) is other_frame
    assert validator(cached(), INPUTS, PARAMETERS | {"n": 4}) is other_n
    assert validator(cached(), INPUTS, PARAMETERS | {"env": "test"}) is other_env


# R-CACHE-9
def test_equal_inputs_are_the_same_whatever_their_identity() -> None:
    again = {"x": [1, 2], "frame": pd.DataFrame({"a": [1]}), "n": np.arange(3)}
    assert all_inputs(cached(), again, {})


def test_other_arguments_are_other_inputs() -> None:
    assert not all_inputs(cached(), {"x": INPUTS["x"]}, {})
    assert not all_inputs(cached(), INPUTS | {"more": 1}, {})
    assert not all_inputs(Cached(), INPUTS, {})
    assert all_inputs(Cached(), {}, {})
    assert not partial_inputs_only(["y"])(cached(), INPUTS | {"y": 1}, {})
    assert partial_inputs_only(["y"])(cached(), INPUTS, {})
    assert not partial_parameters_only(["y"])(cached(), {}, {"y": None})
    assert all_parameters(Cached(), {}, {})


def test_an_input_without_a_digest_is_never_the_same() -> None:
    def generator() -> Any:
        yield 1

    unknowable = generator()
    assert not all_inputs(cached(x=unknowable), INPUTS | {"x": unknowable}, {})


def test_validators_are_known_by_their_names() -> None:
    for name in cache_validators.__all__:
        validator = getattr(cache_validators, name)
        assert (validator() if name.startswith("partial") else validator).__name__ == name
