"""Files of numbered lines, read on as they grow: a journal's events, a log's records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from tenuto.journal.event import Event, decode_line
from tenuto.journal.logs import LogLine, decode_log_line

__all__ = ["Entry", "Tail", "event_tail", "log_tail"]

T = TypeVar("T")

_READ_BYTES = 1 << 20


class Entry(NamedTuple, Generic[T]):
    """A line: its number, what it says, and its JSON exactly as it stands in the file."""

    number: int
    content: T
    payload: bytes


class Tail(Generic[T]):
    """
    Gives the lines of a file that may still be written to, each once, in order and without gaps.

    Args:
        path: of the file, which need not exist yet.
        decode: returns what a line says, None for one that is not to be believed.
    """

    def __init__(self, path: Path, decode: Callable[[bytes], Entry[T] | None]) -> None:
        self.path = path
        self.is_damaged = False
        """Whether a whole line was found that is wrong: what follows it is not believed."""
        self._decode = decode
        self._begin()

    def _begin(self) -> None:
        self.is_damaged = False
        self.number = 0
        """Number of the last line that was given."""
        self.offset = 0
        """Where the next one begins."""
        self._read_bytes = 0
        self._lines: list[bytes] = []

    def take(self, count_max: int, bytes_max: int) -> list[Entry[T]]:
        """Return the next lines, as many as both limits allow, and at least one if there is one."""
        taken: list[Entry[T]] = []
        size = 0
        while len(taken) < count_max and not self.is_damaged and (self._lines or self._read_on()):
            line = self._lines[-1]
            entry = self._decode(line)
            if entry is None or entry.number != self.number + 1:
                self.is_damaged = True
                break
            size += len(entry.payload)
            if taken and size > bytes_max:
                break
            self._lines.pop()
            self.number = entry.number
            self.offset += len(line)
            taken.append(entry)
        return taken

    def __iter__(self) -> Iterator[Entry[T]]:
        """Yield the lines that are there and were not given yet."""
        while entries := self.take(1000, _READ_BYTES):
            yield from entries

    def go_to(self, number: int) -> None:
        """Go on behind the line of this number, or at the end where there is none."""
        if number < self.number:
            self._begin()
        while self.number < number and self.take(min(1000, number - self.number), _READ_BYTES):
            pass

    @property
    def has_line(self) -> bool:
        """Whether a further line was read already."""
        return bool(self._lines)

    def refresh(self) -> None:
        """Forget what was read beyond the last line that was given: the file was changed there."""
        self.is_damaged = False
        self._lines = []
        self._read_bytes = self.offset

    def _read_on(self) -> bool:
        """Read until there is at least one line more; say whether there is."""
        parts: list[bytes] = []
        try:
            with open(self.path, "rb") as file:
                # A line without an end is read again later: its writer may finish it, or take it back.
                file.seek(self._read_bytes)
                while (data := file.read(_READ_BYTES)) and b"\n" not in data:
                    parts.append(data)
        except OSError:
            return False
        whole, newline, _ = b"".join([*parts, data]).rpartition(b"\n")
        self._lines = (whole + newline).splitlines(keepends=True)[::-1] if newline else []
        self._read_bytes += len(whole) + len(newline)
        return bool(self._lines)


def event_tail(path: Path) -> Tail[Event]:
    """Return the tail of a journal."""
    return Tail(path, _event)


def log_tail(path: Path) -> Tail[LogLine]:
    """Return the tail of a run's log."""
    return Tail(path, _log_line)


def _event(line: bytes) -> Entry[Event] | None:
    event = decode_line(line)
    return None if event is None else Entry(event.pseq, event, line[9:-1])


def _log_line(line: bytes) -> Entry[LogLine] | None:
    record = decode_log_line(line)
    return None if record is None else Entry(record.lseq, record, line[:-1])
