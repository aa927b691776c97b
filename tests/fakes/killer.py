"""Killing a worker process in the middle of a map, by what its children write."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["killing", "lines"]


def lines(path: Path) -> list[tuple[int, int]]:
    """Return (index, pid) of each line; the last one may still be written."""
    if not path.exists():
        return []
    found = [line.split(" ") for line in path.read_text().splitlines(keepends=True)]
    return [(int(line[0]), int(line[1])) for line in found if line[-1].endswith("\n")]


@contextmanager
def killing(path: Path, line: int) -> Iterator[Path]:
    """Kill -9 the process that writes a line of a file, the one of this number, counted from 1."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            found = lines(path)
            if len(found) >= line:
                os.kill(found[line - 1][1], signal.SIGKILL)
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield path
    finally:
        over.set()
        thread.join()
