"""Whether the server is up, and whether it can do its work."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.responses import PlainTextResponse
from starlette.concurrency import run_in_threadpool

from tenuto import __version__
from tenuto.server.api.problems import Problem
from tenuto.server.api.requests import StoreOf
from tenuto.server.api.routing import asks, new_router
from tenuto.server.domain.access import Permission
from tenuto.server.store.sql.database import StoreUnavailable
from tenuto.server.store.sql.feed import feed_end

__all__ = ["meta", "router"]

router = new_router(tags=["health"])
meta = new_router(tags=["health"])


@router.get("/", response_class=PlainTextResponse, **asks(Permission.PUBLIC))
async def root(request: Request) -> str:
    """Tell who opens the printed address what is there: the pages are not built yet."""
    base = request.scope.get("root_path", "")
    return f"Tenuto {__version__}. There are no pages yet; the API is at {base}/api/v1.\n"


@router.get("/health", **asks(Permission.PUBLIC))
async def health() -> dict[str, Any]:
    """Say that the process is up."""
    return {"status": "up", "version": __version__}


@router.get("/ready", **asks(Permission.PUBLIC))
async def ready(request: Request) -> dict[str, Any]:
    """Say whether requests can be served: the database answers, and the server is not about to stop."""
    state = request.app.state
    if state.is_draining:
        raise Problem(503, "overloaded", "The server is about to stop.")
    try:
        await run_in_threadpool(state.database.read, feed_end)
    except StoreUnavailable as error:
        raise Problem(503, "overloaded", str(error), code=error.code) from error
    silent = {service.name: service.silent_seconds for service in state.services}
    return {"status": "ready", "services": silent}


@meta.get("/meta", **asks(Permission.READ))
def about(store: StoreOf) -> dict[str, Any]:
    """Say which server this is, and what time it is by the clock that leases are judged by."""
    return {"version": __version__, "server_time": store.read(lambda transaction: transaction.now)}
