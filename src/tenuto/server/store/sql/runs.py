"""Making runs, and what people ask of them: cancel, restart, start now, set a state."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from tenuto._base.ids import new_flow_run_id
from tenuto._base.names import two_words
from tenuto.exceptions import PrefectException
from tenuto.journal.event import Event, Kind
from tenuto.journal.states import FINAL_STATES
from tenuto.server.domain.labels import queue_of
from tenuto.server.domain.lifecycle import Author
from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.flows import NotFound
from tenuto.server.store.sql.leases import end_lease, end_tasks
from tenuto.server.store.sql.stream import IllegalTransition, RunStream, open_run

__all__ = [
    "IdempotencyMismatch",
    "LeaseHeld",
    "NewRun",
    "VersionConflict",
    "cancel",
    "create_run",
    "relabel",
    "rename",
    "set_run_state",
    "set_task_state",
    "start_now",
]

_canonical = msgspec.json.Encoder(order="sorted")


class IdempotencyMismatch(PrefectException, ValueError):
    """
    The key was used for another run.

    Attributes:
        fields: in which the two differ.
    """

    def __init__(self, key: str, fields: list[str]) -> None:
        self.fields = fields
        differing = ", ".join(fields) or "a field"
        super().__init__(f"The idempotency key {key!r} was used for a run that differs in {differing}.")


class LeaseHeld(PrefectException, RuntimeError):
    """A worker holds the run: only it writes states; it must be asked instead."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"A worker is at flow run {run_id}: cancel the run instead, or wait for its end.")


class VersionConflict(PrefectException, RuntimeError):
    """
    The run has changed since the page was shown from which it was to be changed.

    Attributes:
        version, state: those that it has now.
    """

    def __init__(self, run: RunStream, expected: int) -> None:
        self.version, self.state = run.seq, run.state
        super().__init__(
            f"Flow run {run['name']} is at version {run.seq} ({run.state}), not at {expected} any more: look "
            "at it again."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """
    A run to be made.

    Attributes:
        flow_id: the version of the flow.
        id: of the run: work that is done again because nobody knows whether it was makes no second one.
        due: when it may start, at the earliest, by the clock on the wall.
        schedule_id, scheduled_for: the schedule that makes it, and the time of that.
        idempotency_key: of the request; one flow has one run of a key.
        rescue, rescues_left: the policy of the flow when its worker is lost.
    """

    flow_id: str
    due: datetime
    id: str = field(default_factory=new_flow_run_id)
    name: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    run_config: Mapping[str, Any] | None = None
    idempotency_key: str | None = None
    created_by: str = ""
    parent_flow_run_id: str | None = None
    parent_task_run_id: str | None = None
    schedule_id: str | None = None
    scheduled_for: datetime | None = None
    rescue: str = "on"
    rescues_left: int = 3


def create_run(transaction: Transaction, new: NewRun) -> tuple[str, bool]:
    """
    Make a run that waits for its time; return its id, and whether it is new.

    Raises:
        IdempotencyMismatch: when there is a run of this key that differs.
        NotFound: when there is no such flow.
    """
    run, now = tables.flow_run, transaction.now
    digest = None if new.idempotency_key is None else _payload_digest(new)
    if new.idempotency_key is not None:
        known = _run_of_key(transaction, new)
        if known is not None:
            return known, False
    values = {
        "id": new.id,
        "flow_id": new.flow_id,
        "name": new.name or two_words(),
        "queue": queue_of(new.labels),
        "due": new.due - transaction.wall_ahead,
        "scheduled_start_time": new.due,
        "scheduled_for": new.scheduled_for,
        "auto_scheduled": new.schedule_id is not None,
        "schedule_id": new.schedule_id,
        "parameters": dict(new.parameters),
        "context": dict(new.context),
        "labels": sorted(set(new.labels)),
        "run_config": None if new.run_config is None else dict(new.run_config),
        "idempotency_key": new.idempotency_key,
        "idempotency_digest": digest,
        "created_by": new.created_by,
        "parent_flow_run_id": new.parent_flow_run_id,
        "parent_task_run_id": new.parent_task_run_id,
        "rescue": new.rescue,
        "rescues_left": new.rescues_left,
        "created": now,
        "updated": now,
    }
    try:
        with transaction.connection.begin_nested():
            transaction.connection.execute(sa.insert(run).values(values))
    except sa.exc.IntegrityError:
        # Made meanwhile: by this very work, or by another transaction under the same key.
        if transaction.connection.execute(sa.select(run.c.id).where(run.c.id == new.id)).first():
            return new.id, True
        known = _run_of_key(transaction, new)
        if known is not None:
            return known, False
        flow = tables.flow
        if transaction.connection.execute(sa.select(flow.c.id).where(flow.c.id == new.flow_id)).first():
            raise
        raise NotFound("flow", new.flow_id) from None
    stream = open_run(transaction, new.id)
    stream.run_state("Scheduled", message="Flow run scheduled.", actor=new.created_by)
    stream.write()
    return new.id, True


def _run_of_key(transaction: Transaction, new: NewRun) -> str | None:
    """
    Return the run of a request's key, if there is one.

    Raises:
        IdempotencyMismatch: when it differs from what is asked for now.
    """
    run = tables.flow_run
    found = (
        transaction.connection.execute(
            sa.select(run).where(run.c.flow_id == new.flow_id, run.c.idempotency_key == new.idempotency_key)
        )
        .mappings()
        .first()
    )
    if found is None:
        return None
    if bytes(found["idempotency_digest"]) != _payload_digest(new):
        wanted = _payload(new)
        differing = [name for name, value in wanted.items() if value and found[name] != value]
        raise IdempotencyMismatch(new.idempotency_key or "", differing)
    run_id: str = found["id"]
    return run_id


def _payload(new: NewRun) -> dict[str, Any]:
    """Return what two requests with the same key must agree in; "now" is another moment each time."""
    return {
        "parameters": dict(new.parameters),
        "context": dict(new.context),
        "labels": sorted(set(new.labels)),
        "run_config": None if new.run_config is None else dict(new.run_config),
        "name": new.name,
    }


def _payload_digest(new: NewRun) -> bytes:
    return hashlib.sha256(_canonical.encode(_payload(new))).digest()


def cancel(
    transaction: Transaction,
    run_id: str,
    *,
    by: str,
    cause: str = "cancelled-by-user",
    message: str = "",
    force: bool = False,
) -> str:
    """
    Cancel a run; return its state then.

    One that a worker is at is asked to end, and becomes Cancelled when it has; with `force` the worker is
    fenced at once. One that has finished is left as it is.

    Raises:
        UnknownRun.
    """
    run = open_run(transaction, run_id)
    if run.state in FINAL_STATES:
        return run.state
    told = message or f"Cancelled by {by}."
    if run.row["lease_until"] is not None and not force:
        if run.state == "Cancelling":
            return run.state
        if run.state == "Running":
            run.run_state("Cancelling", cause=cause, message=told, actor=by)
            run.set(cancel_at=transaction.now)
            run.write()
            return run.state
    end_lease(run)
    end_tasks(run, "Cancelled", cause=cause, message=told)
    run.run_state("Cancelled", cause=cause, message=told, actor=by)
    run.set(cancel_at=transaction.now)
    run.write()
    return run.state


def rename(transaction: Transaction, run_id: str, name: str, *, by: str) -> None:
    """
    Give a run another name.

    Raises:
        UnknownRun.
    """
    run = open_run(transaction, run_id)
    run.append(Event(kind=Kind.RUN_NAME, data={"name": name}, actor=by), Author.PERSON)
    run.write()


def relabel(transaction: Transaction, run_id: str, labels: Iterable[str], *, by: str) -> None:
    """
    Give a run other labels: agents that cover those take it from now on.

    Raises:
        UnknownRun.
    """
    run, wanted = open_run(transaction, run_id), sorted(set(labels))
    message = f"Labels set by {by}: {', '.join(wanted) or 'none'}."
    run.append(Event(kind=Kind.NOTE, message=message, actor=by), Author.PERSON)
    run.set(labels=wanted, queue=queue_of(wanted))
    run.write()


def start_now(transaction: Transaction, run_id: str, *, by: str) -> None:
    """
    Make a waiting run due (R-BE-130).

    Raises:
        UnknownRun.
        IllegalTransition: for a run that does not wait for its time.
    """
    run = open_run(transaction, run_id)
    if run.state != "Scheduled":
        # The server may bring others there, too, when it takes them away from their workers.
        raise IllegalTransition("flow_run", run["name"], run.state, "Scheduled", None)
    run.run_state("Scheduled", message=f"Started by {by}.", actor=by)
    run.set(due=transaction.now)
    run.write()


def set_run_state(
    transaction: Transaction,
    run_id: str,
    state: str,
    *,
    by: str,
    message: str = "",
    with_tasks: bool = False,
    expected_version: int | None = None,
) -> RunStream:
    """
    Set the state of a run by hand.

    Args:
        state: one that the table lets a person set.
        by: who.
        message: why.
        with_tasks: give task runs that have not finished the same state; they get Cancelled otherwise.
        expected_version: number of the last event that is known; None: whatever it is.

    Raises:
        UnknownRun, IllegalTransition, VersionConflict.
        LeaseHeld: while a worker is at it.
    """
    run = _open_by_hand(transaction, run_id, expected_version)
    end_lease(run)
    if state in FINAL_STATES:
        end_tasks(run, state if with_tasks else "Cancelled", Author.PERSON, message=message)
    run.run_state(state, Author.PERSON, message=message or f"Set by {by}.", actor=by)
    if state == "Scheduled":
        run.set(due=transaction.now)
    run.write()
    return run


def set_task_state(
    transaction: Transaction,
    run_id: str,
    task_run_id: str,
    state: str,
    *,
    by: str,
    message: str = "",
    expected_version: int | None = None,
) -> None:
    """
    Set the state of a task run by hand.

    Args:
        state: one that the table lets a person set.
        by: who.
        message: why.
        expected_version: number of the run's last event that is known; None: whatever it is.

    Raises:
        UnknownRun, IllegalTransition, VersionConflict.
        NotFound: when the run has no such task run.
        LeaseHeld: while a worker is at it.
    """
    run = _open_by_hand(transaction, run_id, expected_version)
    table = tables.task_run
    query = sa.select(table.c.slug, table.c.map_index)
    query = query.where(table.c.run_id == run_id, table.c.task_run_id == task_run_id)
    found = transaction.connection.execute(query).first()
    if found is None:
        raise NotFound("task run", task_run_id)
    slug, index = found
    run.load_tasks([(slug, index)])
    run.task_state(slug, index, state, Author.PERSON, message=message or f"Set by {by}.", actor=by)
    run.write()


def _open_by_hand(transaction: Transaction, run_id: str, expected_version: int | None) -> RunStream:
    """Return the stream of a run that no worker is at, and that is as whoever changes it knows it."""
    run = open_run(transaction, run_id)
    if run.row["lease_until"] is not None:
        raise LeaseHeld(run_id)
    if expected_version is not None and expected_version != run.seq:
        raise VersionConflict(run, expected_version)
    return run
