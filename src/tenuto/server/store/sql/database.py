"""
Transactions: what the rest of the store runs in.

A piece of work is a function of a `Transaction`. It may be run more than once, and never sees what another
did meanwhile; what it returns is handed on after the commit, so nothing is acknowledged that is not stored.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import sqlalchemy as sa

from tenuto.exceptions import PrefectException

__all__ = ["BadValue", "Clock", "Database", "StoreUnavailable", "Transaction", "Work"]

T = TypeVar("T")
Clock = Callable[[], datetime]
"""Returns the time, aware and in UTC: the one by which due times and leases are judged."""


class StoreUnavailable(PrefectException, RuntimeError):
    """
    The database does not take or give anything at the moment; nothing of the request was stored.

    Attributes:
        code: `disk-full`, `locked` or `unreachable`, for programs.
    """

    def __init__(self, code: str, what: str) -> None:
        self.code = code
        super().__init__(what)


class BadValue(PrefectException, ValueError):
    """The database has no room for a value such as the one that was given; nothing was stored."""

    def __init__(self) -> None:
        super().__init__(
            "The request has a value that cannot be stored or looked for, such as the character 0 or a "
            "number beyond 64 bits."
        )


@dataclass(frozen=True, slots=True)
class Transaction:
    """
    One transaction.

    Attributes:
        connection: where its statements go.
        now: the time that holds for all of it: the one by which due times and leases are judged.
        wall_ahead: by how much the clock on the wall, which schedules follow, is ahead of it.
    """

    connection: sa.Connection
    now: datetime
    wall_ahead: timedelta = timedelta(0)

    @property
    def wall(self) -> datetime:
        """The time that people see."""
        return self.now + self.wall_ahead

    @property
    def is_postgresql(self) -> bool:
        return self.connection.dialect.name == "postgresql"


Work = Callable[[Transaction], T]


class Database(ABC):
    """
    A database that work is done in.

    Attributes:
        on_commit: called after each commit, by whatever thread; must return at once.
    """

    on_commit: Callable[[], None] = staticmethod(lambda: None)

    @abstractmethod
    def write(self, work: Work[T]) -> T:
        """
        Do work in a transaction, and return what it gave once that is committed.

        Raises:
            StoreUnavailable: when it could not be done, or nobody knows whether it was: do it again.
            Exception: what the work raised; then nothing of it is stored.
        """

    @abstractmethod
    def read(self, work: Work[T]) -> T:
        """Do work that only reads, beside those that write."""

    @property
    def wal_bytes(self) -> int:
        """The size of a write-ahead log in a file of its own; 0 without one."""
        return 0

    @abstractmethod
    def close(self) -> None:
        """Finish what was begun, and let go of the database."""
