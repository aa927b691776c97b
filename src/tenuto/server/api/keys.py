"""API keys, and what each role may do."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import Response
from pydantic import BaseModel, Field

from tenuto.server.api.models import Given, Listed, Name, Time, listed
from tenuto.server.api.problems import Problem
from tenuto.server.api.requests import PageOf, PathId, StoreOf
from tenuto.server.api.routing import asks, new_router
from tenuto.server.domain.access import ROLES, Permission, Role
from tenuto.server.store.sql import keys

__all__ = ["roles", "router"]

router = new_router("/keys", tags=["access"])
roles = new_router("/roles", tags=["access"])


class KeyOut(BaseModel):
    """A key, without what it opens with."""

    id: str
    name: str
    role: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used: datetime | None
    created: datetime


class NewKey(Given):
    """A key to be made."""

    name: Name
    role: Role
    expires_at: Time | None = None


class KeyChange(Given):
    """What is to be changed."""

    role: Role


class KeyMade(BaseModel):
    """A new key; it is shown this once."""

    id: str
    key: str = Field(description="Shown this once: the server keeps only its digest.")


@router.get("", response_model=Listed[KeyOut], **asks(Permission.ADMIN))
def list_keys(store: StoreOf, page: PageOf) -> Any:
    """List keys, the newest first."""
    return listed(store.read(lambda tx: keys.list_keys(tx, page)), lambda row: row)


@router.post("", response_model=KeyMade, status_code=201, **asks(Permission.ADMIN))
def create_key(store: StoreOf, body: NewKey) -> Any:
    """Make a key."""
    key_id, key = store.write(
        lambda tx: keys.create_key(tx, body.name, body.role, body.expires_at),
        after={"name": body.name, "role": body.role},
    )
    return {"id": key_id, "key": key}


@router.patch("/{id}", response_model=KeyOut, **asks(Permission.ADMIN))
def change_key(store: StoreOf, id: PathId, body: KeyChange) -> Any:
    """Give a key another role; sessions and streams of the one before end within seconds."""
    before = store.write(
        lambda tx: keys.change_role(tx, id, body.role),
        before=lambda row: row and {"role": row["role"]},
        after={"role": body.role},
    )
    if before is None:
        raise Problem(404, "not-found", f"There is no key {id}.")
    return {**before, "role": body.role}


@router.delete(
    "/{id}", status_code=204, response_class=Response, response_model=None, **asks(Permission.ADMIN)
)
def revoke_key(store: StoreOf, id: PathId) -> None:
    """Make a key worthless from now on."""
    if not store.write(lambda tx: keys.revoke_key(tx, id)):
        raise Problem(404, "not-found", f"There is no key {id}.")


@roles.get("", **asks(Permission.READ))
def list_roles() -> dict[str, list[str]]:
    """List the roles, with what each may do."""
    return {str(role): sorted(map(str, permissions)) for role, permissions in ROLES.items()}
