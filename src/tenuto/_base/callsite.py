"""Where the user's code called us: the first frame that is not in this package."""

import os
import sys
import warnings
from types import FrameType
from typing import TypeVar

__all__ = ["callsite", "note_callsite", "warn"]

E = TypeVar("E", bound=BaseException)

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def callsite() -> tuple[str, int]:
    """Return file name and line of the nearest frame outside the package; `("<unknown>", 0)` without one."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        filename = frame.f_code.co_filename
        if not filename.startswith(_PACKAGE):
            return filename, frame.f_lineno
        frame = frame.f_back
    return "<unknown>", 0


def note_callsite(error: E) -> E:
    """Add `Called at FILE:LINE` as a note, and return the same error, so that its text stays as promised."""
    filename, line = callsite()
    error.add_note(f"Called at {filename}:{line}")
    return error


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line of the user's code that called us."""
    filename, line = callsite()
    depth, frame = 1, sys._getframe(1)
    while frame.f_back is not None and (frame.f_code.co_filename, frame.f_lineno) != (filename, line):
        depth, frame = depth + 1, frame.f_back
    warnings.warn(message, category, stacklevel=depth + 1)
