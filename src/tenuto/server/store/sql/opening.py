"""Opening the database that the settings name, and nobody else's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from tenuto._base.files import ensure_private_dir
from tenuto.exceptions import PrefectException
from tenuto.journal.process import this_process
from tenuto.server.clock import AnchoredClock
from tenuto.server.settings import Settings
from tenuto.server.store.sql.database import Database
from tenuto.server.store.sql.postgresql import PostgresqlDatabase
from tenuto.server.store.sql.schema import upgrade
from tenuto.server.store.sql.sqlite import SqliteDatabase

__all__ = ["DatabaseInUse", "DatabaseOnNetwork", "open_database"]

_NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "9p", "fuse", "afs", "glusterfs", "ceph", "lustre")


class DatabaseInUse(PrefectException, RuntimeError):
    """Another server has the file."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(
            f"Another server uses the database {path}{holder}. Stop it, or give this one a file of its own: "
            "--db PATH. Several servers share a PostgreSQL database: --db postgresql://…"
        )


class DatabaseOnNetwork(PrefectException, RuntimeError):
    """The file lies on a file system that SQLite cannot share memory on."""

    def __init__(self, path: Path, kind: str) -> None:
        super().__init__(
            f"The database {path} lies on a network file system ({kind}), where SQLite loses data. Put it on "
            "a local disk: --db PATH, or use PostgreSQL: --db postgresql://…"
        )


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """
    Give the database of the settings, with this program's schema; close it afterwards.

    Raises:
        DatabaseInUse, DatabaseOnNetwork, SchemaTooNew, StoreUnavailable.
    """
    with ExitStack() as stack:
        database: PostgresqlDatabase | SqliteDatabase
        if settings.is_postgresql:
            database = PostgresqlDatabase(settings.database, durability=settings.durability)
        else:
            path = settings.sqlite_path.absolute()
            if not path.parent.exists():
                ensure_private_dir(path.parent)
            _refuse_network(path)
            stack.enter_context(_only_server(path))
            clock = AnchoredClock()
            database = SqliteDatabase(path, clock, settings.durability, clock.wall_ahead)
        stack.callback(database.close)
        upgrade(database.engine)
        yield database


@contextmanager
def _only_server(path: Path) -> Iterator[None]:
    """Hold the lock of a database file; it is gone with this process, however that ends."""
    import fcntl

    lock = path.with_name(path.name + ".lock")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatabaseInUse(path, _holder(lock)) from None
        me = this_process()
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": me.pid, "host": me.host}).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _holder(lock: Path) -> str:
    try:
        known = json.loads(lock.read_text())
        return f" (pid {known['pid']} on {known['host']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # It holds the lock and has not yet said who it is.


def _refuse_network(path: Path) -> None:
    folder = path.parent.resolve()
    mounts = [part for part in psutil.disk_partitions(all=True) if folder.is_relative_to(part.mountpoint)]
    if not mounts:
        return
    kind = max(mounts, key=lambda part: len(part.mountpoint)).fstype
    if kind.startswith(_NETWORK_FILE_SYSTEMS):
        raise DatabaseOnNetwork(path, kind)
