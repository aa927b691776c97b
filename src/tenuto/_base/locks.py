"""Locks between processes."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["file_lock"]


@contextmanager
def file_lock(path: Path | str) -> Iterator[None]:
    """
    Let one holder at a time into the block, of all threads and processes of this machine; the others wait.

    Args:
        path: of the lock's own file, in a folder that exists. It stays there: removing it would let two in.

    Raises:
        OSError: if the file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)  # Which also lets go of the lock, as the end of the process would.


if sys.platform == "win32":

    def _lock(descriptor: int) -> None:
        import msvcrt
        import time

        while True:
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
                return
            except OSError:
                time.sleep(0.01)  # LK_LOCK would give up after ten tries.

else:

    def _lock(descriptor: int) -> None:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)
