"""
A worker process: `WorkerPool` starts it, hands it one call after the other, and gets answers and log records.

It is started as a program of its own, never forked, and never sees the user's `__main__`. Its standard input
and output carry the messages; what tasks print is sent as messages, too, and printed by the process of the
flow. When that process ends, however it ends, the worker ends with all that it has started.
"""

from __future__ import annotations

import io
import logging
import os
import pickle
import queue
import struct
import sys
import threading
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

from tenuto import configuration
from tenuto._base.importtools import import_first
from tenuto._base.logging import ContextFilter, package_loggers
from tenuto._base.masking import known_secrets, register_forms
from tenuto._base.processes import kill_children
from tenuto.engine.transitions import Outcome
from tenuto.exceptions import TaskTimeoutSignal
from tenuto.executors.parcels import open_parcel, pack_answer, receive_part
from tenuto.executors.records import portable_record, run_of_record

__all__ = ["Setup", "main", "read_message", "write_message"]

_LENGTH = struct.Struct("<Q")


class Setup(NamedTuple):
    """The first message: what the process of the flow has set up and a worker must have, too."""

    config: dict[str, Any]
    folder: str
    levels: dict[str, int]


def write_message(stream: BinaryIO, kind: str, *content: Any) -> None:
    """Write one message. Raises OSError or ValueError when the other side is gone."""
    data = pickle.dumps((kind, *content), protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def read_message(stream: BinaryIO) -> tuple[Any, ...] | None:
    """Return the next message, None when the other side has ended, also in the middle of one."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    data = stream.read(length)
    if len(data) < length:
        return None
    message: tuple[Any, ...] = pickle.loads(data)
    return message


class _Channel:
    """The way to the process of the flow; tasks may log from several threads."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.RLock()
        self._secrets_told = 0

    def send(self, kind: str, *content: Any) -> None:
        with self._lock:
            secrets = known_secrets()
            if len(secrets) > self._secrets_told:
                self._secrets_told = len(secrets)
                write_message(self._stream, "secrets", secrets)
            write_message(self._stream, kind, *content)


class _Forwarder(logging.Handler):
    """Sends log records, with the run that they belong to."""

    def __init__(self, channel: _Channel) -> None:
        super().__init__()
        self.addFilter(ContextFilter())
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._channel.send("log", portable_record(record), run_of_record())
        except Exception:  # noqa: BLE001  # as in all handlers: told in logging's own way
            self.handleError(record)


class _Printer(io.TextIOBase):
    """Stands for `sys.stdout`: what is printed is printed by the process of the flow, line by line."""

    def __init__(self, channel: _Channel) -> None:
        self._channel = channel
        self._pending = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._pending += text
        if "\n" in self._pending:
            self.flush()
        return len(text)

    def flush(self) -> None:
        text, self._pending = self._pending, ""
        if text:
            self._channel.send("print", text)


def main() -> None:
    """Serve calls until the process of the flow closes its end."""
    incoming, outgoing = _take_over_stdio()
    channel = _Channel(outgoing)
    first = read_message(incoming)
    if first is None:
        return
    _set_up(first[1], channel)
    import_first()
    calls: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(incoming, calls), daemon=True, name="tenuto-listen").start()
    while (data := calls.get()) is not None:
        answer = _call(data)
        sys.stdout.flush()
        channel.send("answer", answer)


def _take_over_stdio() -> tuple[BinaryIO, BinaryIO]:
    """Keep both ends of the channel for ourselves: what user code does with fd 0 and 1 must not reach it."""
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)  # What other programs, started by tasks, print.
    return incoming, outgoing


def _set_up(setup: Setup, channel: _Channel) -> None:
    config = configuration.config
    config.clear()
    config.update(setup.config)
    try:
        os.chdir(setup.folder)
    except OSError:
        pass  # The folder was removed: the flow itself runs in none either.
    forwarder = _Forwarder(channel)
    for logger in package_loggers():
        logger.handlers = [forwarder]
        logger.setLevel(setup.levels.get(logger.name, logging.INFO))
    sys.stdout = _Printer(channel)


def _listen(incoming: BinaryIO, calls: queue.SimpleQueue[bytes | None]) -> None:
    while (message := read_message(incoming)) is not None:
        kind, *content = message
        if kind == "part":
            receive_part(*content)
        elif kind == "secrets":
            register_forms(*content)
        else:
            calls.put(content[0])
    # The flow's process has ended or was killed. A task that is still at work has nobody to work for.
    kill_children()
    os._exit(0)


def _call(data: bytes) -> bytes:
    function: Callable[..., Any]
    try:
        function, args, kwargs = open_parcel(data)
        value = function(*args, **kwargs)
        if isinstance(value, Outcome) and isinstance(value.error, TaskTimeoutSignal):
            kill_children()  # The programs that the task has started would go on without it.
        return b"+" + pack_answer(value)
    except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001  # carried over to who asked
        return b"-" + pack_answer(error)
