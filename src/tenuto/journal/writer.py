"""Appends events to a run's journal: one `write` an event, and never an error for the code that runs."""

from __future__ import annotations

import os
import threading
import time
import weakref
import zlib
from pathlib import Path

from tenuto.journal.event import (
    ENCODER,
    EVENT_BYTES_MAX,
    UNENCODABLE,
    Event,
    Kind,
    encode_json,
    encode_line,
    shortened,
)

__all__ = ["JournalWriter"]

_crc32 = zlib.crc32
_encode = ENCODER.encode
_time_ns = time.time_ns
_write = os.write


class JournalWriter:
    """
    The only writer of one journal file, which must not exist yet.

    After a failed write (disk full, I/O error) the record is ended: the writer takes back what was half
    written, tries to append one `incomplete` event, and drops what follows. It never raises for that; see
    `broken`.

    Args:
        path: the file to create, mode 0600, in an existing folder.
        epoch: the run's epoch, for the reader of this object only.
        durable: fsync after each event (`journal.durability = full`); otherwise only `sync` does.

    Raises:
        OSError: when the file cannot be created (at start only, where the caller decides what that means).
    """

    def __init__(self, path: Path, epoch: int = 1, *, durable: bool = False) -> None:
        self.path = path
        self.epoch = epoch
        self.broken: OSError | None = None
        self._durable = durable
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        self._fd = os.open(path, flags, 0o600)
        self._pseq = 0
        self._size = 0
        self._unsettled = False
        self._marked = False
        self._folders_synced = False
        # Re-entrant: an interrupt (Ctrl-C) may strike while the lock is held, and its handler appends, too.
        self._lock = threading.RLock()
        _writers.add(self)

    @property
    def pseq(self) -> int:
        """Number of the last event that was written."""
        return self._pseq

    @property
    def size(self) -> int:
        """Bytes of the file that hold whole events."""
        return self._size

    def append(self, event: Event) -> bool:
        """Number the event, stamp it and write it. False: the record has ended, and the event was dropped."""
        with self._lock:
            if self._unsettled:
                self._settle()
            if self.broken is not None:
                return False
            event.pseq = self._pseq + 1
            event.ts = _time_ns() // 1000
            # What `encode_line` does, without its calls: this is the hot path of every task run.
            try:
                payload = _encode(event)
            except UNENCODABLE:
                payload = encode_json(event)
            if len(payload) > EVENT_BYTES_MAX:
                payload = shortened(event)
            line = b"%08x %b\n" % (_crc32(payload), payload)
            # An interrupt may come between the write and the counters; the next call then looks at the file.
            self._unsettled = True
            try:
                written = _write(self._fd, line)
            except OSError as error:
                return self._give_up(error)
            if written != len(line):
                return self._give_up(OSError(f"only {written} of {len(line)} bytes were written"))
            self._pseq += 1
            self._size += written
            self._unsettled = False
            return self.sync() if self._durable else True

    def sync(self) -> bool:
        """Make what was written survive a power cut. False when the record has ended."""
        with self._lock:
            if self.broken is not None or self._fd < 0:
                return False
            try:
                os.fsync(self._fd)
            except OSError as error:
                return self._give_up(error)
            if not self._folders_synced:
                self._folders_synced = True
                sync_folder(self.path.parent)
                sync_folder(self.path.parent.parent)
            return True

    def mark_incomplete(self, state: str = "", message: str = "") -> bool:
        """
        Try to end a broken record with an `incomplete` event; True when one is there.

        Called once more with the run's final state: by then there may be room again.
        """
        with self._lock:
            if self.broken is None or self._fd < 0 or (self._marked and not state):
                return self._marked
            error = self.broken
            reason = error.strerror or str(error)
            event = Event(kind=Kind.INCOMPLETE, state=state, message=message, data={"reason": reason})
            event.pseq = self._pseq + 1
            event.ts = _time_ns() // 1000
            line = encode_line(event)
            try:
                # A line cut off by the full disk would hide everything behind it from readers.
                os.ftruncate(self._fd, self._size)
                written = _write(self._fd, line)
                if written != len(line):
                    os.ftruncate(self._fd, self._size)
                    return self._marked
            except OSError:
                # Still no room. Readers stop at the last whole line; `broken` tells the rest.
                return self._marked
            self._pseq += 1
            self._size += written
            self._marked = True
            return True

    def give_up(self, error: OSError) -> None:
        """End the record for a reason outside of the journal, such as a source that cannot be stored."""
        with self._lock:
            if self.broken is None:
                self._give_up(error)

    def close(self) -> None:
        """Close the file. Later events are dropped."""
        with self._lock:
            if self._fd >= 0:
                fd, self._fd = self._fd, -1
                self._unsettled = False
                self.broken = self.broken or OSError("the journal is closed")
                try:
                    os.close(fd)
                except OSError:
                    pass  # Network file systems report late write errors here; nobody is left to tell.

    def _give_up(self, error: OSError) -> bool:
        self.broken = error
        self._unsettled = False
        self.mark_incomplete()
        return False

    def _settle(self) -> None:
        """After an interrupted `append`: find out whether its line reached the file."""
        try:
            size = os.fstat(self._fd).st_size
        except OSError as error:
            self._give_up(error)
            return
        if size > self._size:
            self._pseq += 1
            self._size = size
        self._unsettled = False

    def _forget_after_fork(self) -> None:
        # The record belongs to the parent: what a child wrote to the inherited file would repeat its numbers.
        self._lock = threading.RLock()
        self.close()
        self.broken = OSError("this process is a fork of the one that records the run")


def sync_folder(path: Path) -> None:
    """Force a folder's names to the disk, where folders can be opened."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return  # Windows, or a folder that may be written but not read.
    try:
        os.fsync(fd)
    except OSError:
        pass  # Some file systems refuse this for folders; the file itself has been forced.
    finally:
        os.close(fd)


_writers: weakref.WeakSet[JournalWriter] = weakref.WeakSet()


def _forget_all() -> None:
    for writer in list(_writers):
        writer._forget_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
