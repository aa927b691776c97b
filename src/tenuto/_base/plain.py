"""Canonical JSON of plain values: the form that is digested, shown, and kept inside events."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import msgspec

__all__ = ["ordered_json", "plain_json"]

DEPTH_MAX = 64
"""Deeper nesting is not plain: it would overflow the stack of some reader."""
INTEGER_BITS_MAX = 1024

_INTEGER_BOUND = 1 << INTEGER_BITS_MAX
_SCALARS = frozenset({str, int, bool, type(None), float})
_PLAIN = _SCALARS | {list, dict}
_ONLY_STR = frozenset({str})
_canonical = msgspec.json.Encoder(order="sorted")
_ordered = msgspec.json.Encoder()


def plain_json(value: object, limit: int) -> bytes | None:
    """
    Return the canonical JSON (sorted keys, shortest floats) of a plain value; None if it is not or is longer.

    Plain means that decoding the JSON gives an equal value of the same types: exactly `str`, `int`, `bool`,
    `None`, finite `float`, `list`, and `dict` with `str` keys. Subclasses, tuples and NaN are not. Costs
    little for scalars, and stops looking once the value cannot fit.

    Args:
        value: anything.
        limit: longest JSON, in bytes.
    """
    kind = type(value)
    if kind is str:
        if len(value) > limit:  # type: ignore[arg-type]  # kind is str
            return None
    elif kind is int:
        if not -_INTEGER_BOUND < value < _INTEGER_BOUND:  # type: ignore[operator]  # kind is int
            return None
    elif kind is float:
        if not math.isfinite(value):  # type: ignore[arg-type]  # kind is float
            return None
    elif kind is list:
        if value and not _is_plain(value, limit):  # type: ignore[arg-type]  # kind is list
            return None
    elif kind is dict:
        if value and not (_has_text_keys(value) and _is_plain(value.values(), limit)):  # type: ignore[arg-type, attr-defined]  # kind is dict
            return None
    elif kind is not bool and value is not None:
        return None
    return _encode(_canonical, value, limit)


def ordered_json(value: object, limit: int) -> bytes | None:
    """Return the JSON of a value that is known to be plain, keys in the value's own order."""
    return _encode(_ordered, value, limit)


def _encode(encoder: msgspec.json.Encoder, value: object, limit: int) -> bytes | None:
    try:
        data = encoder.encode(value)
    except (UnicodeEncodeError, ValueError, OverflowError):  # Lone surrogates.
        return None
    return data if len(data) <= limit else None


def _is_plain(items: Collection[Any], budget: int) -> bool:
    """
    Look at a tree level by level.

    The types of a level are found at C speed. Each item is at least one byte.
    """
    for _ in range(DEPTH_MAX):
        budget -= len(items)
        if budget < 0:
            return False
        kinds = set(map(type, items))
        if not kinds <= _PLAIN:
            return False
        if float in kinds and not all(map(math.isfinite, _of(float, items, kinds))):
            return False
        if int in kinds and not _are_short(_of(int, items, kinds)):
            return False
        nested: list[Any] = []
        if list in kinds:
            for item in _of(list, items, kinds):
                nested.extend(item)
                if len(nested) > budget:
                    return False
        if dict in kinds:
            for item in _of(dict, items, kinds):
                if item and not _has_text_keys(item):
                    return False
                nested.extend(item.values())
                if len(nested) > budget:
                    return False
        if not nested:
            return True
        items = nested
    return False


def _has_text_keys(value: dict[Any, Any]) -> bool:
    return set(map(type, value)) == _ONLY_STR


def _of(kind: type, items: Collection[Any], kinds: set[type]) -> Collection[Any]:
    return items if len(kinds) == 1 else [item for item in items if type(item) is kind]


def _are_short(numbers: Collection[int]) -> bool:
    """Python refuses to print integers of thousands of digits, and other readers give up long before."""
    return min(numbers) > -_INTEGER_BOUND and max(numbers) < _INTEGER_BOUND
