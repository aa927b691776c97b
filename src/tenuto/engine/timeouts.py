"""
Calls that take at most so long: interrupted by a timer in the main thread, left behind in any other.

A task with a timeout may run a flow whose tasks have timeouts of their own. One timer serves them all: it is
set to the earliest of their ends, and what it raises is meant for the outermost task whose time is up.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from time import monotonic
from typing import TYPE_CHECKING, Any

from tenuto.exceptions import TaskTimeoutSignal

if TYPE_CHECKING:
    from types import FrameType

# The ends of the timed calls that the main thread is in, outermost first.
_ends: list[float] = []


class _TimeIsUp(TaskTimeoutSignal):
    """Raised by the timer for the call at position `depth` of those that are going on."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        super().__init__("Execution timed out.")

    def __reduce__(self) -> tuple[type, tuple[int]]:
        return type(self), (self.depth,)


def is_of_outer_task(error: BaseException) -> bool:
    """Say whether a timeout is meant for a task around the one that it interrupted."""
    return isinstance(error, _TimeIsUp) and error.depth < len(_ends)


def call_with_timeout(fn: Callable[[], Any], seconds: float | None) -> Any:
    """
    Call `fn`, for at most `seconds`.

    In the main thread a timer signal interrupts it wherever it is. Elsewhere Python code cannot be
    interrupted: it is left behind in a thread of its own, and what it still returns is discarded.

    Raises:
        TaskTimeoutSignal: when the time is up. No `except Exception` swallows it: it is a BaseException.
    """
    if not seconds:
        return fn()
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        with _alarm(seconds):
            return fn()
    return call_in_thread(fn, timeout=seconds)


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def interrupt(signum: int, frame: FrameType | None) -> None:
        now = monotonic()
        for depth, end in enumerate(_ends):
            if end <= now:
                raise _TimeIsUp(depth)
        if _ends:  # Too early by the coarseness of a clock.
            _set_timer()

    previous = signal.signal(signal.SIGALRM, interrupt)
    left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
    started, depth = monotonic(), len(_ends)
    _ends.append(started + seconds)
    try:
        try:
            _set_timer()
            yield
        finally:
            # First of all: nothing may be raised while the rest is put back.
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        del _ends[depth:]
        signal.signal(signal.SIGALRM, previous)
        if _ends:
            _set_timer()
        elif left:  # A timer of the user's own goes on.
            signal.setitimer(signal.ITIMER_REAL, max(left - (monotonic() - started), 0.001))


def _set_timer() -> None:
    signal.setitimer(signal.ITIMER_REAL, max(min(_ends) - monotonic(), 0.001))


def call_in_thread(fn: Callable[[], Any], timeout: float | None) -> Any:
    outcome: dict[str, Any] = {}

    def target() -> None:
        try:
            outcome["value"] = fn()
        except BaseException as error:  # noqa: BLE001  # carried over to the thread that waits
            outcome["error"] = error

    # Daemon: a body that outlives its timeout must not keep the interpreter from ending.
    thread = threading.Thread(target=copy_context().run, args=(target,), daemon=True, name="tenuto-task")
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        raise TaskTimeoutSignal("Execution timed out.")
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]
