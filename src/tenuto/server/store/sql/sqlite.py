"""
SQLite: one writer thread, which commits many pieces of work at once; readers beside it (reliability 3.12).

A commit costs a sync of the disk, milliseconds; what waits meanwhile goes into the next one together.
"""

from __future__ import annotations

import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy.pool import QueuePool, StaticPool

from tenuto._base.failpoints import failpoint
from tenuto.server.store.sql.database import Clock, Database, StoreUnavailable, Transaction, Work
from tenuto.server.store.sql.json import dump_json, load_json
from tenuto.server.store.sql.reserve import Reserve

__all__ = ["SqliteDatabase"]

T = TypeVar("T")

logger = logging.getLogger("tenuto.server")

_GROUP_MAX = 200
_READERS = 8
_READERS_KEPT = 2
_READER_CACHE_KIB = 256
_READ_SECONDS_MAX = 5.0
_BUSY_SECONDS = 5
_WAL_BYTES_MAX = 64 << 20
_SHRINK_SECONDS = 5.0
_EXIT_IO_ERROR = 74  # EX_IOERR of sysexits.h


class _Job(NamedTuple):
    work: Work[Any]
    future: Future[Any]


class SqliteDatabase(Database):
    """
    A database in a file, or in memory.

    Args:
        path: of the file; None: in memory, for one thread, without a writer thread.
        clock: gives the time of each transaction.
        durability: `full`: what is acknowledged outlives a power cut; `relaxed`: the end of this process.
        wall_ahead: gives by how much the clock on the wall is ahead of that one.
    """

    def __init__(
        self,
        path: Path | None,
        clock: Clock,
        durability: str = "full",
        wall_ahead: Callable[[], timedelta] = timedelta,
    ) -> None:
        self._clock = clock
        self._wall_ahead = wall_ahead
        self._path = path
        self._synchronous = "FULL" if durability == "full" else "NORMAL"
        self._engine = self._make_engine(self._set_up_writer, StaticPool)
        self._readers = self._engine if path is None else self._make_engine(_set_up_reader, QueuePool)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._closing = threading.Lock()
        self._next_shrink = 0.0
        if path is not None:
            self._reserve = Reserve(path)
            self._thread = threading.Thread(target=self._work, daemon=True, name="tenuto-store")
            self._thread.start()

    @property
    def engine(self) -> sa.Engine:
        """The writer's engine, for migrations before anything else is done."""
        return self._engine

    def _make_engine(self, set_up: Callable[[Any], None], pool: type[sa.Pool]) -> sa.Engine:
        options: dict[str, Any] = {}
        if pool is QueuePool:
            # The one that was used last, whose pages are in its cache: most of the time there is only that.
            options = {
                "pool_size": _READERS_KEPT,
                "max_overflow": _READERS - _READERS_KEPT,
                "pool_use_lifo": True,
            }
        engine = sa.create_engine(
            "sqlite://" if self._path is None else f"sqlite:///{self._path}",
            poolclass=pool,
            connect_args={"check_same_thread": False, "timeout": _BUSY_SECONDS, "cached_statements": 512},
            json_serializer=dump_json,
            json_deserializer=load_json,
            **options,
        )
        sa.event.listen(engine, "connect", lambda connection, _: set_up(connection))
        # A transaction that reads and then writes would fail at once where another has written meanwhile,
        # whatever the time-out. So every one that may write takes the lock first.
        begin = "BEGIN" if set_up is _set_up_reader else "BEGIN IMMEDIATE"
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        return engine

    def _set_up_writer(self, connection: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy's begin, not that of the module
        for pragma in (
            "journal_mode=WAL",
            f"synchronous={self._synchronous}",
            "foreign_keys=ON",
            "wal_autocheckpoint=1000",
            f"journal_size_limit={_WAL_BYTES_MAX}",
            "trusted_schema=OFF",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    # ------------------------------------------------------------------------------------------------ writing

    def write(self, work: Work[T]) -> T:
        job = _Job(work, Future())
        if self._thread is None:
            self._commit([job])
        else:
            with self._closing:  # Behind the end of the queue nobody would ever do it.
                if self._closed:
                    raise StoreUnavailable("unreachable", "The server is about to stop.")
                self._jobs.put(job)
        result: T = job.future.result()
        return result

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            group = [job]
            while len(group) < _GROUP_MAX and not self._jobs.empty():
                following = self._jobs.get()
                if following is None:
                    self._jobs.put(None)
                    break
                group.append(following)
            self._commit(group)
            self._shrink_log()

    def _commit(self, group: list[_Job]) -> None:
        """
        Do the work of a group in one transaction; each sees what those before it did.

        So nobody is answered before the commit: a refusal, too, may rest on what another has just written.
        """
        done: list[tuple[Future[Any], Any, Exception | None]] = []
        try:
            with self._engine.connect() as connection, connection.begin() as whole:
                transaction = self._transaction(connection)
                for work, future in group:
                    step = connection.begin_nested() if len(group) > 1 else whole
                    try:
                        result = work(transaction)
                    except sa.exc.OperationalError:
                        raise  # The disk, or a lock: it may have ended the whole transaction.
                    except Exception as error:  # noqa: BLE001  # it belongs to who waits for the work
                        step.rollback()
                        done.append((future, None, error))
                    else:
                        if step is not whole:
                            step.commit()
                        done.append((future, result, None))
                failpoint("store.before_commit")
            failpoint("store.after_commit")
        except Exception as error:  # noqa: BLE001  # nothing of the group is stored; each is told
            told = _unavailable(error)
            if isinstance(told, StoreUnavailable) and told.code == "disk-full" and self._path is not None:
                self._reserve.drop()
            for _, future in group:
                future.set_exception(told)
            return
        for future, result, failed in done:
            if failed is None:
                future.set_result(result)
            else:
                future.set_exception(failed)
        self.on_commit()

    def _shrink_log(self) -> None:
        """
        Empty the write-ahead log when readers have kept it from being emptied for long.

        This waits for those that are reading, none of them longer than `_READ_SECONDS_MAX`; meanwhile work
        queues up.
        """
        self._reserve.keep()
        now = time.monotonic()
        if now < self._next_shrink or self.wal_bytes <= _WAL_BYTES_MAX:
            return
        self._next_shrink = now + _SHRINK_SECONDS
        with self._engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()

    # ------------------------------------------------------------------------------------------------ reading

    def read(self, work: Work[T]) -> T:
        try:
            with self._readers.connect() as connection, connection.begin():
                if self._readers is self._engine:
                    return work(self._transaction(connection))
                with _limited(connection):
                    return work(self._transaction(connection))
        except sa.exc.OperationalError as error:
            raise _unavailable(error) from error

    def _transaction(self, connection: sa.Connection) -> Transaction:
        return Transaction(connection, self._clock(), self._wall_ahead())

    @property
    def wal_bytes(self) -> int:
        try:
            return os.stat(f"{self._path}-wal").st_size
        except FileNotFoundError:
            return 0

    def close(self) -> None:
        if self._thread is not None:
            with self._closing:
                if not self._closed:
                    self._closed = True
                    self._jobs.put(None)
            self._thread.join()
            self._readers.dispose()
        self._engine.dispose()


def _set_up_reader(connection: Any) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA query_only=ON").close()
    # Each has a cache of its own, and the system has the file's pages in memory anyway: eight of SQLite's
    # usual size would let the server grow for an hour.
    connection.execute(f"PRAGMA cache_size=-{_READER_CACHE_KIB}").close()
    connection.execute("PRAGMA trusted_schema=OFF").close()


class _limited:
    """Ends reads that last too long: while one is open, the write-ahead log cannot shrink."""

    def __init__(self, connection: sa.Connection) -> None:
        self._driver: Any = connection.connection.driver_connection

    def __enter__(self) -> None:
        end = time.monotonic() + _READ_SECONDS_MAX
        self._driver.set_progress_handler(lambda: time.monotonic() > end, 10_000)

    def __exit__(self, *exc: object) -> None:
        self._driver.set_progress_handler(None, 0)


def _unavailable(error: Exception) -> Exception:
    """Return what the callers are told of an error of the database; other errors as they are."""
    if not isinstance(error, sa.exc.OperationalError):
        return error
    name = getattr(error.orig, "sqlite_errorname", "")
    if name.startswith("SQLITE_IOERR_FSYNC"):
        # What the disk has of the last writes is not known, and asking again would be answered by a lie: the
        # system has dropped them. The next start finds out.
        logger.critical(
            "The disk of the database has failed (%s). The server ends; start it again.", error.orig
        )
        os._exit(_EXIT_IO_ERROR)
    if name.startswith("SQLITE_FULL"):
        return StoreUnavailable("disk-full", "The disk of the database is full. Nothing was stored.")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreUnavailable("locked", "Another program holds the database. Nothing was stored.")
    if name.startswith("SQLITE_INTERRUPT"):
        return StoreUnavailable("too-long", f"The query took longer than {_READ_SECONDS_MAX:g} s.")
    return StoreUnavailable("unreachable", f"The database cannot be used: {error.orig}. Nothing was stored.")


assert sqlite3.threadsafety, "SQLite was built for single-threaded use."
