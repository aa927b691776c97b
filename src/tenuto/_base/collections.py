"""Dictionaries with attribute access, and the few functions on nested dictionaries that users know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, cast

__all__ = [
    "CompoundKey",
    "DotDict",
    "as_nested_dict",
    "dict_to_flatdict",
    "flatdict_to_dict",
    "flatten_seq",
    "merge_dicts",
]

D = TypeVar("D", bound="dict[Any, Any]")


class DotDict(dict[str, Any]):
    """
    A dictionary whose items are also attributes: `d.x` is `d["x"]`.

    Nested dictionaries stay what they are; `as_nested_dict` converts them.

    Raises:
        AttributeError: for an attribute that is not an item.
        ValueError: on assigning an attribute that would hide a dictionary method (use `d["items"]`).
    """

    def __init__(
        self, init_dict: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None, **kwargs: Any
    ) -> None:
        super().__init__()
        if init_dict:
            self.update(init_dict)
        self.update(kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(type(self), name):
            raise ValueError(f'Invalid key: "{name}" is the name of a dictionary method.')
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}") from None

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *(key for key in self if isinstance(key, str))]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {', '.join(sorted(map(str, self))) or 'empty'}>"

    def copy(self) -> DotDict:
        """Return a shallow copy of the same type."""
        return type(self)(self)

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested dictionaries with the same values."""
        return cast(dict[str, Any], as_nested_dict(self, dict))


class CompoundKey(tuple[Any, ...]):
    """The path of a value in nested dictionaries: the key type of `dict_to_flatdict`."""

    __slots__ = ()


def as_nested_dict(obj: Any, dct_class: type[Any] = DotDict) -> Any:
    """Return `obj` with every mapping inside it, in lists, tuples and sets too, as a `dct_class`."""
    if isinstance(obj, Mapping):
        return dct_class({key: as_nested_dict(value, dct_class) for key, value in obj.items()})
    if isinstance(obj, tuple) and hasattr(obj, "_fields"):
        return type(obj)(*(as_nested_dict(item, dct_class) for item in obj))
    if isinstance(obj, list | tuple | set):
        return type(obj)(as_nested_dict(item, dct_class) for item in obj)
    return obj


def dict_to_flatdict(dct: Mapping[Any, Any], parent: CompoundKey | None = None) -> dict[CompoundKey, Any]:
    """Return one level: path -> value. An empty nested dictionary is kept as a value."""
    flat: dict[CompoundKey, Any] = {}
    for key, value in dct.items():
        path = CompoundKey((*(parent or ()), key))
        if isinstance(value, Mapping) and value:
            flat.update(dict_to_flatdict(value, path))
        else:
            flat[path] = value
    return flat


def flatdict_to_dict(dct: Mapping[CompoundKey, Any], dct_class: type[D] | None = None) -> D:
    """Return the nested form of `dict_to_flatdict`'s answer, made of `dct_class` (default `dict`)."""
    make = cast(type[D], dct_class or dict)
    nested = make()
    for path, value in dct.items():
        level: Any = nested
        for part in path[:-1]:
            if not isinstance(level.get(part), Mapping):
                level[part] = make()
            level = level[part]
        level[path[-1]] = value
    return nested


def merge_dicts(d1: Mapping[Any, Any], d2: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return a new dictionary of `d1`'s type in which `d2`'s values win, nested mappings merged."""
    merged: dict[Any, Any] = cast(Any, type(d1))(d1)
    for key, value in d2.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[key] = merge_dicts(old, value)
        else:
            merged[key] = value
    return merged


def flatten_seq(seq: Iterable[Any]) -> Iterator[Any]:
    """Yield the items of nested iterables in order; texts and bytes count as items."""
    for item in seq:
        if isinstance(item, Iterable) and not isinstance(item, str | bytes):
            yield from flatten_seq(item)
        else:
            yield item
