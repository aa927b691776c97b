"""Runs whose workers are lost: found by their leases, and taken away from them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from tenuto.server.domain.timings import Timings
from tenuto.server.store.sql.database import Database, StoreUnavailable
from tenuto.server.store.sql.leases import lost_runs, take_away
from tenuto.server.store.sql.services import extend_leases, hold_service

__all__ = ["RescueService"]

logger = logging.getLogger("tenuto.server")

_GROUP = 100


class _Turn(NamedTuple):
    """When a turn was, by the time that has passed and by the clock of the database."""

    passed: timedelta
    now: datetime


class RescueService:
    """
    Looks for leases that have run out, from the time of one lease after its start on.

    Args:
        database: of the runs.
        timings: of the leases.
        server_id: of this server.
        passed: seconds that only ever grow.
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
        self._begun = self._now_passed()
        self._last: _Turn | None = None

    def run_once(self) -> int:
        """Take all lost runs away; return how many there were."""
        timings = self._timings
        hold = partial(hold_service, name="rescue", owner=self._server_id, lease=timings.service_lease)
        has_it = self._database.write(hold)
        turn = _Turn(self._now_passed(), self._database.read(lambda transaction: transaction.now))
        before, self._last = self._last, turn
        if not has_it or self._has_slept(before, turn):
            return 0
        if turn.passed < self._begun + timings.lease:
            return 0  # Heartbeats that found no server come first.
        return sum(self._rescue(run_id) for run_id in self._lost())

    def _now_passed(self) -> timedelta:
        return timedelta(seconds=self._passed())

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

    def _has_slept(self, before: _Turn | None, turn: _Turn) -> bool:
        """
        Say whether leases must be extended before any of them can be judged; extend them (reliability 3.14).

        This server was stopped, or its machine slept, and heartbeats found nobody to take them; or somebody
        has set the clock by which leases are judged, that of the database.
        """
        if before is None:
            return False
        timings, passed = self._timings, turn.passed - before.passed
        late = max(passed - timings.sweep, timedelta(0))
        jump = turn.now - before.now - passed
        if late + abs(jump) <= timings.margin:
            return False
        by = late + max(jump, timedelta(0))
        self._database.write(partial(extend_leases, by=by, timings=timings))
        return True
