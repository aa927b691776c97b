"""The `Result` that holds a value and says where and how it is stored; its subclasses do the storing."""

from __future__ import annotations

import copy
import uuid
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, Self, cast

from tenuto._base.templates import fill
from tenuto.engine.serializers import AutoSerializer, PickleSerializer, Serializer

__all__ = ["NoResult", "NoResultType", "Result", "ResultNotImplementedError"]

_PICKLE = PickleSerializer()  # has no state, so that all Results can share it
_IGNORED = ("validators", "run_validators")


class ResultNotImplementedError(NotImplementedError):
    """A method was called that only a subclass of `Result` can offer."""


class Result:
    """
    A value, and where it is stored.

    Args:
        value: the data.
        location: where; a template such as `"{flow_name}/{task_name}-{today}.pickle"`, or a function that
            gets the same values as keywords and returns the location.
        serializer: turns the value into bytes; pickle when None; `"auto"` chooses by the value's type.

    Methods return new objects: a Result given to a task is never changed by a run. To store values somewhere
    else, write a subclass with `read`, `write` and `exists`; `write` begins with `self.format(**kwargs)`.
    """

    # Attributes of subclasses, and the rarely used private ones, live in `__dict__`.
    __slots__ = ("__dict__", "__weakref__", "location", "serializer", "value")

    location: str | None
    serializer: Serializer
    value: Any

    _formatter: Callable[..., str] | None = None
    _written: tuple[str, int] | None = None
    """Hex SHA-256 and length of the stored bytes, where known; the journal's reference takes them."""

    def __init__(
        self,
        value: Any = None,
        location: str | Callable[..., str] | None = None,
        serializer: Serializer | Literal["auto"] | None = None,
        **kwargs: Any,
    ) -> None:
        self.value = value
        if isinstance(serializer, str):
            if serializer != "auto":
                raise ValueError(f"There is no serializer named {serializer!r}. The one name is 'auto'.")
            serializer = AutoSerializer()
        self.serializer = _PICKLE if serializer is None else serializer
        if location is None or isinstance(location, str):
            self.location = location
        else:
            self.set_location(location)
        if kwargs:
            _ignore(kwargs, type(self).__name__)

    def set_location(self, location: str | Callable[..., str] | None) -> None:
        """Store at `location` from now on: a template, a function that returns it, None for the default."""
        if callable(location):
            self._formatter = location
            self.location = None
        else:
            self._formatter = None
            self.location = None if location is None else str(location)

    @property
    def default_location(self) -> str:
        """A new location for a value without a template: `YYYY/M/D/UUID.prefect_result`, date in UTC."""
        now = datetime.now(UTC)
        return f"{now.year}/{now.month}/{now.day}/{uuid.uuid4()}.prefect_result"

    def copy(self) -> Self:
        """Return a shallow copy."""
        return copy.copy(self)

    def from_value(self, value: Any) -> Self:
        """Return a copy that holds `value` and is stored nowhere yet."""
        new = self.copy()
        new.value = value
        new.location = None
        return new

    def format(self, /, **kwargs: Any) -> Self:
        """
        Return a copy whose location is the template filled with `kwargs`.

        A function given as location is called with them; without either it is `default_location`.

        Raises:
            KeyError: if the template names a value that is not there.
            TemplateError: if the template asks for more than names, or a named value is not plain.
        """
        new = self.copy()
        if self._formatter is not None:
            new.location = self._formatter(**kwargs)
        elif self.location is not None:
            new.location = fill(self.location, kwargs, as_path=True)
        else:
            new.location = self.default_location
        return new

    def absolute_location(self, location: str) -> str:
        """Return `location` in the form that finds it without this object's settings, as states carry it."""
        return location

    def described_location(self) -> str | None:
        """Return the location as a serialised state carries it."""
        return self.location

    def described_settings(self) -> dict[str, Any]:
        """Return what a serialised state says besides the location, as plain JSON data without secrets."""
        return {}

    def exists(self, location: str, **kwargs: Any) -> bool:
        """
        Say whether something is stored at `location` (a template, when `kwargs` are given).

        Raises:
            ResultNotImplementedError: for the base class, which stores nothing.
        """
        raise _not_stored(self, "exists")

    def read(self, location: str) -> Self:
        """
        Return a copy with the value that is stored at `location`.

        Raises:
            ResultNotImplementedError: for the base class, which stores nothing.
        """
        raise _not_stored(self, "read")

    def write(self, /, value_: Any, **kwargs: Any) -> Self:
        """
        Store a value; return a copy with it and its final location, filled with `kwargs`.

        Raises:
            ResultNotImplementedError: for the base class, which stores nothing.
        """
        raise _not_stored(self, "write")

    def _attributes(self) -> dict[str, Any]:
        named = {name: value for name, value in self.__dict__.items() if not name.startswith("_")}
        return {"value": self.value, "location": self.location, "serializer": self.serializer, **named}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Result):
            return NotImplemented
        return type(self) is type(other) and is_same(self._attributes(), other._attributes())

    # Mutable, and compared by content: not to be used as a key.
    __hash__ = None  # type: ignore[assignment]  # the documented way to say so

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.value!r}>"


class NoResultType(Result):
    """The type of `NoResult`."""

    __slots__ = ()

    _only: ClassVar[NoResultType | None] = None

    def __new__(cls, value: Any = None, location: Any = None, serializer: Any = None) -> Self:
        """Return the one object of this class."""
        if cls._only is None:
            cls._only = super().__new__(cls)
        return cast("Self", cls._only)

    def __init__(self, value: Any = None, location: Any = None, serializer: Any = None) -> None:
        super().__init__()

    def __copy__(self) -> Self:
        return self

    def __reduce__(self) -> str:
        return "NoResult"

    def __repr__(self) -> str:
        return "<No result>"


NoResult = NoResultType()
"""Says that a task has no result yet, as opposed to a `Result` that holds None. Its value is None."""


def is_same(one: Any, other: Any) -> bool:
    """
    Say whether two values are equal, for values of any kind.

    Arrays and frames compare item by item: they are equal when all items are; containers, when all their
    values are. What cannot be compared counts as different.
    """
    if one is other:
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple) and type(one) is type(other):
        return len(one) == len(other) and all(map(is_same, one, other))
    try:
        equal = one == other
        if isinstance(equal, bool):
            return equal
        if hasattr(equal, "all"):
            # `all` of a frame gives a series, `all` of that a truth value.
            equal = equal.all()
            equal = equal.all() if hasattr(equal, "all") else equal
        return bool(equal)
    except Exception:  # noqa: BLE001
        # Comparison is code of the value's class: arrays of different shapes, objects of different kinds
        # raise what they like. An answer is needed all the same.
        return False


def _ignore(kwargs: dict[str, Any], class_name: str) -> None:
    unknown = [name for name in kwargs if name not in _IGNORED]
    if unknown:
        raise TypeError(f"{class_name} got an unexpected keyword argument {unknown[0]!r}")
    warnings.warn(
        f"{class_name}({', '.join(kwargs)}=...) is ignored: results have no validators. Check the value "
        "in its task.",
        DeprecationWarning,
        stacklevel=3,
    )


def _not_stored(result: Result, method: str) -> ResultNotImplementedError:
    name = type(result).__name__
    return ResultNotImplementedError(
        f"{name} has no way to store values, so that `{method}` is not implemented. Choose a subclass, "
        "such as LocalResult(dir=...) from tenuto.engine.results."
    )
