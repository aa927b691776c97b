"""Annotations of arguments: map over a value, hand it over whole, or flatten it first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

__all__ = ["EdgeAnnotation", "flatten", "mapped", "unmapped"]


class EdgeAnnotation:
    """
    A value with a wish about the edge that will carry it. Annotations nest: `unmapped(flatten(v))`.

    Attributes:
        value: what is annotated; a task, a plain value or another annotation.
    """

    value: Any

    if TYPE_CHECKING:
        # An annotated value stands where the value itself, or an item of it, is expected.
        def __new__(cls, value: Any) -> Any: ...

    else:

        def __init__(self, value: Any) -> None:
            self.value = value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value!r})"


class mapped(EdgeAnnotation):
    """Map over this argument: each child of the task gets one item."""


class unmapped(EdgeAnnotation):
    """Hand this argument over whole to every child of a mapped task."""


class flatten(EdgeAnnotation):
    """Remove one level of nesting from this argument before it is passed or mapped over."""


class Annotated(NamedTuple):
    """A value without its annotations, and what they said; `mapped` is None where they did not say."""

    value: Any
    mapped: bool | None
    flattened: bool


def read_annotations(value: Any) -> Annotated:
    """Take the annotations off a value. The outermost of `mapped` and `unmapped` counts."""
    is_mapped: bool | None = None
    is_flattened = False
    while isinstance(value, EdgeAnnotation):
        if isinstance(value, flatten):
            is_flattened = True
        elif is_mapped is None and isinstance(value, mapped | unmapped):
            is_mapped = isinstance(value, mapped)
        value = value.value
    return Annotated(value, is_mapped, is_flattened)
