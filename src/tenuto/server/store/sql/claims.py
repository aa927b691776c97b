"""Handing out what is due: each run to one agent, in the order in which runs are due (reliability 3.4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tenuto._base.failpoints import failpoint
from tenuto.server.domain.group_settings import GroupSettings
from tenuto.server.domain.labels import covers, labels_of_queue
from tenuto.server.domain.overlap import Admission, admit
from tenuto.server.domain.timings import Timings
from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.leases import new_token, token_digest
from tenuto.server.store.sql.runs import cancel
from tenuto.server.store.sql.stream import RunStream

__all__ = ["Claim", "Claimant", "claim", "runs_under_way", "waiting_queues"]

# Spelled out: with the state as a parameter, the index of what waits would not be found.
_WAITS = tables.flow_run.c.state == sa.literal_column("'Scheduled'")


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


def waiting_queues(transaction: Transaction) -> list[str]:
    """Return the queues in which runs wait for an agent."""
    query = _WAITING_QUEUES if transaction.is_postgresql else _WAITING_QUEUES_SQLITE
    return list(transaction.connection.execute(query).scalars())


# Each is looked up behind the one before: that takes no longer when many runs wait. SQLite would take the
# index of states for it, and read all of them.
_QUEUES = """
WITH RECURSIVE queues(queue) AS (
    SELECT '' UNION ALL SELECT (
        SELECT flow_run.queue FROM flow_run
        WHERE flow_run.state = 'Scheduled' AND flow_run.queue > queues.queue ORDER BY flow_run.queue LIMIT 1
    ) FROM queues WHERE queues.queue IS NOT NULL
) SELECT queue FROM queues WHERE queue <> ''
"""
_WAITING_QUEUES = sa.text(_QUEUES)
_WAITING_QUEUES_SQLITE = sa.text(
    _QUEUES.replace("FROM flow_run\n", "FROM flow_run INDEXED BY ix_flow_run_claims\n")
)


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

    PostgreSQL skips runs that another claim has locked, and locks no more than `limit` at a time; SQLite has
    one writer. Runs of flows that let no more of them run are passed over, dropped, or take the place of
    others (R-BE-72).
    """
    queues = queues_for(waiting_queues(transaction), claimant)
    wanted = _room(transaction, claimant, limit) if queues else 0
    granted: list[Claim] = []
    full: set[str] = set()
    while wanted > len(granted):
        due = _due(transaction, queues, wanted - len(granted), full)
        failpoint("claim.before_update")
        new = [_grant(run, claimant, timings) for run, settings in due if _is_admitted(run, settings, full)]
        failpoint("claim.after_update")
        granted += new
        if len(new) == len(due):
            break  # Nobody was passed over, so that nobody waits behind.
    return granted


def _due(
    transaction: Transaction, queues: Collection[str], limit: int, full: Collection[str]
) -> list[tuple[RunStream, GroupSettings]]:
    """Return due runs, locked, with the settings of their flows; but those of flows that are full."""
    run, flow, group = tables.flow_run, tables.flow, tables.flow_group
    query = (
        sa.select(run, flow.c.flow_group_id, group.c.settings)
        .join(flow, flow.c.id == run.c.flow_id)
        .join(group, group.c.id == flow.c.flow_group_id)
        .where(_WAITS, run.c.due <= transaction.now)
        .order_by(run.c.due, run.c.id)
    )
    if full:
        query = query.where(flow.c.flow_group_id.not_in(full))
    locked = query.with_for_update(skip_locked=True, of=run)
    rows: list[sa.RowMapping] = []
    for queue, count in _shares(transaction, query, queues, limit).items():
        of_queue = locked.where(run.c.queue == queue).limit(count)
        rows += transaction.connection.execute(of_queue).mappings()
    rows.sort(key=lambda row: (row["due"], row["id"]))
    return [(RunStream(transaction, dict(row)), GroupSettings.read(row["settings"])) for row in rows]


def _shares(
    transaction: Transaction, query: sa.Select[Any], queues: Collection[str], limit: int
) -> Mapping[str, int]:
    """
    Return how many of the runs that are due first are in each queue.

    The index holds the runs of one queue in due order. Asked for several at once, a database would read and
    sort all that is due.
    """
    if len(queues) == 1:
        return dict.fromkeys(queues, limit)
    run = tables.flow_run
    first = query.with_only_columns(run.c.due, run.c.id).limit(limit)
    found = [
        (due, id_, queue)
        for queue in queues
        for due, id_ in transaction.connection.execute(first.where(run.c.queue == queue))
    ]
    return Counter(queue for _, _, queue in sorted(found)[:limit])


def _is_admitted(run: RunStream, settings: GroupSettings, full: set[str]) -> bool:
    """
    Say whether a run may start beside those of its flow that are under way; carry out what follows if not.

    Args:
        full: the flows that let no more runs start; this one is added where it is one of them.
    """
    at_once, group_id = settings.runs_at_once, run.row["flow_group_id"]
    if not at_once:
        return True
    if group_id in full:
        return False
    # Of two agents that claim at once, the second must see what the first was granted. It does not wait for
    # it, as it holds runs itself: it looks again in a second.
    group = tables.flow_group
    lock = sa.select(group.c.id).where(group.c.id == group_id).with_for_update(skip_locked=True)
    if run.transaction.connection.execute(lock).first() is None:
        full.add(group_id)
        return False
    under_way = runs_under_way(run.transaction, group_id)
    decision = admit(
        overlap=settings.overlap,
        runs_at_once=at_once,
        under_way=len(under_way),
        is_scheduled=run.row["auto_scheduled"],
    )
    if decision is Admission.START:
        return True
    if decision is Admission.SKIP:
        message = f"{len(under_way)} runs of its flow were under way, and their overlap is 'skip'."
        run.run_state("Cancelled", cause="limit", message=message)
        run.write()
        return False
    full.add(group_id)
    if decision is Admission.REPLACE:
        for run_id in under_way:
            message = f"Run {run.row['name']} takes its place."
            cancel(run.transaction, run_id, by="schedule", cause="limit", message=message)
    return False


def runs_under_way(transaction: Transaction, group_id: str) -> list[str]:
    """Return the runs of a flow that somebody is at."""
    run, flow = tables.flow_run, tables.flow
    query = (
        sa.select(run.c.id)
        .join(flow, flow.c.id == run.c.flow_id)
        .where(run.c.lease_until.is_not(None), flow.c.flow_group_id == group_id)
        .order_by(run.c.id)
    )
    return list(transaction.connection.execute(query).scalars())


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
