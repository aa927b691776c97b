"""Stdout that becomes log records, for one thread or asyncio task at a time."""

import io
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO, cast

__all__ = ["RedirectToLog", "real_stdout", "redirect_stdout_to"]


class RedirectToLog:
    """
    A writable text stream whose lines become INFO records.

    Text is collected until its line ends; `close` logs the rest. Blank lines are dropped.

    Args:
        logger: gets the records; default is the package's.
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self.logger = logger if logger is not None else logging.getLogger("tenuto")
        self._rest = ""

    def write(self, text: str) -> int:
        """Take `text` and return its length; raise TypeError if it is not a str, as stdout does."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if "\n" in text:
            *lines, self._rest = (self._rest + text).split("\n")
            for line in lines:
                self._log(line)
        else:
            self._rest += text
        return len(text)

    def flush(self) -> None:
        """Do nothing: an unfinished line waits for its end (`print(end="", flush=True)` is one line too)."""

    def close(self) -> None:
        """Log what is left of an unfinished line."""
        rest, self._rest = self._rest, ""
        self._log(rest)

    def _log(self, line: str) -> None:
        if line.strip():
            # Handlers that print must reach the real stdout, or one line would log itself for ever.
            token = _target.set(None)
            try:
                self.logger.info("%s", line.rstrip("\r"))
            finally:
                _target.reset(token)


_target: ContextVar[RedirectToLog | None] = ContextVar("tenuto.stdout", default=None)


@contextmanager
def redirect_stdout_to(logger: logging.Logger) -> Iterator[RedirectToLog]:
    """
    Log what is printed inside the block, by this thread or asyncio task only.

    Other threads print as ever, and so does a block inside this one that replaces `sys.stdout` itself.
    """
    target = RedirectToLog(logger)
    _Router.install()
    token = _target.set(target)
    try:
        yield target
    finally:
        _target.reset(token)
        _Router.remove()
        target.close()


class _Router:
    """Stands in for `sys.stdout` while somebody's output is logged; passes on everybody else's."""

    _lock = threading.Lock()
    _users = 0

    def __init__(self, original: TextIO) -> None:
        self.original = original

    @classmethod
    def install(cls) -> None:
        with cls._lock:
            cls._users += 1
            if not isinstance(sys.stdout, cls):
                sys.stdout = cast(TextIO, cls(sys.stdout))

    @classmethod
    def remove(cls) -> None:
        with cls._lock:
            cls._users -= 1
            if cls._users == 0:
                sys.stdout = real_stdout()

    def write(self, text: str) -> int:
        target = _target.get()
        return self.original.write(text) if target is None else target.write(text)

    def flush(self) -> None:
        if _target.get() is None:
            self.original.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)


class _NoStdout(io.TextIOBase):
    """What stands for stdout in programs without one (`pythonw`): takes everything, keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)


def real_stdout() -> TextIO:
    """Return `sys.stdout` without the routers around it."""
    stream: Any = sys.stdout
    while isinstance(stream, _Router):
        stream = stream.original
    return cast(TextIO, stream if stream is not None else _NoStdout())
