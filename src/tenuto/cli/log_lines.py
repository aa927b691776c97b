"""The log lines of a run as the command line prints them: `└── HH:MM:SS | LEVEL   | message`."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tenuto._base.logging import LogFormatter, package_loggers
from tenuto._base.stdout import real_stdout
from tenuto.cli.display import silence
from tenuto.cli.tracebacks import user_traceback

if TYPE_CHECKING:
    from tenuto.cli.display import Display

__all__ = ["LineFormatter", "log_lines", "log_text"]

LEVEL_WIDTH = 7
_COLOURS = {logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "red"}


class LineFormatter(LogFormatter):
    """
    Formats a record as a line of the command line, its traceback below it.

    Args:
        display: gives signs and colours.
    """

    def __init__(self, display: Display) -> None:
        super().__init__(datefmt="%H:%M:%S")
        self._branch = display.branch
        self._display = display
        self._colourful = display.is_colourful(sys.stdout)

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the first line."""
        level = record.levelname.ljust(LEVEL_WIDTH)
        if self._colourful and record.levelno in _COLOURS:
            level = self._display.styled(level, sys.stdout, _COLOURS[record.levelno])
        return f"{self._branch} {record.asctime} | {level} | {record.message}"

    def usesTime(self) -> bool:
        """Say that each line has a time."""
        return True

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record; a traceback in it has the user's frames only."""
        kept, record.exc_text = record.exc_text, None
        try:
            return super().format(record)
        finally:
            # The run's log file formats the exception in its own way.
            record.exc_text = kept

    def formatException(self, ei: object) -> str:
        """Return a traceback, in full with `--debug`."""
        error = ei[1] if isinstance(ei, tuple) else None
        if error is None or self._display.debug:
            return super().formatException(ei)  # type: ignore[arg-type]  # as the logging module calls it
        return user_traceback(error).rstrip("\n")


class LineHandler(logging.Handler):
    """
    Writes to what `sys.stdout` is, past the redirection of tasks with `log_stdout`.

    Args:
        display: says when that is no longer possible.
        level: of the records that are written, at least.
    """

    def __init__(self, display: Display, level: int) -> None:
        super().__init__(level)
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line. Never raises: a line that cannot be written must not stop the run."""
        try:
            stream = real_stdout()
            stream.write(f"{self.format(record)}\n")
            stream.flush()
        except BrokenPipeError:
            # Nobody reads any more (`tenuto run | head`): the run goes on to its end.
            silence(real_stdout())
        except OSError as error:
            silence(real_stdout())
            self._display.notice(f"No more log lines are printed: {error.strerror or error}.")
        except Exception:  # noqa: BLE001  # as every handler of the logging module
            self.handleError(record)


@contextmanager
def log_lines(display: Display, *, level: str | None, lowest: int | None) -> Iterator[logging.Handler]:
    """
    Print log records in the form of the command line inside, in place of the usual one; give what prints.

    Args:
        display: gives signs and colours.
        level: of the loggers; None leaves the one that is set.
        lowest: records below this level are not printed, though they are recorded; None prints none at all.
    """
    loggers = package_loggers()
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    own = LineHandler(display, logging.NOTSET if lowest is None else lowest)
    own.setFormatter(LineFormatter(display))
    replaced = loggers[0].handlers[:]
    for logger in loggers:
        logger.handlers[:] = [handler for handler in logger.handlers if handler not in replaced]
        if lowest is not None:
            logger.addHandler(own)
        if level is not None:
            logger.setLevel(level)
    try:
        yield own
    finally:
        for logger, old_level, handlers in before:
            logger.setLevel(old_level)
            logger.handlers[:] = handlers


def log_text(display: Display, microseconds: int, level: int, message: str) -> str:
    """Return a recorded log line in the same form, in local time."""
    name = logging.getLevelName(level).ljust(LEVEL_WIDTH)
    moment = time.strftime("%H:%M:%S", time.localtime(microseconds // 1_000_000))
    return f"{display.branch} {moment} | {name} | {message}"
