"""Agents, and the runs that they ask for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from fastapi import Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from tenuto import __version__
from tenuto.server.api.hub import Hub
from tenuto.server.api.models import FlowRunOut, Given, Listed, Name, listed
from tenuto.server.api.problems import Problem
from tenuto.server.api.requests import PageOf, PathId, StoreOf
from tenuto.server.api.routing import asks, new_router
from tenuto.server.api.watch import Watch
from tenuto.server.domain.access import Permission
from tenuto.server.domain.agents import agent_status
from tenuto.server.domain.timings import Timings
from tenuto.server.store.sql import agents, claims, flow_runs, flows
from tenuto.server.store.sql.database import Database, Transaction, Work

__all__ = ["router"]

router = new_router("/agents", tags=["agents"])


class AgentOut(BaseModel):
    """An agent."""

    id: str
    name: str
    type: str
    host: str
    labels: list[str]
    any_label: bool
    version: str
    run_limit: int = Field(description="Runs at once; 0: no limit.")
    run_count: int = Field(description="Runs that it has now.")
    paused: bool
    status: str = Field(description="`healthy`, `paused`, `stale` or `offline`.")
    last_seen: datetime
    created: datetime

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> AgentOut:
        """Make it of a row."""
        status = agent_status(row["last_seen"], datetime.now(UTC), paused=row["paused"])
        return cls(status=status, **{name: row[name] for name in cls.model_fields if name != "status"})


class AgentGiven(Given):
    """What an agent says of itself."""

    name: Name
    type: str = "local"
    host: str = ""
    instance_id: str = ""
    labels: list[str] = Field(default_factory=list)
    any_label: bool = False
    version: str = ""
    run_limit: int = Field(0, ge=0, alias="limit")
    capabilities: list[str] = Field(default_factory=list)


class AgentChange(Given):
    """What is to be changed."""

    paused: bool


class Registration(BaseModel):
    """The answer to an agent that registers: its id, and how it is to behave."""

    id: str
    server_version: str
    claim_wait_seconds: float
    claim_look_seconds: float
    lease_seconds: float
    heartbeat_seconds: float
    cancel_grace_seconds: float


class ClaimRequest(Given):
    """How many runs an agent wants, and for how long it waits for the first."""

    max: int = Field(1, ge=1, le=100)
    wait_seconds: float = Field(30, ge=0, le=30)


class ClaimOut(BaseModel):
    """A run that was handed out, with all that it takes to start it."""

    flow_run: FlowRunOut
    flow: dict[str, Any]
    run_config: dict[str, Any] | None
    attempt: int
    epoch: int
    lease_token: str
    lease_seconds: float


@router.get("", response_model=Listed[AgentOut], **asks(Permission.READ))
def list_agents(store: StoreOf, page: PageOf) -> Any:
    """List agents, by name."""
    return listed(store.read(lambda tx: agents.list_agents(tx, page)), AgentOut.of)


@router.post("", response_model=Registration, status_code=201, **asks(Permission.WORK))
def register_agent(request: Request, store: StoreOf, body: AgentGiven) -> Any:
    """Register an agent; one that registers again gets its id again."""
    new = agents.NewAgent(**body.model_dump())
    timings: Timings = request.app.state.settings.timings
    return {
        "id": store.write(lambda tx: agents.register_agent(tx, new)),
        "server_version": __version__,
        "claim_wait_seconds": timings.claim_wait.total_seconds(),
        "claim_look_seconds": timings.claim_look.total_seconds(),
        "lease_seconds": timings.lease.total_seconds(),
        "heartbeat_seconds": timings.heartbeat.total_seconds(),
        "cancel_grace_seconds": timings.cancel_grace.total_seconds(),
    }


@router.get("/{id}", response_model=AgentOut, **asks(Permission.READ))
def get_agent(store: StoreOf, id: PathId) -> Any:
    """Return an agent."""
    return AgentOut.of(store.read(lambda tx: agents.get_agent(tx, id)))


@router.patch("/{id}", response_model=AgentOut, **asks(Permission.EDIT))
def change_agent(store: StoreOf, id: PathId, body: AgentChange) -> Any:
    """Pause an agent: it gets no further runs, and finishes those that it has."""
    store.write(lambda tx: agents.pause_agent(tx, id, paused=body.paused))
    return get_agent(store, id)


@router.post("/{id}/claims", response_model=list[ClaimOut], **asks(Permission.WORK))
async def claim(request: Request, id: PathId, body: ClaimRequest) -> Any:
    """Hand out due runs whose labels the agent covers; held until there is one, at most 30 s."""
    timings: Timings = request.app.state.settings.timings
    work = partial(_claim, agent_id=id, limit=body.max, timings=timings)
    watch: Watch = request.app.state.watch
    with watch.held(request.state.principal) as ended:
        return await _claimed(request, body.wait_seconds, work, ended)


async def _claimed(request: Request, seconds: float, work: Work[list[ClaimOut]], ended: asyncio.Event) -> Any:
    database: Database = request.app.state.database
    hub: Hub = request.app.state.hub
    timings: Timings = request.app.state.settings.timings
    end = time.monotonic() + seconds
    while not ended.is_set():
        if hub.is_closed:
            return []  # The server is about to stop: whoever is granted a run now might not hear of it.
        found = await run_in_threadpool(database.write, work)
        left = end - time.monotonic()
        request.app.state.counters.claims += len(found)
        if found or left <= 0 or await request.is_disconnected():
            return found
        # A run falls due without anything being written: it is looked for again, hint or not.
        await hub.changed(min(left, timings.claim_look.total_seconds()))
    raise Problem(
        401, "unauthenticated", "The API key was revoked, has expired, or may do something else now."
    )


def _claim(transaction: Transaction, agent_id: str, limit: int, timings: Timings) -> list[ClaimOut]:
    claimant = agents.as_claimant(transaction, agent_id)
    granted = [] if claimant is None else claims.claim(transaction, claimant, limit, timings)
    return [_told(transaction, grant, timings) for grant in granted]


def _told(transaction: Transaction, grant: claims.Claim, timings: Timings) -> ClaimOut:
    run = flow_runs.get_flow_run(transaction, grant.run["id"])
    flow = flows.get_flow(transaction, run["flow_id"])
    return ClaimOut(
        flow_run=FlowRunOut.of(run),
        flow={
            "id": flow["id"],
            "name": flow["flow_name"],
            "version": flow["version"],
            "digest": flow["digest"],
            "storage": flow["storage"],
            "source_path": flow["source_path"],
            "source_sha256": flow["source_sha256"],
        },
        run_config=run["run_config"] or flow["run_config"],
        attempt=grant.attempt,
        epoch=grant.epoch,
        lease_token=grant.token,
        lease_seconds=timings.lease.total_seconds(),
    )
