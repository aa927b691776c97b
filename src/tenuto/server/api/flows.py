"""Flows, their versions, and registration."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from fastapi import Response
from pydantic import Field

from tenuto.server.api.models import FlowGroupOut, FlowOut, Given, Listed, RegisteredOut, Uuid, listed
from tenuto.server.api.problems import Problem
from tenuto.server.api.requests import PageOf, PathId, StoreOf
from tenuto.server.api.routing import asks, new_router
from tenuto.server.domain.access import Permission
from tenuto.server.domain.group_settings import check_settings
from tenuto.server.store.sql import flows, schedules
from tenuto.server.store.sql.database import Transaction

__all__ = ["groups", "versions"]

groups = new_router("/flow-groups", tags=["flows"])
versions = new_router("/flows", tags=["flows"])

_canonical = msgspec.json.Encoder(order="sorted")


class GroupChange(Given):
    """What is to be changed for all versions; what is left out stays."""

    description: str | None = None
    default_parameters: dict[str, Any] | None = None
    settings: dict[str, Any] | None = None


class NewFlow(Given):
    """A flow to be registered."""

    project: str = Field(description="Name of the project.")
    serialized_flow: dict[str, Any] = Field(description="As `flow.serialize()` gives it.")
    labels: list[str] = Field(default_factory=list)
    description: str = ""
    version_group_id: Uuid | None = None
    idempotency_key: str | None = Field(
        None, description="That of the last registration: nothing happens. `auto`: nothing for an equal flow."
    )
    set_schedule_active: bool | None = Field(None, description="null: as it is, and on at first.")
    source_path: str = ""
    source_sha256: str = ""
    core_version: str = ""
    python_version: str = ""


@groups.get("", response_model=Listed[FlowGroupOut], **asks(Permission.READ))
def list_groups(store: StoreOf, page: PageOf, q: str = "", project_id: Uuid | None = None) -> Any:
    """List flows, each with its newest version."""
    found = store.read(lambda tx: flows.list_groups(tx, page, project_id=project_id, text=q))
    return listed(found, lambda row: row)


@groups.get("/by-name/{project}/{flow}", response_model=FlowGroupOut, **asks(Permission.READ))
def find_group(store: StoreOf, project: str, flow: str) -> Any:
    """Return a flow by its project's name and its own."""
    return store.read(lambda tx: flows.find_group(tx, project, flow))


@groups.get("/{id}", response_model=FlowGroupOut, **asks(Permission.READ))
def get_group(store: StoreOf, id: PathId) -> Any:
    """Return a flow."""
    return store.read(lambda tx: flows.get_group(tx, id))


@groups.patch("/{id}", response_model=FlowGroupOut, **asks(Permission.EDIT))
def change_group(store: StoreOf, id: PathId, body: GroupChange) -> Any:
    """Change what holds for all versions of a flow."""
    changed = body.model_dump(exclude_none=True)
    check_settings(body.settings or {})
    if changed:
        store.write(lambda tx: flows.update_group(tx, id, changed))
    return store.read(lambda tx: flows.get_group(tx, id))


@groups.get("/{id}/versions", response_model=Listed[FlowOut], **asks(Permission.READ))
def list_versions(store: StoreOf, id: PathId, page: PageOf) -> Any:
    """List the versions of a flow, the newest first."""
    return listed(store.read(lambda tx: flows.list_flows(tx, page, group_id=id)), lambda row: row)


@versions.get("", response_model=Listed[FlowOut], **asks(Permission.READ))
def list_flows(store: StoreOf, page: PageOf) -> Any:
    """List versions of flows, the newest first."""
    return listed(store.read(lambda tx: flows.list_flows(tx, page)), lambda row: row)


@versions.post("", response_model=RegisteredOut, status_code=201, **asks(Permission.EDIT))
def register(store: StoreOf, body: NewFlow, response: Response) -> Any:
    """Register a flow: its version becomes the one that is run."""
    if not body.serialized_flow.get("name"):
        raise Problem(422, "invalid-request", "The serialized flow has no name.")
    given = body.model_dump(exclude={"serialized_flow", "set_schedule_active"})
    new = flows.NewVersion(
        serialized=body.serialized_flow,
        digest=hashlib.sha256(_canonical.encode(body.serialized_flow)).hexdigest(),
        registered_by=store.principal.name,
        **given,
    )
    described = body.serialized_flow.get("schedule")
    if not isinstance(described, dict | None):
        raise Problem(422, "invalid-request", "The schedule of the serialized flow is no object.")
    found, (is_active, reason) = store.write(
        lambda tx: _register(tx, new, described, body.set_schedule_active)
    )
    if not found.created:
        response.status_code = 200
    return {
        "id": found.flow_id,
        "flow_group_id": found.flow_group_id,
        "version": found.version,
        "created": found.created,
        "archived_ids": found.archived_ids,
        "schedule_active": is_active,
        "schedule_reason": reason,
        "url": store.url(f"/flow/{found.flow_group_id}"),
    }


def _register(
    transaction: Transaction,
    new: flows.NewVersion,
    described: dict[str, Any] | None,
    active: bool | None,
) -> tuple[flows.Registered, tuple[bool, str]]:
    """Register a flow and have it follow its schedule, together or not at all."""
    found = flows.register(transaction, new)
    followed = schedules.follow_code(
        transaction, found.flow_group_id, described, active, is_new_version=found.created
    )
    return found, followed


@versions.get("/{id}", response_model=FlowOut, **asks(Permission.READ))
def get_flow(store: StoreOf, id: PathId) -> Any:
    """Return a version of a flow, with its graph."""
    return store.read(lambda tx: flows.get_flow(tx, id))


@versions.post(
    "/{id}/archive", status_code=204, response_class=Response, response_model=None, **asks(Permission.EDIT)
)
def archive(store: StoreOf, id: PathId) -> None:
    """Archive a version: it keeps its history and is not run any more."""
    store.write(lambda tx: flows.archive(tx, id))


@versions.post(
    "/{id}/unarchive", status_code=204, response_class=Response, response_model=None, **asks(Permission.EDIT)
)
def unarchive(store: StoreOf, id: PathId) -> None:
    """Take the archiving of a version back."""
    store.write(lambda tx: flows.archive(tx, id, archived=False))
