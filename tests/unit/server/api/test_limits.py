"""How much anybody may ask for."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.server.api.limits import DEPTH_MAX, Rate, check_depth, json_depth
from tenuto.server.api.problems import Problem

VALUES = st.recursive(
    st.none() | st.text(st.sampled_from('[]{}"\\a,:')) | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.sampled_from('[{"\\')), inner, max_size=3)
    ),
)


class Seconds:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_so_many_at_once_and_then_so_many_a_second() -> None:
    # S-22
    clock = Seconds()
    rate = Rate(per_second=100, burst=200, clock=clock)
    assert [rate.wait("a") > 0 for _ in range(201)] == [False] * 200 + [True]
    assert rate.wait("b") == 0
    clock.now += 1
    assert [rate.wait("a") > 0 for _ in range(101)] == [False] * 100 + [True]
    clock.now += 1_000
    assert [rate.wait("a") > 0 for _ in range(201)] == [False] * 200 + [True]


def test_who_asks_too_often_is_told_when_to_come_back() -> None:
    rate = Rate(per_second=5 / 60, burst=5, clock=Seconds())
    for _ in range(5):
        rate.check("a")
    with pytest.raises(Problem) as refused:
        rate.check("a")
    assert refused.value.status == 429
    assert refused.value.headers == {"Retry-After": "12"}


def depth_of(value: Any) -> int:
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 0


@given(VALUES)
def test_the_depth_of_json_is_told_without_reading_it(value: Any) -> None:
    assert json_depth(json.dumps(value).encode()) == depth_of(value)


@given(st.binary() | st.text(st.sampled_from('[]{}"\\')).map(str.encode))
def test_whatever_is_no_json_has_some_depth(body: bytes) -> None:
    assert json_depth(body) >= 0


def test_what_is_too_deep_is_refused() -> None:
    # S-22
    check_depth(b"[" * DEPTH_MAX + b"]" * DEPTH_MAX)
    for body in (b"[" * 65 + b"]" * 65, b"[" * 1_000_000, b'{"a":' * 100):
        with pytest.raises(Problem, match="64"):
            check_depth(body)
