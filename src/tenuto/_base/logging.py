"""
Loggers of the package: `tenuto` and its children, one handler on stdout, records that know their run.

Two records are written per task run, so what happens for each is kept small: the text of the second is
cached, and the filter is one dictionary lookup per attribute.
"""

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, cast

from tenuto._base.context import context
from tenuto._base.masking import mask
from tenuto._base.stdout import RedirectToLog, real_stdout, redirect_stdout_to
from tenuto.configuration import config

__all__ = [
    "ContextFilter",
    "LogFormatter",
    "RedirectToLog",
    "child_logger",
    "configure_extra_loggers",
    "configure_logging",
    "create_diagnostic_logger",
    "get_logger",
    "package_loggers",
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
    # Looked up without the lock that logging.getLogger takes: the runners ask once for each task.
    known = _package_logger.manager.loggerDict.get(full)
    if isinstance(known, logging.Logger):
        return known
    if name.endswith("]"):
        return child_logger(get_logger(name.rpartition("[")[0] or None), name)
    return logging.getLogger(full)


def child_logger(parent: logging.Logger, name: str) -> logging.Logger:
    """Return a logger `tenuto.NAME` below `parent` that lives no longer than it is used."""
    child = logging.Logger(f"{ROOT}.{name}")  # noqa: LOG001  # outside the manager on purpose
    child.parent = parent
    return child


def package_loggers() -> list[logging.Logger]:
    """Return the package's logger, and after it those that `logging.extra_loggers` names."""
    names = config.logging.get("extra_loggers") or []
    return [_package_logger, *map(logging.getLogger, [names] if isinstance(names, str) else names)]


def configure_logging(testing: bool = False) -> logging.Logger:
    """
    Give the package's logger its level and one handler on stdout, and return it.

    Args:
        testing: configure and return a logger of its own instead, for looking at what this does.
    """
    logger = logging.getLogger("tenuto-test-logger" if testing else ROOT)
    _add_handler(logger)
    logger.setLevel(_level())
    return logger


def _add_handler(logger: logging.Logger) -> None:
    # Known by name, not by class: after a re-import the handler of the earlier module is still there, and one
    # line must not be written twice.
    for old in [handler for handler in logger.handlers if handler.get_name() == _HANDLER_NAME]:
        logger.removeHandler(old)
    handler = _StdoutHandler()
    handler.set_name(_HANDLER_NAME)
    handler.setFormatter(LogFormatter(config.logging.format, config.logging.datefmt))
    handler.addFilter(ContextFilter())
    logger.addHandler(handler)


def configure_extra_loggers() -> None:
    """Give each logger named in `logging.extra_loggers` the package's level and handlers."""
    for extra in package_loggers()[1:]:
        for handler in [old for old in extra.handlers if old.get_name() == _HANDLER_NAME]:
            extra.removeHandler(handler)
        for handler in _package_logger.handlers:
            extra.addHandler(handler)
        extra.setLevel(_package_logger.level)


def create_diagnostic_logger(name: str) -> logging.Logger:
    """Return a logger that writes to stdout in the package's format and is part of no run's record."""
    logger = logging.getLogger(name)
    logger.propagate = False
    _add_handler(logger)
    logger.setLevel(_level())
    return logger


@contextmanager
def temporary_logger_config(
    level: int | str | None = None, stream_fmt: str | None = None, stream_datefmt: str | None = None
) -> Iterator[None]:
    """Change level, format and date format of the package's logger inside the block; None keeps one."""
    logger = _package_logger
    handlers = [handler for handler in logger.handlers if handler.get_name() == _HANDLER_NAME]
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

    What a task with `log_stdout` prints is routed around `sys.stdout`; log lines go past that.
    """

    _fixed: TextIO | None = None

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return self._fixed if self._fixed is not None else real_stdout()

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        self._fixed = stream

    def emit(self, record: logging.LogRecord) -> None:
        try:
            stream = self.stream
            line = self.format(record) + self.terminator
            try:
                stream.write(line)
            except UnicodeEncodeError:  # An ASCII terminal, or a lone surrogate in a name.
                encoding = stream.encoding or "ascii"
                stream.write(line.encode(encoding, "backslashreplace").decode(encoding))
            stream.flush()
        except RecursionError:
            raise
        except Exception:  # noqa: BLE001
            # As every handler of the logging module: a line that cannot be written must not stop the run;
            # handleError tells on stderr.
            self.handleError(record)


def _level() -> int | str:
    level = config.logging.level
    if isinstance(level, str):
        level = level.strip().upper()
        if level not in logging.getLevelNamesMapping():
            warnings.warn(f"logging.level {level!r} is no level; INFO is used.", stacklevel=2)
            level = "INFO"
    return cast("int | str", level)


_package_logger = logging.getLogger(ROOT)
configure_logging()
configure_extra_loggers()
# The importing thread need not be the main one (web servers): what it builds may log, too.
context.setdefault("logger", _package_logger)
