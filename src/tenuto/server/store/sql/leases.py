"""
Leases: who holds a run, and until when (reliability 3.4).

A lease is an epoch, which only grows, and a token, of which the store keeps the digest. Whoever writes to a
run shows both, and they are compared in the transaction of the write.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tenuto._base.failpoints import failpoint
from tenuto._base.ids import task_run_id
from tenuto.exceptions import PrefectException
from tenuto.journal.event import Event, Kind
from tenuto.server.domain.lifecycle import Author
from tenuto.server.domain.rescue import Rescue, after_loss
from tenuto.server.domain.timings import Timings
from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.stream import KINDS, RunStream, open_run

__all__ = [
    "Beat",
    "Fenced",
    "Lease",
    "check_lease",
    "commands_for",
    "crashed",
    "end_lease",
    "end_tasks",
    "hear_of_again",
    "heartbeat",
    "lose",
    "lost_runs",
    "new_token",
    "release",
    "take_away",
    "token_digest",
]

# States of task runs that a lost worker was at.
_AT_WORK = ("Running", "Looped", "Submitted", "Queued")
# Kinds of events that a run's state may come from.
_OF_RUN_STATES = [KINDS[kind] for kind in (Kind.RUN_STARTED, Kind.RUN_STATE, Kind.INCOMPLETE)]


class Fenced(PrefectException, RuntimeError):
    """
    Somebody else holds the run, or nobody does any more: the writer must stop.

    Attributes:
        epoch: the one in force.
    """

    def __init__(self, run_id: str, epoch: int) -> None:
        self.run_id, self.epoch = run_id, epoch
        super().__init__(f"The lease on flow run {run_id} is not this one any more: its epoch is {epoch}.")


@dataclass(frozen=True, slots=True)
class Lease:
    """What a writer shows: the epoch and the token that it was granted."""

    epoch: int
    token: str


@dataclass(frozen=True, slots=True)
class Beat:
    """
    The answer to a heartbeat.

    Attributes:
        lease_seconds: for how long the lease holds now, counted from the sending of the heartbeat.
        commands: what the worker is asked to do: each a dict with `command`.
        now: the server's time.
    """

    lease_seconds: float
    commands: list[dict[str, Any]]
    now: datetime


def new_token() -> str:
    """Return a token for a lease: 256 random bits."""
    return secrets.token_urlsafe(32)


def token_digest(token: str) -> bytes:
    """Return what the store keeps of a token."""
    return hashlib.sha256(token.encode()).digest()


def check_lease(run: RunStream, lease: Lease) -> None:
    """
    Let through only who holds the lease.

    Raises:
        Fenced: for another epoch, or another token: also an epoch can be granted twice, by a store that was
            restored from a backup.
    """
    if not (_is_in_force(run, lease.epoch) and _is_token_of(run, lease.token)):
        raise Fenced(run.id, run.row["epoch"])


def _is_in_force(run: RunStream, epoch: int) -> bool:
    return epoch == int(run.row["epoch"])


def _is_token_of(run: RunStream, token: str) -> bool:
    held, shown = bytes(run.row["token_digest"] or b""), token_digest(token)
    size = len(shown)
    # A run that was begun without a server may be announced by several: each has a token.
    return any(hmac.compare_digest(held[at : at + size], shown) for at in range(0, len(held), size))


def commands_for(run: RunStream) -> list[dict[str, Any]]:
    """Return what the worker of a run is asked to do."""
    cancel = [{"command": "cancel"}] if run.state == "Cancelling" else []
    return [*cancel, *run["commands"]]


def heartbeat(transaction: Transaction, run_id: str, lease: Lease, timings: Timings) -> Beat:
    """
    Extend a lease.

    A heartbeat after the end of the run is answered, and changes nothing (R-BE-113).

    Raises:
        UnknownRun, Fenced.
    """
    run = open_run(transaction, run_id)
    check_lease(run, lease)
    hear_of_again(run)
    if run.row["lease_until"] is not None or (run.row["is_local"] and run["end_time"] is None):
        run.set(lease_until=transaction.now + timings.lease)
        run.write()
    failpoint("heartbeat.before_commit")
    return Beat(timings.lease.total_seconds(), commands_for(run), transaction.now)


def lost_runs(transaction: Transaction, timings: Timings, after: str = "", limit: int = 100) -> list[str]:
    """Return the ids of runs whose lease has ended beyond the grace, or that never began, by id."""
    run = tables.flow_run
    query = sa.select(run.c.id).where(run.c.lease_until.is_not(None), _is_lost(transaction.now, timings))
    if after:
        query = query.where(run.c.id > after)
    return list(transaction.connection.execute(query.order_by(run.c.id).limit(limit)).scalars())


def take_away(transaction: Transaction, run_id: str, timings: Timings) -> bool:
    """
    Take a run away from its lost worker; return whether it still was lost.

    Any number of servers may do this at once: the run is looked at again under its lock.
    """
    failpoint("sweep.mid_batch")
    run = tables.flow_run
    still = sa.select(run.c.id).where(
        run.c.id == run_id, run.c.lease_until.is_not(None), _is_lost(transaction.now, timings)
    )
    if transaction.connection.execute(still.with_for_update()).first() is None:
        return False
    found = open_run(transaction, run_id)
    began = found.state != "Submitted"
    message = (
        f"Its worker ({found.row['owner'] or 'unknown'}) has not been heard of since the lease ran out: "
        "it was killed, its machine is gone, or the network between them."
        if began
        else f"It was claimed by {found.row['owner'] or 'an agent'} and never began."
    )
    lose(found, "lease-lost" if began else "submission", message)
    return True


def _is_lost(now: datetime, timings: Timings) -> sa.ColumnElement[bool]:
    run = tables.flow_run
    return sa.or_(run.c.lease_until < now - timings.grace, run.c.submit_until < now)


def lose(run: RunStream, cause: str, message: str) -> None:
    """
    Take a run away from its worker: to be claimed again where it may be rescued, else failed.

    What has finished stays finished. Runs that were cancelled meanwhile are cancelled.
    """
    decision = after_loss(
        state=run.state,
        policy=run.row["rescue"] or "on",
        rescues_left=run.row["rescues_left"],
        is_local=run.row["is_local"],
    )
    if run.row["is_local"]:
        # Nobody else can ever hold it, so nobody needs to be fenced: what its process, or its journal, still
        # has to tell is taken (`hear_of_again`).
        run.set(lease_until=None)
    else:
        end_lease(run)
    at_work = run.load_tasks_in(_AT_WORK) if decision is not Rescue.CANCEL else []
    if decision in (Rescue.AGAIN, Rescue.STAY):
        for slug, index in at_work:
            run.task_state(slug, index, "Retrying", cause="crashed", message=message)
    if decision is Rescue.AGAIN:
        run.run_state("Scheduled", cause=cause, message=f"Rescued. {message}")
        run.set(due=run.transaction.now, rescues_left=run.row["rescues_left"] - 1)
    elif decision is Rescue.STAY:
        run.append(Event(kind=Kind.NOTE, cause=cause, message=message), Author.SERVER)
    elif decision is Rescue.CANCEL:
        end_tasks(run, "Cancelled", cause=cause, message=message)
        run.run_state("Cancelled", cause=cause, message=message)
    else:
        for slug, index in at_work:
            run.task_state(slug, index, "Failed", cause="crashed", message=message)
        run.run_state("Failed", cause="crashed", message=message)
    run.write()


def hear_of_again(run: RunStream) -> None:
    """
    Put a run that was begun without the server, and was given up as lost, back to where its producer left it.

    Its process was only silent: a suspended machine, a network that was away. What it reports next follows
    what it reported last. That is a restart by its owner: nothing else leaves a final state (I-9).
    """
    event, connection = tables.run_event, run.transaction.connection
    if not run.row["is_local"] or run.state != "Failed" or run.row["cause"] != "crashed":
        return
    newest = sa.select(event.c.seq, event.c.pseq).where(event.c.run_id == run.id).order_by(event.c.seq.desc())
    if connection.execute(newest.where(event.c.kind.in_(_OF_RUN_STATES)).limit(1)).one().pseq is not None:
        return  # It was its producer that said so.
    last = connection.execute(newest.where(event.c.pseq.is_not(None)).limit(1)).scalar() or 0
    message = "Its process was heard of again."
    # Only a restart leaves a final state: this one is by the run's owner, whose process it is.
    run.run_state("Scheduled", Author.PERSON, message=message, actor=run.row["created_by"])
    run.run_state("Running", Author.WORKER, message=message)
    for slug, index in run.load_tasks_in(("Failed",), after=last):
        query = sa.select(event.c.payload).where(
            event.c.run_id == run.id,
            event.c.task_run_id == task_run_id(run.id, slug, index),
            event.c.pseq.is_not(None),
            event.c.kind == KINDS[Kind.TASK_STATE],
        )
        told = connection.execute(query.order_by(event.c.seq.desc()).limit(1)).scalar_one()
        counts = {name: told[name] for name in ("run_count", "loop_count") if name in told}
        run.task_state(slug, index, "Pending", Author.PERSON, message=message, **counts)
        for state in ("Running", "Looped") if told["state"] == "Looped" else (told["state"],):
            run.task_state(slug, index, state, Author.WORKER, message=message, **counts)


def end_lease(run: RunStream) -> None:
    """Raise the epoch of a run, so that whoever held it is fenced, and free its slots."""
    slot = tables.slot
    run.transaction.connection.execute(sa.delete(slot).where(slot.c.run_id == run.id))
    run.raise_epoch()
    run.set(
        token_digest=None,
        lease_until=None,
        submit_until=None,
        owner="",
        agent_id=None,
        commands=[],
    )


def end_tasks(
    run: RunStream, state: str, by: Author = Author.SERVER, *, cause: str = "", message: str = ""
) -> None:
    """Give all task runs that have not finished a final state."""
    unfinished = ("Pending", "Scheduled", "Resume", "Retrying", "Paused", *_AT_WORK)
    for slug, index in run.load_tasks_in(unfinished):
        run.task_state(slug, index, state, by, cause=cause, message=message)


def release(
    transaction: Transaction,
    run_id: str,
    lease: Lease,
    *,
    cause: str,
    message: str = "",
    due: datetime | None = None,
) -> None:
    """
    Give a run back to be claimed again: unstarted, drained, or waiting for a retry that is far away.

    This is no rescue, and costs none.

    Raises:
        UnknownRun, Fenced.
        IllegalTransition: when the run has ended.
    """
    run = open_run(transaction, run_id)
    check_lease(run, lease)
    end_lease(run)
    start = transaction.now if due is None else due - transaction.wall_ahead
    for slug, index in run.load_tasks_in(_AT_WORK):
        run.task_state(slug, index, "Retrying", cause=cause, message=message)
    run.run_state("Scheduled", cause=cause, message=message)
    run.set(due=start)
    run.write()


def crashed(transaction: Transaction, run_id: str, lease: Lease, message: str) -> bool:
    """
    Take a run away from a worker that its agent has seen end; return whether it had still held the run.

    Raises:
        UnknownRun, Fenced.
    """
    run = open_run(transaction, run_id)
    check_lease(run, lease)
    if run.row["lease_until"] is None:
        return False  # It had ended before.
    lose(run, "crashed", message)
    return True
