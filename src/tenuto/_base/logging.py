"""
Loggers of the package: `tenuto` and its children, one handler on stdout, records that know their run.

Two records are written per task run, so what happens for each is kept small: the text of the second is cached, and
the filter is one dictionary lookup per attribute.
"""

import io
import logging
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO, cast

from tenuto._base.context import context
from tenuto._base.masking import mask
from tenuto.configuration import config

__all__ = [
    "ContextFilter",
    "LogFormatter",
    "RedirectToLog",
    "configure_extra_loggers",
    "configure_logging",
    "create_diagnostic_logger",
    "get_logger",
    "redirect_stdout_to",
    "temporary_logger_config",
]

ROOT = "tenuto"
RUN_ATTRIBUTES = ("flow_name", "flow_run_id", "task_name", "task_slug", "task_run_id")
UNKNOWN = "-"

_HANDLER_NAME = "tenuto-stdout"


def get_logger(name: str | None = None) -> logging.Logger:
    """
    Return the package's logger, or its child `tenuto.NAME`; dots in the name make deeper children.

    Children of a mapped task (`NAME[3]`) are not kept by the logging module: a map has too many of them.
    """
    if name is None:
        return _package_logger
    full = f"{ROOT}.{name}"
    if name.endswith("]") and full not in _package_logger.manager.loggerDict:
        child = logging.Logger(full)  # noqa: LOG001  # outside the manager on purpose
        child.parent = get_logger(name.rpartition("[")[0] or None)
        return child
    return logging.getLogger(full)


def configure_logging(testing: bool = False) -> logging.Logger:
    """
    Give the package's logger its level and one handler on stdout, and return it.

    Args:
        testing: configure and return a logger of its own instead, for looking at what this does.
    """
    logger = logging.getLogger("tenuto-test-logger" if testing else ROOT)
    name = _HANDLER_NAME + ("-test" if testing else "")
    for old in [handler for handler in logger.handlers if handler.get_name() == name]:
        # After a re-import the handler of the earlier module is still there: one line, one handler.
        logger.removeHandler(old)
    handler = _StdoutHandler()
    handler.set_name(name)
    handler.setFormatter(LogFormatter(config.logging.format, config.logging.datefmt))
    handler.addFilter(ContextFilter())
    logger.addHandler(handler)
    logger.setLevel(_level())
    return logger


def configure_extra_loggers() -> None:
    """Give each logger named in `logging.extra_loggers` the package's level and handlers."""
    names = config.logging.get("extra_loggers") or []
    for name in [names] if isinstance(names, str) else names:
        extra = logging.getLogger(name)
        for handler in [old for old in extra.handlers if old.get_name() == _HANDLER_NAME]:
            extra.removeHandler(handler)
        for handler in _package_logger.handlers:
            extra.addHandler(handler)
        extra.setLevel(_package_logger.level)


def create_diagnostic_logger(name: str) -> logging.Logger:
    """Return a logger that writes to stdout in the package's format and is part of no run's record."""
    logger = logging.getLogger(name)
    logger.propagate = False
    if not any(isinstance(handler, _StdoutHandler) for handler in logger.handlers):
        handler = _StdoutHandler()
        handler.setFormatter(LogFormatter(config.logging.format, config.logging.datefmt))
        handler.addFilter(ContextFilter())
        logger.addHandler(handler)
    logger.setLevel(_level())
    return logger


@contextmanager
def temporary_logger_config(
    level: int | str | None = None, stream_fmt: str | None = None, stream_datefmt: str | None = None
) -> Iterator[None]:
    """Change level, format and date format of the package's logger inside the block; None keeps one."""
    logger = _package_logger
    handlers = [handler for handler in logger.handlers if isinstance(handler, _StdoutHandler)]
    before = logger.level, [handler.formatter for handler in handlers]
    try:
        if level is not None:
            logger.setLevel(level)
        if stream_fmt is not None or stream_datefmt is not None:
            for handler in handlers:
                handler.setFormatter(
                    LogFormatter(
                        stream_fmt or config.logging.format, stream_datefmt or config.logging.datefmt
                    )
                )
        yield
    finally:
        logger.setLevel(before[0])
        for handler, formatter in zip(handlers, before[1], strict=True):
            handler.setFormatter(formatter)


class LogFormatter(logging.Formatter):
    """A formatter that makes the text of a second once, and hides registered secrets."""

    # (whole second, date format) and its text, in one tuple so that threads never mix two of them.
    _second: tuple[int, str | None, str] = (-1, None, "")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        if not datefmt:
            return super().formatTime(record, datefmt)
        second = int(record.created)
        known, known_format, text = self._second
        if known != second or known_format != datefmt:
            text = time.strftime(datefmt, self.converter(second))
            self._second = (second, datefmt, text)
        return text

    def format(self, record: logging.LogRecord) -> str:
        return mask(super().format(record))


class ContextFilter(logging.Filter):
    """
    Lets every record pass, and gives it the run's attributes and those of `logging.log_attributes`.

    The five of the run are `-` when unknown, the others None; what the caller gave by `extra=` stays.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        attributes = record.__dict__
        if "task_run_id" not in attributes or "flow_name" not in attributes:
            contents = context.current()
            for name in RUN_ATTRIBUTES:
                value = contents.get(name)
                attributes.setdefault(name, UNKNOWN if value is None else value)
            for name in config["logging"]["log_attributes"]:
                attributes.setdefault(name, contents.get(name))
        return True


class _StdoutHandler(logging.StreamHandler[TextIO]):
    """
    Writes to what `sys.stdout` is at the moment, so that notebooks and tests may replace it.

    What a task with `log_stdout` prints is routed around `sys.stdout`; log lines go past that to the real one.
    """

    _fixed: TextIO | None = None

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return self._fixed if self._fixed is not None else _real_stdout()

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        self._fixed = stream

    def emit(self, record: logging.LogRecord) -> None:
        try:
            stream = self.stream
            stream.write(self.format(record) + self.terminator)
            stream.flush()
        except RecursionError:
            raise
        except Exception:  # noqa: BLE001
            # As every handler of the logging module: a line that cannot be written must not stop the run;
            # handleError tells on stderr.
            self.handleError(record)


class RedirectToLog:
    """
    A writable text stream whose lines become INFO records.

    Text is collected until its line ends; `close` logs the rest. Blank lines are dropped.

    Args:
        logger: gets the records; default is the package's.
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self.logger = logger if logger is not None else _package_logger
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
            token = _stdout_target.set(None)
            try:
                self.logger.info("%s", line.rstrip("\r"))
            finally:
                _stdout_target.reset(token)


@contextmanager
def redirect_stdout_to(logger: logging.Logger) -> Iterator[RedirectToLog]:
    """
    Log what is printed inside the block, by this thread or asyncio task only.

    Other threads print as ever, and so does a block inside this one that replaces `sys.stdout` itself.
    """
    target = RedirectToLog(logger)
    _StdoutRouter.install()
    token = _stdout_target.set(target)
    try:
        yield target
    finally:
        _stdout_target.reset(token)
        _StdoutRouter.remove()
        target.close()


class _StdoutRouter:
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
                sys.stdout = _real_stdout()

    def write(self, text: str) -> int:
        target = _stdout_target.get()
        return self.original.write(text) if target is None else target.write(text)

    def flush(self) -> None:
        if _stdout_target.get() is None:
            self.original.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)


class _NoStdout(io.TextIOBase):
    """What stands for stdout in programs without one (`pythonw`): takes everything, keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)


def _real_stdout() -> TextIO:
    """Return `sys.stdout` without the routers around it."""
    stream: Any = sys.stdout
    while isinstance(stream, _StdoutRouter):
        stream = stream.original
    return cast(TextIO, stream if stream is not None else _NoStdout())


def _level() -> int | str:
    level = config.logging.level
    if isinstance(level, str):
        level = level.strip().upper()
        if level not in logging.getLevelNamesMapping():
            warnings.warn(f"logging.level {level!r} is no level; INFO is used.", stacklevel=2)
            level = "INFO"
    return cast("int | str", level)


_stdout_target: ContextVar[RedirectToLog | None] = ContextVar("tenuto.stdout", default=None)
_package_logger = logging.getLogger(ROOT)
configure_logging()
configure_extra_loggers()
# Importing code may run in a thread that is not the main one (web servers, notebooks): it logs while it builds.
context.setdefault("logger", _package_logger)
