"""Tracebacks of user code, without the frames of Tenuto and of the import system."""

from __future__ import annotations

import importlib
import os
import traceback

import tenuto
from tenuto._base.masking import mask

__all__ = ["user_traceback"]

_PACKAGE = os.path.join(os.path.dirname(os.path.abspath(tenuto.__file__)), "")
_TASK_LIBRARY = os.path.join(_PACKAGE, "tasks", "")


def user_traceback(error: BaseException) -> str:
    """Return the traceback that concerns the user, secrets masked; the last line names the error."""
    report = traceback.TracebackException.from_exception(error)
    _shorten(report, set())
    return mask("".join(report.format()))


def _shorten(report: traceback.TracebackException, seen: set[int]) -> None:
    if id(report) in seen:
        return
    seen.add(id(report))
    report.stack[:] = [frame for frame in report.stack if not _is_foreign(frame.filename)]
    for other in (report.__cause__, report.__context__, *(report.exceptions or ())):
        if other is not None:
            _shorten(other, seen)


def _is_foreign(filename: str) -> bool:
    if filename.startswith("<frozen ") or filename == importlib.__file__:
        return True
    return filename.startswith(_PACKAGE) and not filename.startswith(_TASK_LIBRARY)
