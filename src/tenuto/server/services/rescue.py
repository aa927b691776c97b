"""Runs whose workers are lost: found by their leases, and taken away from them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial

from tenuto.server.domain.timings import Timings
from tenuto.server.store.sql.database import Database, StoreUnavailable
from tenuto.server.store.sql.leases import lost_runs, take_away
from tenuto.server.store.sql.services import extend_leases, hold_service

__all__ = ["RescueService"]

logger = logging.getLogger("tenuto.server")

_GROUP = 100


class RescueService:
    """
    Looks for leases that have run out.

    Args:
        database: of the runs.
        timings: of the leases.
        server_id: of this server.
        passed: seconds, which go on while the machine sleeps.
    """

    def __init__(
        self,
        database: Database,
        timings: Timings,
        server_id: str,
        passed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._timings = timings
        self._server_id = server_id
        self._passed = passed
        self._last: float | None = None

    def run_once(self) -> int:
        """Take all lost runs away; return how many there were."""
        timings = self._timings
        if not self._database.write(
            partial(hold_service, name="rescue", owner=self._server_id, lease=timings.service_lease)
        ):
            self._last = None
            return 0
        if self._is_late():
            # This server slept, or was stopped: heartbeats found nobody to take them.
            return 0
        return sum(self._rescue(run_id) for run_id in self._lost())

    def _lost(self) -> Iterator[str]:
        after = ""
        while found := self._database.read(
            partial(lost_runs, timings=self._timings, after=after, limit=_GROUP)
        ):
            yield from found
            after = found[-1]

    def _rescue(self, run_id: str) -> bool:
        try:
            is_lost = self._database.write(partial(take_away, run_id=run_id, timings=self._timings))
        except StoreUnavailable:
            raise
        except Exception:  # one run that cannot be rescued must not keep the others lost (S-26)
            logger.exception("Flow run %s lost its worker, and could not be taken away from it.", run_id)
            return False
        if is_lost:
            logger.warning("Flow run %s lost its worker.", run_id)
        return is_lost

    def _is_late(self) -> bool:
        """Say whether this turn comes so late that leases must be extended first; extend them."""
        now, last = self._passed(), self._last
        self._last = now
        if last is None:
            return False
        gap = now - last - self._timings.sweep.total_seconds()
        if gap <= self._timings.margin.total_seconds():
            return False
        self._database.write(partial(extend_leases, by=timedelta(seconds=gap)))
        return True
