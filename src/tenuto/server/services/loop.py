"""The thread of a background service: does its work again and again, whatever becomes of one turn."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta

__all__ = ["Service"]

logger = logging.getLogger("tenuto.server")


class Service:
    """
    Runs a piece of work again and again, in a thread of its own.

    Args:
        name: shown in logs, `/ready` and `/metrics`.
        every: between two beginnings.
        run_once: the work; it must come to an end.
    """

    def __init__(self, name: str, every: timedelta, run_once: Callable[[], object]) -> None:
        self.name = name
        self.every = every
        self._run_once = run_once
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True, name=f"tenuto-{name}")
        self._last_failure = ""
        self.last_beat: float | None = None
        """When a turn last went well, by the monotonic clock."""
        self.turns = 0
        self.seconds = 0.0
        """For how long it has worked, in all turns."""

    def start(self) -> None:
        """Begin, with a first turn at once."""
        self._thread.start()

    def wake(self) -> None:
        """Have the next turn begin at once."""
        self._wake.set()

    def stop(self) -> None:
        """End after the turn that is under way."""
        self._stop.set()
        self._wake.set()
        self._thread.join()

    @property
    def silent_seconds(self) -> float | None:
        """For how long no turn has gone well; None before the first."""
        return None if self.last_beat is None else round(time.monotonic() - self.last_beat, 3)

    def _work(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            began = time.monotonic()
            self._turn()
            spent = time.monotonic() - began
            self.turns += 1
            self.seconds += spent
            self._wake.wait(max(self.every.total_seconds() - spent, 0))

    def _turn(self) -> None:
        try:
            self._run_once()
        except Exception as error:  # one turn, one bad row or one lost database ends no service
            failure = repr(error)
            # A database that is gone for an hour is told once, not at every turn.
            if failure != self._last_failure:
                logger.exception("The service %s failed; it goes on with its next turn.", self.name)
            self._last_failure = failure
        else:
            self._last_failure = ""
            self.last_beat = time.monotonic()
