"""
Named points at which tests make the program fail.

Nothing is armed but by a call of `armed` in the same process: no setting, environment variable, argument or
request does it. Tests that start a process start it by a launcher that makes this call first.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from tenuto.exceptions import PrefectException

__all__ = ["Action", "ExecutedButTimedOut", "Failpoint", "FailpointReached", "armed", "failpoint"]


class FailpointReached(PrefectException, RuntimeError):
    """A test wanted the program to fail here."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"The fail point {name!r} was armed to raise.")


class ExecutedButTimedOut(PrefectException, TimeoutError):
    """A test wanted the work to be done and its answer to be lost: the caller must not know which."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"What was done before the fail point {name!r} is done, and its answer is lost.")


class Action(StrEnum):
    """What happens at an armed point."""

    KILL = "kill"
    """This process is killed (SIGKILL): no handler runs, nothing is flushed."""
    RAISE = "raise"
    """`FailpointReached` is raised."""
    SLEEP = "sleep"
    """The thread sleeps; then it goes on."""
    TIME_OUT = "time-out"
    """`ExecutedButTimedOut` is raised: for points after a commit."""
    ENOSPC = "enospc"
    """The disk is full."""
    EIO = "eio"
    """The disk is broken."""


@dataclass
class Failpoint:
    """
    A point that is armed.

    Attributes:
        name: of the point, as `ingest.after_insert`.
        action: what happens there.
        nth: the hit, counted from 1, at which it happens first.
        times: at how many hits in a row it happens; 0: at all from there on.
        seconds: of a sleep.
        on_action: called with the point's name before the action, in the thread that hit the point.
        hits: how often the point was passed.
        faults: how often the action was done.
    """

    name: str
    action: Action
    nth: int = 1
    times: int = 1
    seconds: float = 0.0
    on_action: Callable[[str], object] | None = None
    hits: int = field(default=0, init=False)
    faults: int = field(default=0, init=False)


_points: dict[str, list[Failpoint]] = {}
_lock = threading.Lock()


def failpoint(name: str) -> None:
    """Do nothing, unless a test has armed this point. Unarmed it costs a call and a look."""
    if _points:
        _pass(name)


@contextmanager
def armed(*points: Failpoint) -> Iterator[None]:
    """Have the points fail in this process, in all of its threads, as long as the context lasts."""
    with _lock:
        for point in points:
            _points.setdefault(point.name, []).append(point)
    try:
        yield
    finally:
        with _lock:
            for point in points:
                _points[point.name].remove(point)
                if not _points[point.name]:
                    del _points[point.name]


def _pass(name: str) -> None:
    due = []
    with _lock:
        for point in _points.get(name, ()):
            point.hits += 1
            since = point.hits - point.nth
            if since >= 0 and (point.times == 0 or since < point.times):
                point.faults += 1
                due.append(point)
    for point in due:
        if point.on_action is not None:
            point.on_action(name)
        _act(point)


def _act(point: Failpoint) -> None:
    match point.action:
        case Action.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        case Action.RAISE:
            raise FailpointReached(point.name)
        case Action.SLEEP:
            time.sleep(point.seconds)
        case Action.TIME_OUT:
            raise ExecutedButTimedOut(point.name)
        case Action.ENOSPC:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        case Action.EIO:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
