"""Dictionaries with attribute access; nested and flat ones."""

import copy
import json
import pickle
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto._base.collections import (
    CompoundKey,
    DotDict,
    as_nested_dict,
    dict_to_flatdict,
    flatdict_to_dict,
    flatten_seq,
    merge_dicts,
)

Nested = dict[str, Any]
nested_dicts: st.SearchStrategy[Nested] = st.recursive(
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=3),
    lambda inner: st.dictionaries(st.text(max_size=3), st.one_of(st.integers(), inner), max_size=3),
    max_leaves=8,
)


def test_items_are_attributes() -> None:
    d = DotDict({"a": 1}, b=2)
    d.c = 3
    assert (d.a, d["b"], d.c, d["c"]) == (1, 2, 3, 3)
    del d.c
    assert "c" not in d
    with pytest.raises(AttributeError, match="'c'"):
        _ = d.c
    with pytest.raises(AttributeError):
        del d.c
    with pytest.raises(KeyError):
        _ = d["c"]
    assert "a" in dir(d)


def test_attributes_do_not_hide_methods() -> None:
    d = DotDict()
    with pytest.raises(ValueError, match="items"):
        d.items = 1  # type: ignore[method-assign,assignment]  # a mistake that must not pass
    d["items"] = 1
    assert d["items"] == 1
    assert list(d.items()) == [("items", 1)]


def test_dotdict_is_a_dictionary() -> None:
    d = DotDict(a=1)
    assert d == {"a": 1}
    assert json.loads(json.dumps(d)) == {"a": 1}
    assert {**d} == {"a": 1}
    for other in (copy.copy(d), copy.deepcopy(d), pickle.loads(pickle.dumps(d)), d.copy()):
        assert type(other) is DotDict
        assert other == d
    assert repr(d) == "<DotDict: a>"
    assert repr(DotDict()) == "<DotDict: empty>"


class Pair(NamedTuple):
    left: Any
    right: Any


def test_nested_mappings_are_converted_everywhere() -> None:
    converted = as_nested_dict({"a": [{"b": 1}, ({"c": 2},)], "d": Pair({"e": 3}, 4)})
    assert converted.a[0].b == 1
    assert converted.a[1][0].c == 2
    assert converted.d.left.e == 3
    plain = converted.to_dict()
    assert type(plain) is dict
    assert type(plain["a"][0]) is dict


def test_flat_keys_are_paths() -> None:
    flat = dict_to_flatdict({"a": 1, "b": {"c": 2, "d": {}}})
    assert flat == {("a",): 1, ("b", "c"): 2, ("b", "d"): {}}
    assert all(isinstance(key, CompoundKey) for key in flat)


@given(nested_dicts)
def test_flat_and_back_is_the_same(nested: Nested) -> None:
    assert flatdict_to_dict(dict_to_flatdict(nested)) == nested


def test_nested_form_has_the_type_asked_for() -> None:
    nested = flatdict_to_dict({CompoundKey(("a", "b")): 1}, dct_class=DotDict)
    assert nested.a.b == 1


@given(nested_dicts, nested_dicts)
def test_merging_changes_neither_and_the_second_wins(first: Nested, second: Nested) -> None:
    before = copy.deepcopy(first), copy.deepcopy(second)
    merged = merge_dicts(first, second)
    assert (first, second) == before
    assert set(merged) == {*first, *second}
    for key, value in second.items():
        if isinstance(value, dict) and isinstance(first.get(key), dict):
            assert merged[key] == merge_dicts(first[key], value)
        else:
            assert merged[key] == value


def test_merging_keeps_the_type() -> None:
    merged = merge_dicts(DotDict(a=DotDict(b=1)), {"a": {"c": 2}})
    assert isinstance(merged, DotDict)
    assert (merged.a.b, merged.a.c) == (1, 2)


def test_sequences_are_flattened_but_not_texts() -> None:
    assert list(flatten_seq([1, [2, ("ab", [b"c"])], {3}])) == [1, 2, "ab", b"c", 3]
