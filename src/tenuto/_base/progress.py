"""How far something that has many parts is, how fast it goes on, and what is said of that. Pure."""

from __future__ import annotations

from collections import deque
from math import ceil

from tenuto._base.texts import duration_text

__all__ = ["Pace", "progress_parts", "rate_text"]

_WINDOW_SECONDS = 30.0
_PARTS_MIN = 10
"""What took longer than the window counts until so many parts were seen: one alone tells too little."""


class Pace:
    """
    How many parts a second are worked on, by those of the last half minute, or the last ten.

    Parts that cost no work, because their result was there already, are not counted, and neither is the time
    in which there were only such.

    Args:
        now: seconds of some monotonic clock.
    """

    def __init__(self, now: float) -> None:
        self._seen: deque[tuple[float, int, int]] = deque([(now, 0, 0)])

    def see(self, now: float, done: int, worked: int) -> None:
        """
        Take note of how far it is.

        Args:
            now: seconds of the same clock.
            done: number of parts that are finished.
            worked: how many of those were worked on.
        """
        seen = self._seen
        _, done_before, worked_before = seen[-1]
        if (done, worked) == (done_before, worked_before):
            return
        if worked == worked_before:
            seen.clear()
        seen.append((now, done, worked))
        while len(seen) > 2 and seen[1][0] <= now - _WINDOW_SECONDS and worked - seen[1][2] >= _PARTS_MIN:
            seen.popleft()

    def rate(self, now: float) -> float | None:
        """Return parts a second; None while nothing is known."""
        since, _, before = self._seen[0]
        worked = self._seen[-1][2] - before
        return worked / (now - since) if worked > 0 and now > since else None


def progress_parts(done: int, total: int, *, failed: int, rate: float | None) -> list[str]:
    """Return what is said of something in progress: `120 of 500`, `3 failed`, `4.2/s`, `1 min 30 s left`."""
    parts = [f"{done:,} of {total:,}"]
    if failed:
        parts.append(f"{failed:,} failed")
    if rate is not None:
        parts.append(rate_text(rate))
        if done < total:
            parts.append(f"{duration_text(ceil((total - done) / rate))} left")
    return parts


def rate_text(per_second: float) -> str:
    """Return a rate in a unit in which one can think of it: `1,200/s`, `4.2/s`, `12/min`, `3.0/h`."""
    for number, unit in ((per_second, "s"), (60 * per_second, "min"), (3600 * per_second, "h")):
        if number >= 1 or unit == "h":
            return f"{number:,.0f}/{unit}" if number >= 10 else f"{number:.1f}/{unit}"
    raise AssertionError(per_second)
