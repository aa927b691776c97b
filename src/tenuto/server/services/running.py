"""All services of a server, from its first beat to its last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from tenuto.server.services.loop import Service
from tenuto.server.services.rescue import RescueService
from tenuto.server.services.retention import RetentionService
from tenuto.server.services.scheduler import SchedulerService
from tenuto.server.settings import Settings
from tenuto.server.store.sql.database import Database
from tenuto.server.store.sql.services import beat, end_server

__all__ = ["running_services"]


@contextmanager
def running_services(database: Database, settings: Settings, server_id: str) -> Iterator[list[Service]]:
    """
    Run all services.

    Args:
        database: recovered.
        settings: of the server.
        server_id: by which the server said that it is alive.
    """
    timings = settings.timings
    scheduler = SchedulerService(database, timings, server_id)
    rescue = RescueService(database, timings, server_id)
    retention = RetentionService(database, settings, server_id)
    services = [
        Service("beat", timings.schedule, lambda: database.write(partial(beat, server_id=server_id))),
        Service("rescue", timings.sweep, rescue.run_once),
        Service("scheduler", timings.schedule, scheduler.run_once),
        Service("retention", timings.retention, retention.run_once),
    ]
    for service in services:
        service.start()
    try:
        yield services
    finally:
        for service in services:
            service.stop()
        database.write(partial(end_server, server_id=server_id))
