"""PostgreSQL: a pool of connections; work that lost a race is done again (reliability 3.13)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as sa

from tenuto._base.failpoints import failpoint
from tenuto.server.store.sql.database import BadValue, Clock, Database, StoreUnavailable, Transaction, Work
from tenuto.server.store.sql.json import dump_json, load_json

__all__ = ["PostgresqlDatabase"]

T = TypeVar("T")

_POOL = 10
_TRIES = 5
_PAUSE_SECONDS = 0.05
# Serialization failure, deadlock, lock not available.
_LOST_A_RACE = {"40001", "40P01", "55P03"}
_SETTINGS = {
    "statement_timeout": "15s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "30s",
    "timezone": "UTC",
}
_KEEPALIVE = {"keepalives": 1, "keepalives_idle": 10, "keepalives_interval": 3, "keepalives_count": 3}


class PostgresqlDatabase(Database):
    """
    A database of a PostgreSQL server.

    Args:
        url: `postgresql://user:password@host:port/database`.
        clock: gives the time of each transaction; default: the database's own, which all servers share.
        durability: `full`: refuse a database that acknowledges commits before they are on its disk.

    Raises:
        StoreUnavailable: when it cannot be reached, or does not hold what `durability` promises.
    """

    def __init__(self, url: str, clock: Clock | None = None, durability: str = "full") -> None:
        self._clock = clock
        self._engine = sa.create_engine(
            sa.make_url(url).set(drivername="postgresql+psycopg"),
            pool_size=_POOL,
            max_overflow=_POOL,
            # A connection that the server has closed meanwhile is noticed by the work, which is done again.
            pool_use_lifo=True,
            isolation_level="READ COMMITTED",
            connect_args={
                "connect_timeout": 10,
                "options": " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items()),
                "tcp_user_timeout": 10_000,
                "application_name": "tenuto",
                **_KEEPALIVE,
            },
            json_serializer=dump_json,
            json_deserializer=load_json,
        )
        if durability == "full":
            self.read(_check_durability)

    @property
    def engine(self) -> sa.Engine:
        """The engine, for migrations before anything else is done."""
        return self._engine

    def write(self, work: Work[T]) -> T:
        result = self._again_where_lost(lambda: self._once(work))
        self.on_commit()
        return result

    def read(self, work: Work[T]) -> T:
        return self._again_where_lost(lambda: self._once(work))

    def close(self) -> None:
        self._engine.dispose()

    def _once(self, work: Work[T]) -> T:
        with self._engine.connect() as connection:
            with connection.begin():
                if self._clock is None:
                    now = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
                else:
                    now = self._clock()
                result = work(Transaction(connection, now))
                failpoint("store.before_commit")
            failpoint("store.after_commit")
            return result

    def _again_where_lost(self, attempt: Callable[[], T]) -> T:
        """
        Try, and try again after a lost race or a lost connection.

        A commit whose answer was lost may have happened: each write is made so that doing it again is
        harmless.
        """
        for tries in range(1, _TRIES + 1):
            try:
                return attempt()
            except sa.exc.DBAPIError as error:
                if tries == _TRIES or not _is_worth_another_try(error):
                    raise _unavailable(error) from error
                time.sleep(_PAUSE_SECONDS * 2**tries * random.random())
        raise AssertionError("The last try returns or raises.")


def _check_durability(transaction: Transaction) -> None:
    setting = transaction.connection.execute(sa.text("SHOW synchronous_commit")).scalar_one()
    if setting == "off":
        raise StoreUnavailable(
            "not-durable",
            "The database acknowledges commits before they are on its disk (synchronous_commit is off). Turn "
            "it on, or set server.durability to relaxed.",
        )


def _is_worth_another_try(error: sa.exc.DBAPIError) -> bool:
    return error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _LOST_A_RACE


def _unavailable(error: sa.exc.DBAPIError) -> Exception:
    """Return what the callers are told of an error of the database; mistakes of ours as they are."""
    if isinstance(error, sa.exc.DataError):
        return BadValue()
    state: Any = getattr(error.orig, "sqlstate", None) or ""
    if state.startswith("53"):
        return StoreUnavailable("disk-full", "The database has no room or no connection left.")
    if state in _LOST_A_RACE or state == "57014":
        return StoreUnavailable("locked", "The database is too busy. Nothing was stored, or all of it was.")
    if error.connection_invalidated or isinstance(error, sa.exc.OperationalError):
        return StoreUnavailable("unreachable", f"The database cannot be reached: {_first_line(error.orig)}")
    return error


def _first_line(error: BaseException | None) -> str:
    return str(error).strip().partition("\n")[0]
