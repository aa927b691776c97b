"""The server put together: settings to store, services and API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI

from tenuto import __version__
from tenuto.server.api import (
    agents,
    audit,
    bulk,
    document,
    flow_runs,
    flows,
    health,
    keys,
    metrics,
    overview,
    problems,
    projects,
    run_views,
    schedules,
    sessions,
    streams,
    task_runs,
    workers,
)
from tenuto.server.api.access import Access
from tenuto.server.api.guards import Guards
from tenuto.server.api.hub import Hub
from tenuto.server.api.limits import Limits
from tenuto.server.api.routing import check_permissions
from tenuto.server.api.watch import Watch
from tenuto.server.settings import Settings
from tenuto.server.store.sql.database import Database

__all__ = ["make_app"]

_ROUTERS = (
    health.meta,
    document.router,
    projects.router,
    flows.groups,
    flows.versions,
    schedules.groups,
    schedules.router,
    bulk.router,
    flow_runs.router,
    run_views.router,
    task_runs.router,
    agents.router,
    keys.router,
    keys.roles,
    sessions.router,
    sessions.tickets,
    audit.router,
    overview.router,
    streams.router,
    workers.router,
)


def make_app(settings: Settings, database: Database, loopback_key: str = "") -> FastAPI:
    """
    Return the application.

    Args:
        settings: how the server runs.
        database: open, with the schema of this program.
        loopback_key: that programs of this machine use; empty: none.

    Raises:
        RuntimeError: when a route declares no permission.
    """
    hub = Hub(database)
    access = Access(database, loopback_key, is_open=not settings.auth)
    watch = Watch(access)
    counters = metrics.Counters()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(hub.run()), asyncio.create_task(watch.run())]
        yield
        for task in tasks:
            task.cancel()

    app = FastAPI(
        lifespan=lifespan,
        title="Tenuto",
        version=__version__,
        root_path=settings.base_path,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.database = database
    app.state.access = access
    app.state.watch = watch
    app.state.hub = hub
    app.state.limits = Limits()
    app.state.counters = counters
    app.state.services = []
    app.state.is_draining = False
    problems.install(app)
    app.add_middleware(Guards, allowed_hosts=_hosts(settings), counters=counters)
    api = APIRouter(prefix="/api/v1")
    for router in _ROUTERS:
        api.include_router(router)
    api.include_router(streams.sockets)
    app.include_router(health.router)
    app.include_router(metrics.router)
    app.include_router(sessions.login)
    app.include_router(api)
    check_permissions(app)
    return app


def _hosts(settings: Settings) -> list[str]:
    """Return the names that a server goes by, beside those of loopback."""
    public = urlsplit(settings.public_url).hostname
    named = [settings.host] if settings.host not in ("0.0.0.0", "::") else []
    return [*named, *([public] if public else []), *settings.allowed_hosts]
