"""A disk that a test makes full, slow or broken while a program runs (`disk.c`). Linux with glibc, 64 bit."""

from __future__ import annotations

import errno
import mmap
import struct
from pathlib import Path
from typing import Self

from tests.fault.harness.libraries import compiled

__all__ = ["Disk"]

_FIELDS = ("limited", "room", "sync_delay", "sync_error", "faults")


class Disk:
    """
    The disk of a folder, for programs that are started with `env`.

    Args:
        folder: whose files are on it; it must exist.
        control: a file outside of it.
    """

    def __init__(self, folder: Path, control: Path) -> None:
        control.write_bytes(bytes(mmap.PAGESIZE))
        with control.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self.env = {
            "LD_PRELOAD": str(compiled("disk")),
            "TENUTO_TEST_FOLDER": str(folder.resolve()),
            "TENUTO_TEST_DISK": str(control),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._map.close()

    def fill(self, room: int = 0) -> None:
        """Leave room for so many more bytes."""
        self._set("room", room)
        self._set("limited", 1)

    def free(self) -> None:
        """Have room for everything again."""
        self._set("limited", 0)

    def slow_down(self, seconds: float) -> None:
        """Have each sync take so much longer."""
        self._set("sync_delay", int(seconds * 1e6))

    def fail_next_sync(self) -> None:
        """Have the next sync fail: what was written before may be on the disk, or not."""
        self._set("sync_error", errno.EIO)

    @property
    def faults(self) -> int:
        """How many writes and syncs were refused or delayed."""
        return int.from_bytes(self._map[self._at("faults")], "little", signed=True)

    def _set(self, name: str, value: int) -> None:
        self._map[self._at(name)] = struct.pack("<q", value)

    def _at(self, name: str) -> slice:
        start = _FIELDS.index(name) * 8
        return slice(start, start + 8)
