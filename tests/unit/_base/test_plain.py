import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given

from tenuto._base.plain import ordered_json, plain_json
from tests.unit.journal.strategies import plain, same


@given(plain)
def test_a_plain_value_comes_back_the_same(value: Any) -> None:
    data = plain_json(value, 1 << 20)

    assert data is not None
    assert same(msgspec.json.decode(data), value)
    assert same(json.loads(data), value)


@given(plain)
def test_the_order_of_keys_counts_only_in_the_ordered_form(value: Any) -> None:
    def turned(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: turned(item[key]) for key in reversed(item)}
        return [turned(one) for one in item] if isinstance(item, list) else item

    assert plain_json(value, 1 << 20) == plain_json(turned(value), 1 << 20)
    ordered = ordered_json(value, 1 << 20)
    assert ordered is not None
    assert json.dumps(json.loads(ordered)) == json.dumps(value)


class Text(str):
    pass


class Number(int):
    pass


@pytest.mark.parametrize(
    "value",
    [
        (1,),
        {1: "a"},
        {("a",): 1},
        {Text("a"): 1},
        Text("a"),
        Number(1),
        math.nan,
        [math.inf],
        {"a": -math.inf},
        b"a",
        {1, 2},
        object(),
        "\ud800",
        {"\ud800": 1},
        [{"a": [{"b": (1,)}]}],
        1 << 2000,
        [1 << 2000],
        range(3),
        1j,
    ],
)
def test_what_would_not_come_back_the_same_is_not_plain(value: object) -> None:
    assert plain_json(value, 1 << 20) is None


def test_the_limit_is_one_of_bytes() -> None:
    assert plain_json("aaaa", 6) == b'"aaaa"'
    assert plain_json("aaaa", 5) is None
    assert plain_json("ä", 3) is None
    assert plain_json([1, 2], 4) is None


def test_deep_and_circular_values_are_not_plain() -> None:
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    circular: list[Any] = []
    circular.append(circular)

    assert plain_json(deep, 1 << 20) is None
    assert plain_json(circular, 1 << 20) is None


def test_a_value_that_cannot_fit_is_not_walked_through() -> None:
    twice: list[Any] = [0] * 1000
    for _ in range(40):  # 1000 * 2 ** 40 leaves, in a few hundred bytes.
        twice = [twice, twice]

    assert plain_json(twice, 4096) is None
    assert plain_json([0] * 10_000_000, 4096) is None


@pytest.mark.parametrize(
    ("value", "data"),
    [(1, b"1"), (1.0, b"1.0"), (True, b"true"), ("1", b'"1"'), (None, b"null"), ([], b"[]"), ({}, b"{}")],
)
def test_types_are_told_apart(value: object, data: bytes) -> None:
    assert plain_json(value, 100) == data
