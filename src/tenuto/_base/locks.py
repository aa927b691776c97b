"""Locks between processes."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["file_lock", "try_lock", "unlock"]


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

    def try_lock(descriptor: int) -> bool:
        """Take the lock of an open file unless somebody has it; say whether it was taken."""
        import msvcrt

        # Far behind the end: here a locked byte can be neither read nor written by others.
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def unlock(descriptor: int) -> None:
        """Let go of what `try_lock` has taken."""
        import msvcrt

        os.lseek(descriptor, 1 << 30, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:

    def _lock(descriptor: int) -> None:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def try_lock(descriptor: int) -> bool:
        """
        Take the lock of an open file unless somebody has it; say whether it was taken.

        It holds until `unlock`, or until the file is closed, here and in all processes that were forked
        meanwhile. It hinders nobody from reading or writing.
        """
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(descriptor: int) -> None:
        """Let go of what `try_lock` has taken."""
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_UN)
