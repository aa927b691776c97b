"""Parts of flows (storage, run configs) to JSON and back: one registry of their kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["deserialize_part", "register_part"]

_kinds: dict[tuple[str, str], Callable[[Mapping[str, Any]], Any]] = {}


def register_part(family: str, kind: str, make: Callable[[Mapping[str, Any]], Any]) -> None:
    """Have descriptions of `kind` in a family, such as `storage`, read by `make`."""
    _kinds[family, kind] = make


def deserialize_part(family: str, described: Mapping[str, Any]) -> Any:
    """
    Return the object that a description with a `type` stands for; imports nothing that the data names.

    Raises:
        ValueError: if there is no `type`, or the family has no such kind.
    """
    kind = described.get("type") if isinstance(described, Mapping) else None
    make = _kinds.get((family, str(kind)))
    if make is None:
        known = ", ".join(sorted(name for group, name in _kinds if group == family))
        raise ValueError(f"There is no kind {kind!r} of {family}. Known are {known}.")
    return make(described)
