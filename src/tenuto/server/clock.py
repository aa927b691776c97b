"""The clock of a server on SQLite: the one by which due times and leases are judged (reliability 3.14)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

__all__ = ["AnchoredClock"]

_SLEW = 500e-6  # so many seconds a second it may run quicker or slower than time passes
_JUMP = timedelta(seconds=2)  # from here on the clock was set, and is not merely wrong


def _since_boot() -> float:
    """Return seconds that go on while the machine sleeps, where the system has such a clock."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class AnchoredClock:
    """
    Wall time at the start, and from there on the time that has passed.

    Somebody who sets the machine's clock moves no lease: the difference is made up for so slowly that nothing
    ends early or late by it.

    Args:
        wall: seconds since 1970, as the machine's clock shows them.
        passed: seconds that only ever grow.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, passed: Callable[[], float] = _since_boot
    ) -> None:
        self._wall = wall
        self._passed = passed
        self._lock = threading.Lock()
        self._shown = wall()
        self._at = passed()

    def __call__(self) -> datetime:
        """Return the time, aware and in UTC; never one before the last it returned."""
        with self._lock:
            at = self._passed()
            elapsed = max(at - self._at, 0.0)
            shown = self._shown + elapsed
            most = elapsed * _SLEW
            self._shown = shown + min(max(self._wall() - shown, -most), most)
            self._at = at
            return datetime.fromtimestamp(self._shown, UTC)

    def wall_ahead(self) -> timedelta:
        """Return by how much the machine's clock was set ahead of this one; 0 where it is merely wrong."""
        ahead = timedelta(seconds=self._wall() - self().timestamp())
        return ahead if abs(ahead) > _JUMP else timedelta(0)
