"""Makes the runs of all schedules ahead of their times."""

from __future__ import annotations

import logging
from functools import partial

from tenuto.exceptions import PrefectException
from tenuto.serialization.schedule import schedule_from_dict
from tenuto.server.domain.horizon import times_ahead
from tenuto.server.domain.timings import Timings
from tenuto.server.store.sql.database import Database, StoreUnavailable
from tenuto.server.store.sql.schedules import (
    ActiveSchedule,
    active_schedules,
    cancel_missed,
    make_runs,
    switch_schedule,
)
from tenuto.server.store.sql.services import hold_service

__all__ = ["SchedulerService"]

logger = logging.getLogger("tenuto.server")


class SchedulerService:
    """
    Makes runs ahead, each time of a schedule once.

    Args:
        database: of the schedules.
        timings: how far ahead.
        server_id: of this server.
    """

    def __init__(self, database: Database, timings: Timings, server_id: str) -> None:
        self._database = database
        self._timings = timings
        self._server_id = server_id

    def run_once(self) -> int:
        """Make what is due to be made; return how many runs."""
        hold = partial(
            hold_service, name="scheduler", owner=self._server_id, lease=self._timings.service_lease
        )
        if not self._database.write(hold):
            return 0
        return sum(self._schedule(schedule) for schedule in self._database.read(active_schedules))

    def _schedule(self, schedule: ActiveSchedule) -> int:
        try:
            times = self._database.read(
                lambda tx: times_ahead(
                    schedule_from_dict(schedule.described), schedule.since, tx.now, self._timings
                )
            )
            made = self._database.write(partial(make_runs, schedule=schedule, events=times))
            self._database.write(partial(cancel_missed, schedule=schedule))
        except StoreUnavailable:
            raise
        except (PrefectException, ValueError, TypeError, KeyError, ArithmeticError) as error:
            # One schedule that cannot be read must not keep the others from their times (S-26).
            logger.exception("The schedule of flow %s is switched off.", schedule.flow_group_id)
            reason = f"It could not be followed: {error}"
            off = partial(switch_schedule, group_id=schedule.flow_group_id, active=False, reason=reason)
            self._database.write(off)
            return 0
        return len(made)
