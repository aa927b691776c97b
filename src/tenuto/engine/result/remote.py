"""Values that lie where they were made, on the worker of a cluster, until somebody asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["PromisedValue", "RemoteItem", "RemoteList", "RemoteValue", "ValuePromised", "fetched"]


class RemoteValue:
    """
    Stands for the value of a task that an executor has left on a worker. `State.result` fetches it.

    Attributes:
        length: number of items, where it can be mapped over; else None.
    """

    length: int | None = None

    def fetch(self) -> Any:
        """Return the value itself: it is brought here, and stays here."""
        raise NotImplementedError

    def __len__(self) -> int:
        if self.length is None:
            raise TypeError("The value on the worker has no length.")
        return self.length

    def __bool__(self) -> bool:
        return True  # Not by the length: what is asked is whether there is a value.

    def __getitem__(self, index: int) -> Any:
        return RemoteItem(self, index)


class RemoteItem(RemoteValue):
    """One item of a sequence that lies on a worker; it is picked out there."""

    def __init__(self, whole: RemoteValue, index: int) -> None:
        self.whole = whole
        self.index = index

    def fetch(self) -> Any:
        return self.whole.fetch()[self.index]


class RemoteList(RemoteValue):
    """The list of the results of a map; some or all of them lie on workers."""

    def __init__(self, items: Sequence[Any]) -> None:
        self.items = items
        self.length = len(items)
        self._fetched: list[Any] | None = None

    def fetch(self) -> list[Any]:
        if self._fetched is None:
            self._fetched = [fetched(item) for item in self.items]
        return self._fetched

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class ValuePromised(Exception):
    """A value is needed here and now that a call has yet to give."""


class PromisedValue(RemoteValue):
    """The value that a call will give, for one that is submitted ahead: the n-th of those it comes after."""

    def __init__(self, number: int) -> None:
        self.number = number

    def fetch(self) -> Any:
        raise ValuePromised


def fetched(value: Any) -> Any:
    """Return a value itself, from wherever it lies."""
    # By `type`: a user's value may be a proxy whose `__class__` raises.
    return value.fetch() if issubclass(type(value), RemoteValue) else value
