"""What a process takes over time: memory and open descriptors, with their slopes."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Self

import psutil

__all__ = ["Sampler", "slope"]

MB = 1 << 20
SECONDS_PER_HOUR = 3600.0


class Sampler:
    """
    Looks at a process until it is told to stop, or the process ends.

    Args:
        pid: of the process.
        every: seconds between two looks.
    """

    def __init__(self, pid: int, every: float = 1.0) -> None:
        self._process = psutil.Process(pid)
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"sampler of {pid}")
        self.times: list[float] = []
        self.rss_mb: list[float] = []
        self.descriptors: list[int] = []

    def __enter__(self) -> Self:
        self.look()
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
        self.look()

    def look(self) -> bool:
        """Take one sample; return False when the process is gone."""
        try:
            if self._process.status() == psutil.STATUS_ZOMBIE:
                return False
            rss, descriptors = self._process.memory_info().rss, self._process.num_fds()
        except psutil.NoSuchProcess:
            return False
        self.times.append(time.monotonic())
        self.rss_mb.append(rss / MB)
        self.descriptors.append(descriptors)
        return True

    def values(self) -> dict[str, float]:
        """Return what a figure says of it."""
        return {
            "samples": len(self.times),
            "rss_max_mb": max(self.rss_mb),
            "rss_slope_mb_h": slope(self.times, self.rss_mb) * SECONDS_PER_HOUR,
            "fds_max": max(self.descriptors),
            "fds_slope": slope(self.times, self.descriptors) * SECONDS_PER_HOUR,
        }

    def _run(self) -> None:
        while not self._stop.wait(self._every) and self.look():
            pass


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Return by how much the values grow per unit of time, by least squares; 0 for fewer than two times."""
    middle = sum(times) / len(times)
    spread = sum((at - middle) ** 2 for at in times)
    if spread == 0:
        return 0.0
    return sum((at - middle) * value for at, value in zip(times, values, strict=True)) / spread
