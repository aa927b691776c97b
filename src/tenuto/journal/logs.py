"""A run's log records as JSON lines with a dense number, in a file beside its journal."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tenuto._base.context import context
from tenuto._base.masking import mask
from tenuto._base.texts import clean_text

__all__ = ["LogLine", "RunLogHandler", "decode_log_line", "read_logs"]

FILE_BYTES_MAX = 256 << 20
LINE_BYTES_MAX = 1 << 20
_CUT_MARK = " … cut"


class LogLine(msgspec.Struct, omit_defaults=True, gc=False):
    """One record, or (with `dropped`) the count of records that are missing here and why."""

    lseq: int
    """1, 2, 3 … in this run and epoch."""
    ts: int = 0
    """Microseconds since 1970 UTC."""
    level: int = 0
    """As in `logging`: 10, 20, 30 …"""
    logger: str = ""
    """Name of the logger."""
    message: str = ""
    """Formatted message, a traceback after a newline; secrets masked."""
    slug: str = ""
    """The task whose run wrote it."""
    index: int = -1
    """Map index; -1 = none."""
    dropped: int = 0
    """Number of records that were not written."""
    reason: str = ""
    """Why they were not."""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(LogLine)
_traceback_formatter = logging.Formatter()


class RunLogHandler(logging.Handler):
    """
    Writes the records of one run, and of no other, to a new file (0600); each with one `write`.

    Which run a record belongs to is asked from the context of the thread that logs. When the file is full
    (256 MB) or the disk refuses, records are counted, and a marker with their number follows at the first
    chance, at the latest in `close`.

    Raises:
        OSError: when the file cannot be created.
    """

    def __init__(
        self, path: Path, flow_run_id: str, level: int = logging.INFO, *, bytes_max: int = FILE_BYTES_MAX
    ) -> None:
        super().__init__(level)
        self.flow_run_id = flow_run_id
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        self._fd = os.open(path, flags, 0o600)
        self._bytes_max = bytes_max
        self._lseq = 0
        self._size = 0
        self._dropped = 0
        self._reason = ""
        _handlers.add(self)

    def createLock(self) -> None:
        """Make a lock that lets a signal's handler log while the same thread is in here."""
        self.lock = threading.RLock()

    def handle(self, record: logging.LogRecord) -> bool:
        """Write a record of this run; leave all others alone."""
        if context.current().get("flow_run_id") != self.flow_run_id:
            return False
        with self.lock or threading.RLock():
            self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line. Never raises: a log that cannot be written must not stop the task that logs."""
        if self._fd < 0:
            return
        try:
            line = self._line(record)
        except Exception:  # noqa: BLE001  # see below
            # Its arguments do not fit its text, or a __str__ in it is broken: told in logging's own way.
            self.handleError(record)
            return
        if self._size >= self._bytes_max:
            self._drop(f"the log file has reached {self._bytes_max >> 20} MB")
        elif self._mark():
            self._append(line)
        else:
            self._drop(self._reason)

    def close(self) -> None:
        """Write the marker of what was dropped, if anything was, and close the file."""
        with self.lock or threading.RLock():
            if self._fd >= 0:
                self._mark()
                fd, self._fd = self._fd, -1
                try:
                    os.close(fd)
                except OSError:
                    pass  # As in the journal's writer: nobody is left to tell.
        super().close()

    def _line(self, record: logging.LogRecord) -> LogLine:
        # Another handler's formatter has mostly put the text together already.
        message = record.__dict__.get("message") or record.getMessage()
        if record.exc_info or record.exc_text or record.stack_info:
            message = f"{message}\n{_trace_of(record)}"
        message = mask(message)
        running = context.current()
        index = running.get("map_index")
        return LogLine(
            lseq=0,
            ts=int(record.created * 1_000_000),
            level=record.levelno,
            logger=record.name,
            message=message,
            slug=running.get("task_slug") or "",
            index=-1 if index is None else index,
        )

    def _append(self, line: LogLine) -> bool:
        line.lseq = self._lseq + 1
        try:
            data = _encoder.encode(line)
        except UnicodeEncodeError:
            line.message, line.slug, line.logger = map(clean_text, (line.message, line.slug, line.logger))
            data = _encoder.encode(line)
        if len(data) > LINE_BYTES_MAX:
            data = _cut(line, len(data))
        data += b"\n"
        try:
            written = os.write(self._fd, data)
            if written != len(data):
                raise OSError("no room for a whole line")
        except OSError as error:
            self._take_back()
            self._drop(error.strerror or str(error))
            return False
        self._lseq += 1
        self._size += written
        return True

    def _take_back(self) -> None:
        """Remove a line that was cut off: readers would stop at it."""
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            pass  # The disk is broken; what readers can believe ends here.

    def _drop(self, reason: str) -> None:
        self._dropped += 1
        self._reason = reason

    def _mark(self) -> bool:
        """Write what was dropped, if anything was. False when that is not possible either."""
        if not self._dropped:
            return True
        count, self._dropped = self._dropped, 0
        if self._append(LogLine(lseq=0, ts=time.time_ns() // 1000, dropped=count, reason=self._reason)):
            return True
        self._dropped = count  # The marker itself is no record: a failed try does not count.
        return False

    def _forget_after_fork(self) -> None:
        # The file is the parent's; a child's lines would repeat its numbers.
        self.lock = threading.RLock()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _cut(line: LogLine, size: int) -> bytes:
    """Return a record that was too long, its message cut; some characters take six bytes, others one."""
    message = line.message
    while True:
        message = message[: len(message) * (LINE_BYTES_MAX - 4096) // size]
        line.message = message + _CUT_MARK
        data = _encoder.encode(line)
        if len(data) <= LINE_BYTES_MAX:
            return data
        size = len(data)


def _trace_of(record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info:
        # Not cached in record.exc_text: other handlers may format it in their own way.
        parts.append(record.exc_text or _traceback_formatter.formatException(record.exc_info))
    elif record.exc_text:
        parts.append(record.exc_text)
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(parts)


def read_logs(path: Path) -> Iterator[LogLine]:
    """Return the lines of a log file in order, up to the first that is short or damaged."""
    try:
        file = open(path, "rb")  # noqa: SIM115  # closed by the with below; only opening may fail quietly
    except OSError:
        return
    with file:
        for data in file:
            line = decode_log_line(data)
            if line is None:
                return
            yield line


def decode_log_line(data: bytes) -> LogLine | None:
    """Return the record of a line; None unless it is whole, newline included, and a record."""
    if not data.endswith(b"\n"):
        return None
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


_handlers: weakref.WeakSet[RunLogHandler] = weakref.WeakSet()


def _forget_all() -> None:
    for handler in list(_handlers):
        handler._forget_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
