"""Python's operators on tasks: each makes a task that computes the expression at run time."""

from __future__ import annotations

from typing import Any

__all__ = ["Expressions"]


class Expressions:
    """
    The operators of tasks.

    Each adds a node to the active flow and returns it, typed as the value it will stand for. `==` and `!=`
    stay Python's identity, so that tasks can be kept in sets and dictionaries; see `is_equal`.
    """

    def __add__(self, other: object) -> Any:
        return _operate("Add", self, other)

    def __radd__(self, other: object) -> Any:
        return _operate("Add", other, self)

    def __sub__(self, other: object) -> Any:
        return _operate("Sub", self, other)

    def __rsub__(self, other: object) -> Any:
        return _operate("Sub", other, self)

    def __mul__(self, other: object) -> Any:
        return _operate("Mul", self, other)

    def __rmul__(self, other: object) -> Any:
        return _operate("Mul", other, self)

    def __truediv__(self, other: object) -> Any:
        return _operate("Div", self, other)

    def __rtruediv__(self, other: object) -> Any:
        return _operate("Div", other, self)

    def __floordiv__(self, other: object) -> Any:
        return _operate("FloorDiv", self, other)

    def __rfloordiv__(self, other: object) -> Any:
        return _operate("FloorDiv", other, self)

    def __mod__(self, other: object) -> Any:
        return _operate("Mod", self, other)

    def __rmod__(self, other: object) -> Any:
        return _operate("Mod", other, self)

    def __pow__(self, other: object) -> Any:
        return _operate("Pow", self, other)

    def __rpow__(self, other: object) -> Any:
        return _operate("Pow", other, self)

    def __and__(self, other: object) -> Any:
        return _operate("And", self, other)

    def __rand__(self, other: object) -> Any:
        return _operate("And", other, self)

    def __gt__(self, other: object) -> Any:
        return _operate("GreaterThan", self, other)

    def __ge__(self, other: object) -> Any:
        return _operate("GreaterThanOrEqual", self, other)

    def __lt__(self, other: object) -> Any:
        return _operate("LessThan", self, other)

    def __le__(self, other: object) -> Any:
        return _operate("LessThanOrEqual", self, other)

    def is_equal(self, other: object) -> Any:
        """Return a task that computes `self == other`."""
        return _operate("Equal", self, other)

    def is_not_equal(self, other: object) -> Any:
        """Return a task that computes `self != other`."""
        return _operate("NotEqual", self, other)

    def not_(self) -> Any:
        """Return a task that computes `not self`."""
        return _operate("Not", self)

    def or_(self, other: object) -> Any:
        """Return a task that computes `self or other`; the sign `|` makes a dependency instead."""
        return _operate("Or", self, other)

    def __getitem__(self, key: Any) -> Any:
        from tenuto.core.operators import get_item

        return get_item(self, key)

    def __or__(self, other: Any) -> Any:
        """Make `other` run after this task, and return it."""
        return _chain(self, other)

    def __ror__(self, other: Any) -> Any:
        _chain(other, self)
        return self


def _operate(name: str, *operands: object) -> Any:
    # The operators' nodes are tasks themselves, so they can only be looked up once tasks are there.
    from tenuto.core import operators

    return getattr(operators, name)().bind(*operands)


def _chain(upstream: Any, downstream: Any) -> Any:
    from tenuto.core.operators import chain

    return chain(upstream, downstream)
