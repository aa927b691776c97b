"""All services of a server, from its first beat to its last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

from tenuto.server.domain.timings import Timings
from tenuto.server.services.loop import Service
from tenuto.server.services.recovery import recover
from tenuto.server.services.rescue import RescueService
from tenuto.server.services.scheduler import SchedulerService
from tenuto.server.store.sql.database import Database, Transaction
from tenuto.server.store.sql.feed import trim
from tenuto.server.store.sql.services import beat, end_server

__all__ = ["running_services"]

_FEED_AGE = timedelta(hours=1)


@contextmanager
def running_services(database: Database, timings: Timings) -> Iterator[list[Service]]:
    """
    Recover what the time without a server has left, and run all services.

    Args:
        database: with the schema of this program.
        timings: of the protocol.
    """
    server_id = recover(database, timings)
    rescue = RescueService(database, timings, server_id)
    services = [
        Service("beat", timings.schedule, lambda: database.write(partial(beat, server_id=server_id))),
        Service("feed", timings.horizon, lambda: database.write(forget_old_notices)),
        Service("rescue", timings.sweep, rescue.run_once),
        Service("scheduler", timings.schedule, SchedulerService(database, timings, server_id).run_once),
    ]
    for service in services:
        service.start()
    try:
        yield services
    finally:
        for service in services:
            service.stop()
        database.write(partial(end_server, server_id=server_id))


def forget_old_notices(transaction: Transaction) -> int:
    """Drop from the feed what nobody comes back for any more; who does is told to fetch all anew."""
    return trim(transaction, transaction.now - _FEED_AGE)
