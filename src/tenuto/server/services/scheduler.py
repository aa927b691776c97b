"""Makes the runs of all schedules ahead of their times."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial

from tenuto.serialization.schedule import schedule_from_dict
from tenuto.server.domain.horizon import Look, jitters_of, look_ahead
from tenuto.server.domain.timings import Timings
from tenuto.server.store.sql.database import Database, StoreUnavailable
from tenuto.server.store.sql.schedules import (
    ActiveSchedule,
    active_schedules,
    follow_wall,
    make_runs,
    note_looked,
    switch_off,
    to_do,
)
from tenuto.server.store.sql.services import hold_service

__all__ = ["SchedulerService"]

logger = logging.getLogger("tenuto.server")

# So many runs are made in one transaction: others write between them.
_GROUP = 50
# By so much the clock on the wall moves before what waits follows it: it moves slowly for long, as what it
# was set by is made up for. That somebody has set it is worth a line.
_MOVED, _SET = timedelta(seconds=1), timedelta(seconds=2)
_DAY = timedelta(days=1)


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
        # What waits was planned under an earlier server, whose clock was another one.
        self._wall_ahead: timedelta | None = None

    def run_once(self) -> int:
        """Make what is due to be made; return how many runs."""
        hold = partial(
            hold_service, name="scheduler", owner=self._server_id, lease=self._timings.service_lease
        )
        return self.make_all() if self._database.write(hold) else 0

    def make_all(self) -> int:
        """Make what is due to be made, whoever else does; return how many runs."""
        self._follow_wall()
        return sum(self._follow(schedule) for schedule in self._database.read(active_schedules))

    def _follow_wall(self) -> None:
        """Notice when somebody sets the machine's clock, which schedules follow (reliability 3.14)."""
        ahead, before = self._database.read(lambda transaction: transaction.wall_ahead), self._wall_ahead
        if before is not None and abs(ahead - before) < _MOVED:
            return
        if abs(ahead - (before or timedelta(0))) >= _SET:
            logger.warning(
                "The clock of this machine was set: it is %.0f s ahead of the time that has passed. "
                "Schedules follow it; leases do not move.",
                ahead.total_seconds(),
            )
        self._database.write(follow_wall)
        self._wall_ahead = ahead

    def _follow(self, schedule: ActiveSchedule) -> int:
        try:
            return self._make(schedule)
        except StoreUnavailable:
            raise
        except (
            Exception
        ) as error:  # stored data can be wrong in any way, and the other schedules go on (S-26)
            logger.exception("The schedule of flow %s is switched off.", schedule.flow_group_id)
            self._database.write(
                partial(switch_off, schedule=schedule, reason=f"It could not be followed: {error}")
            )
            return 0

    def _make(self, schedule: ActiveSchedule) -> int:
        """Make the runs of one schedule, as many looks as it takes."""
        parsed, jitters = schedule_from_dict(schedule.described), jitters_of(schedule.described)
        now = self._database.read(lambda transaction: transaction.wall)
        count, since, is_complete = 0, schedule.since, False
        while not is_complete:
            look = look_ahead(
                parsed,
                jitters=jitters,
                salt=schedule.flow_group_id,
                since=since,
                now=now,
                timings=self._timings,
            )
            count += self._make_runs(schedule, look)
            is_complete = look.is_complete
            since = look.slots[-1].at if look.slots else since
        if now - schedule.since > 2 * _DAY:
            self._database.write(partial(note_looked, schedule=schedule, until=now - _DAY))
        return count

    def _make_runs(self, schedule: ActiveSchedule, look: Look) -> int:
        new, has_due = self._database.read(partial(to_do, schedule=schedule, slots=look.slots))
        if not new and not has_due:
            return 0
        made = 0
        for first in range(0, max(len(new), 1), _GROUP):
            work = partial(
                make_runs,
                schedule=schedule,
                slots=new[first : first + _GROUP],
                newest_due=look.newest_due,
            )
            made += len(self._database.write(work))
        return made
