"""All services of a server, from its first beat to its last."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

from tenuto._base.failpoints import failpoint
from tenuto.server.domain.timings import Timings
from tenuto.server.services.loop import Service
from tenuto.server.services.rescue import RescueService
from tenuto.server.services.scheduler import SchedulerService
from tenuto.server.store.sql.database import Database, Transaction
from tenuto.server.store.sql.feed import trim
from tenuto.server.store.sql.services import Recovered, beat, begin_server, end_server, recover

__all__ = ["running_services"]

_FEED_AGE = timedelta(hours=1)

logger = logging.getLogger("tenuto.server")


@contextmanager
def running_services(database: Database, timings: Timings) -> Iterator[list[Service]]:
    """
    Recover what the time without a server has left, and run all services.

    Args:
        database: with the schema of this program.
        timings: of the protocol.
    """
    server_id, found = database.write(partial(_begin, timings=timings))
    if found.extended:
        logger.info(
            "No server was there for %.0f s: %d leases were extended.",
            found.downtime.total_seconds(),
            found.extended,
        )
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


def _begin(transaction: Transaction, timings: Timings) -> tuple[str, Recovered]:
    """Say that a server is alive, and make up for the time before, in one transaction."""
    server_id = begin_server(transaction)
    found = recover(transaction, server_id, timings)
    failpoint("recovery.before_commit")
    return server_id, found
