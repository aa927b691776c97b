"""Others at the file of an SQLite database: who holds its lock, and who reads for long."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

__all__ = ["foreign_readers", "hold"]


def hold(path: Path, seconds: float) -> None:
    """Hold the lock of writers for so long."""
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)
        connection.execute("ROLLBACK")


@contextmanager
def foreign_readers(path: Path, count: int, seconds_max: float = 2.0) -> Iterator[None]:
    """Have others read in transactions that stay open as long as they like, each at most so long."""
    is_over = threading.Event()

    def read(choose: random.Random) -> None:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as connection:
            while not is_over.is_set():
                connection.execute("BEGIN")
                connection.execute("SELECT count(*) FROM run_event").fetchone()
                is_over.wait(choose.uniform(0.1, seconds_max))
                connection.execute("ROLLBACK")

    threads = [threading.Thread(target=read, args=(random.Random(number),)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
