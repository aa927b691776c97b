"""What many pages ask: searches over everything, counts over time, the table of transitions."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import Query

from tenuto.server.api.flow_runs import FilterOf
from tenuto.server.api.requests import StoreOf
from tenuto.server.api.routing import asks, new_router
from tenuto.server.domain.access import Permission
from tenuto.server.domain.lifecycle import rows
from tenuto.server.store.sql import overview

__all__ = ["router"]

router = new_router(tags=["overview"])


@router.get("/meta/transitions", **asks(Permission.READ))
def transitions() -> list[dict[str, str]]:
    """Return which state may follow which, and who may say so."""
    return [
        {"entity": entity, "from": source, "to": target, "by": str(author)}
        for entity, source, target, author in rows()
    ]


@router.get("/search", **asks(Permission.READ))
def search(
    store: StoreOf, q: Annotated[str, Query(min_length=1)], limit: Annotated[int, Query(ge=1, le=50)] = 10
) -> dict[str, list[dict[str, Any]]]:
    """Find projects, flows and flow runs by name, or by the beginning of their id."""
    return store.read(lambda tx: overview.search(tx, q, limit))


@router.get("/stats/flow-runs", **asks(Permission.READ))
def count_runs(
    store: StoreOf,
    wanted: FilterOf,
    bucket_seconds: Annotated[int, Query(ge=60, le=31 * 86400)] = 3600,
) -> dict[str, Any]:
    """Count flow runs by state, in all and in steps of time."""
    return store.read(lambda tx: overview.count_runs(tx, wanted, timedelta(seconds=bucket_seconds)))
