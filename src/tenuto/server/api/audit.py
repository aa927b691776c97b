"""What is written down of who did what, and how admins read it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, Field

from tenuto.server.api.flow_runs import moment
from tenuto.server.api.models import Listed, listed
from tenuto.server.api.requests import PageOf, StoreOf
from tenuto.server.api.routing import asks, new_router
from tenuto.server.domain.access import Permission
from tenuto.server.store.sql import audit

__all__ = ["router"]

router = new_router("/audit", tags=["access"])


class EntryOut(BaseModel):
    """What somebody did, or was not let do."""

    id: int
    at: datetime
    actor: str
    key_id: str = Field(description="Empty for the key of the server's machine, and where none was shown.")
    method: str
    route: str
    object: str = Field(description="The path, which names what it was about.")
    outcome: str = Field(description="`done` or `denied`.")
    address: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


@router.get("", response_model=Listed[EntryOut], **asks(Permission.ADMIN))
def list_entries(
    store: StoreOf,
    page: PageOf,
    actor: str | None = None,
    key_id: str | None = None,
    route: Annotated[str | None, Query(description="Such as `/flow-runs/{id}/cancel`.")] = None,
    outcome: str | None = None,
    since: Annotated[str, Query(description="A time, or how long ago: `24h`, `7d`.")] = "",
) -> Any:
    """List who did what, the newest first."""
    wanted = audit.AuditFilter(
        actor=actor, key_id=key_id, route=route, outcome=outcome, since=moment(since, "since")
    )
    return listed(store.read(lambda tx: audit.list_entries(tx, wanted, page)), lambda row: row)
