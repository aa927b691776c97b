"""What a server does about the files of its SQLite database."""

import math
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
import sqlalchemy as sa

from tenuto.server.store.sql import sqlite
from tenuto.server.store.sql.database import StoreUnavailable, Transaction
from tenuto.server.store.sql.reserve import Reserve
from tenuto.server.store.sql.sqlite import SqliteDatabase
from tests.contracts.server_stores import Clock

MB = 1 << 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteDatabase]:
    database = SqliteDatabase(path, Clock())
    database.write(lambda tx: tx.connection.execute(sa.text("CREATE TABLE row (content BLOB)")))
    yield database
    database.close()


def insert(transaction: Transaction) -> None:
    transaction.connection.execute(sa.text("INSERT INTO row VALUES (zeroblob(500000))"))


def test_log_that_readers_have_kept_long_is_emptied_once_they_are_gone(
    store: SqliteDatabase, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_WAL_BYTES_MAX", MB)
    log = path.with_name("store.db-wal")
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM row").fetchone()
        store._next_shrink = math.inf  # It would wait for the reader.
        for _ in range(5):
            store.write(insert)
        assert log.stat().st_size > MB
        reader.execute("ROLLBACK")
    store._next_shrink = 0.0

    store.write(insert)
    store.write(lambda transaction: None)  # Behind it, as the log is emptied after the answer.

    assert log.stat().st_size <= MB


def test_reserve_is_made_where_there_is_room_and_dropped_when_the_disk_is_full(
    store: SqliteDatabase, path: Path
) -> None:
    reserve = path.with_name("store.db.reserve")
    store.write(insert)
    store.write(insert)
    assert reserve.stat().st_size == 16 * MB

    def fill(transaction: Transaction) -> None:
        transaction.connection.execute(sa.text("PRAGMA max_page_count = 1"))
        insert(transaction)

    with pytest.raises(StoreUnavailable, match="full") as refused:
        store.write(fill)

    assert refused.value.code == "disk-full"
    assert not reserve.exists()


class Usage(NamedTuple):
    free: int


def test_reserve_is_not_made_where_the_disk_is_nearly_full(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(free=255 * MB))

    Reserve(path).keep()

    assert list(path.parent.iterdir()) == []
