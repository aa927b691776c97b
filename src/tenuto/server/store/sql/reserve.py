"""Room that is kept for the day on which the disk is full, so that runs under way can still end."""

from __future__ import annotations

import logging
import os
import shutil
import time
from pathlib import Path

__all__ = ["Reserve"]

_BYTES = 16 << 20
_FREE_BYTES_MIN = 256 << 20
_LOOK_SECONDS = 10.0

logger = logging.getLogger("tenuto.server")


class Reserve:
    """
    A file beside a database that holds nothing.

    Args:
        database: path of the database.
    """

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + ".reserve")
        self._next_look = 0.0

    def keep(self) -> None:
        """Make it where it is missing and the disk has plenty of room; looked at every ten seconds."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_SECONDS
        if self._path.exists() or shutil.disk_usage(self._path.parent).free < _FREE_BYTES_MIN:
            return
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, _BYTES)
        except OSError:
            self._path.unlink()  # The room has gone meanwhile, or this file system cannot reserve any.
        finally:
            os.close(descriptor)

    def drop(self) -> None:
        """Give the room to the database."""
        try:
            self._path.unlink()
        except FileNotFoundError:
            return
        self._next_look = time.monotonic() + _LOOK_SECONDS
        logger.critical(
            "The disk of the database is full. Its reserve of %d MB is used now: free some space.",
            _BYTES >> 20,
        )
