"""Handing out what is due: each run to one agent, in the order in which runs are due (reliability 3.4)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tenuto._base.failpoints import failpoint
from tenuto.server.domain.labels import covers, labels_of_queue
from tenuto.server.domain.timings import Timings
from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.leases import new_token, token_digest
from tenuto.server.store.sql.stream import RunStream

__all__ = ["Claim", "Claimant", "claim", "due_queues"]


@dataclass(frozen=True, slots=True)
class Claimant:
    """
    An agent that asks for runs.

    Attributes:
        id: of the agent; None for one that is not registered.
        name: shown as the owner of its runs.
        labels: it takes runs whose labels these cover.
        any_label: it takes runs without labels as well.
        run_limit: at how many runs it is at once; 0: no limit of its own.
    """

    id: str | None
    name: str
    labels: Collection[str] = ()
    any_label: bool = False
    run_limit: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """
    A run that was handed out.

    Attributes:
        run: its row in `flow_run`, as it was before.
        epoch, token: the lease.
        attempt: how often the run was handed out.
        lease_until: until when the lease holds without a heartbeat.
    """

    run: dict[str, Any]
    epoch: int
    token: str
    attempt: int
    lease_until: datetime


def due_queues(transaction: Transaction) -> list[str]:
    """Return the queues that have due runs."""
    run = tables.flow_run
    query = sa.select(run.c.queue).where(run.c.state == "Scheduled", run.c.due <= transaction.now).distinct()
    return list(transaction.connection.execute(query).scalars())


def queues_for(queues: Iterable[str], claimant: Claimant) -> list[str]:
    """Return those of the queues that a claimant may take runs from."""
    return [
        queue
        for queue in queues
        if covers(claimant.labels, labels_of_queue(queue), any_label=claimant.any_label)
    ]


def claim(transaction: Transaction, claimant: Claimant, limit: int, timings: Timings) -> list[Claim]:
    """
    Hand out up to `limit` due runs, each with a lease of its own.

    PostgreSQL skips runs that another claim has locked, and locks no more than `limit`; SQLite has one
    writer.
    """
    queues = queues_for(due_queues(transaction), claimant)
    wanted = _room(transaction, claimant, limit) if queues else 0
    if wanted <= 0:
        return []
    run = tables.flow_run
    query = (
        sa.select(run)
        .where(run.c.state == "Scheduled", run.c.queue.in_(queues), run.c.due <= transaction.now)
        .order_by(run.c.due, run.c.id)
        .limit(wanted)
        .with_for_update(skip_locked=True)
    )
    rows = transaction.connection.execute(query).mappings().all()
    failpoint("claim.before_update")
    granted = [_grant(RunStream(transaction, dict(row)), claimant, timings) for row in rows]
    failpoint("claim.after_update")
    return granted


def _room(transaction: Transaction, claimant: Claimant, limit: int) -> int:
    """Return how many of `limit` runs a claimant has room for."""
    if not claimant.run_limit:
        return limit
    run = tables.flow_run
    query = sa.select(sa.func.count()).where(run.c.agent_id == claimant.id, run.c.lease_until.is_not(None))
    held: int = transaction.connection.execute(query).scalar_one()
    return min(limit, claimant.run_limit - held)


def _grant(run: RunStream, claimant: Claimant, timings: Timings) -> Claim:
    now, token = run.transaction.now, new_token()
    epoch, attempt = run.raise_epoch(), run.row["attempt"] + 1
    until = now + timings.lease
    run.set(
        attempt=attempt,
        owner=claimant.name,
        agent_id=claimant.id,
        token_digest=token_digest(token),
        lease_until=until,
        submit_until=now + timings.submit,
    )
    run.run_state("Submitted", message=f"Submitted for execution by {claimant.name}.", actor=claimant.name)
    run.write()
    return Claim(dict(run.row), epoch, token, attempt, until)
