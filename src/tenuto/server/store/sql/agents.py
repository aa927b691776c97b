"""Agents: who they are, and when they were last heard of."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tenuto.server.store.sql import tables
from tenuto.server.store.sql.claims import Claimant
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.feed import announce
from tenuto.server.store.sql.flows import NotFound
from tenuto.server.store.sql.pages import Page, PageRequest, read_page

__all__ = [
    "NewAgent",
    "all_agents",
    "as_claimant",
    "get_agent",
    "list_agents",
    "pause_agent",
    "register_agent",
]

_AGENT = tables.agent


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAgent:
    """
    What an agent says of itself (R-API-69).

    Attributes:
        instance_id: kept by the agent; with name and host it tells one process from another.
        run_limit: runs at once; 0: no limit.
        capabilities: run configs that it can start.
    """

    name: str
    type: str = "local"
    host: str = ""
    instance_id: str = ""
    labels: Sequence[str] = ()
    any_label: bool = False
    version: str = ""
    run_limit: int = 0
    capabilities: Sequence[str] = ()


def register_agent(transaction: Transaction, new: NewAgent) -> str:
    """Return the id of an agent; one that is known by its identity has the settings that it says now."""
    connection, now = transaction.connection, transaction.now
    values = {
        "type": new.type,
        "labels": sorted(set(new.labels)),
        "any_label": new.any_label,
        "version": new.version,
        "run_limit": new.run_limit,
        "capabilities": list(new.capabilities),
        "last_seen": now,
        "updated": now,
    }
    identity = {"name": new.name, "host": new.host, "instance_id": new.instance_id}
    is_it = [_AGENT.c[name] == value for name, value in identity.items()]
    known: str | None = connection.execute(sa.select(_AGENT.c.id).where(*is_it)).scalar()
    if known is None:
        try:
            with connection.begin_nested():
                connection.execute(
                    sa.insert(_AGENT).values(id=str(uuid.uuid4()), **identity, **values, created=now)
                )
        except sa.exc.IntegrityError:
            pass  # It registers twice at once.
        known = connection.execute(sa.select(_AGENT.c.id).where(*is_it)).scalar_one()
    agent_id: str = known
    connection.execute(sa.update(_AGENT).where(_AGENT.c.id == agent_id).values(values))
    announce(transaction, "agent", agent_id)
    return agent_id


def as_claimant(transaction: Transaction, agent_id: str) -> Claimant | None:
    """
    Return an agent as who asks for runs, and note that it was heard of; None while it is paused.

    Raises:
        NotFound.
    """
    row = get_agent(transaction, agent_id)
    transaction.connection.execute(
        sa.update(_AGENT).where(_AGENT.c.id == agent_id).values(last_seen=transaction.now)
    )
    if row["paused"]:
        return None
    return Claimant(
        agent_id,
        row["name"],
        frozenset(row["labels"]),
        any_label=row["any_label"],
        run_limit=row["run_limit"],
    )


def get_agent(transaction: Transaction, agent_id: str) -> dict[str, Any]:
    """
    Return an agent, with the number of runs that it has.

    Raises:
        NotFound.
    """
    row = transaction.connection.execute(_agents().where(_AGENT.c.id == agent_id)).mappings().first()
    if row is None:
        raise NotFound("agent", agent_id)
    return dict(row)


def all_agents(transaction: Transaction) -> list[dict[str, Any]]:
    """Return all agents, each with the number of runs that it has, by name."""
    query = _agents().order_by(_AGENT.c.name, _AGENT.c.id)
    return [dict(row) for row in transaction.connection.execute(query).mappings()]


def list_agents(transaction: Transaction, request: PageRequest) -> Page:
    """Return a page of agents, by name."""
    sorts = {"name": [_AGENT.c.name, _AGENT.c.id], "last_seen": [_AGENT.c.last_seen, _AGENT.c.id]}
    return read_page(transaction, _agents(), request, sorts, "name")


def pause_agent(transaction: Transaction, agent_id: str, *, paused: bool) -> None:
    """
    Have an agent get no further runs, or get some again.

    Raises:
        NotFound.
    """
    changed = transaction.connection.execute(
        sa.update(_AGENT).where(_AGENT.c.id == agent_id).values(paused=paused, updated=transaction.now)
    )
    if changed.rowcount == 0:
        raise NotFound("agent", agent_id)
    announce(transaction, "agent", agent_id)


def _agents() -> sa.Select[Any]:
    run = tables.flow_run
    held = (
        sa.select(sa.func.count())
        .where(run.c.agent_id == _AGENT.c.id, run.c.lease_until.is_not(None))
        .scalar_subquery()
    )
    return sa.select(_AGENT, held.label("run_count"))
