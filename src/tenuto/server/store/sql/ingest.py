"""What workers report: batches of events, each taken in once and whole (reliability 3.2)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from tenuto._base.failpoints import failpoint
from tenuto.exceptions import PrefectException
from tenuto.journal.event import EVENT_BYTES_MAX, Event, Kind, decode_json, event_digest
from tenuto.server.domain.lifecycle import Author
from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.json import is_json, without_nul
from tenuto.server.store.sql.leases import Lease, check_lease, commands_for, hear_of_again
from tenuto.server.store.sql.stream import RunStream, open_run

__all__ = ["BadBatch", "Batch", "Conflict", "Gap", "RawBatch", "Taken", "decode_batch", "ingest"]

EVENTS_MAX = 500
_NUMBER_MAX = 2**63 - 1
Events = list[tuple[Event, msgspec.Raw]]
_OF_TASKS = (Kind.TASK_STATE, Kind.TASK_NAME)


class BadBatch(PrefectException, ValueError):
    """
    A batch is not what it says it is; none of it was taken in.

    Attributes:
        is_too_large: one of its events is.
    """

    def __init__(self, what: str, *, is_too_large: bool = False) -> None:
        self.is_too_large = is_too_large
        super().__init__(what)


class Gap(PrefectException, RuntimeError):
    """
    Events before those of the batch are missing; send from `expected` on.

    Attributes:
        expected: the number of the next event.
    """

    def __init__(self, expected: int) -> None:
        self.expected = expected
        super().__init__(f"Events are missing: the next one has the number {expected}.")


class Conflict(PrefectException, RuntimeError):
    """
    An event has the number of an earlier one and says something else: two processes use one lease.

    Attributes:
        pseq: its number.
    """

    def __init__(self, pseq: int) -> None:
        self.pseq = pseq
        super().__init__(f"Event {pseq} was reported before, and said something else.")


class RawBatch(msgspec.Struct, forbid_unknown_fields=True):
    """A batch as it is sent."""

    epoch: int
    first: int
    events: list[msgspec.Raw]
    digest: str


@dataclass(frozen=True, slots=True)
class Batch:
    """
    Events of one producer, in a row.

    Attributes:
        epoch: of the lease that they were made under.
        first: number of the first; those of the others follow it.
        events: decoded, each with the JSON that it came as.
    """

    epoch: int
    first: int
    events: Events


@dataclass(frozen=True, slots=True)
class Taken:
    """
    The answer to a batch.

    Attributes:
        acked: number of the producer's last event that is stored.
        seq: number of the run's last event.
        commands: what the worker is asked to do.
    """

    acked: int
    seq: int
    commands: list[dict[str, Any]]


_batches = msgspec.json.Decoder(RawBatch)


def decode_batch(body: bytes) -> Batch:
    """
    Return the batch of a request's body.

    Raises:
        BadBatch: if it is malformed, too large, out of order in itself, or not what its digest says.
    """
    try:
        raw = _batches.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadBatch(f"The batch is malformed: {error}") from error
    if raw.first < 1 or not raw.events:
        raise BadBatch("A batch has at least one event, and events are counted from 1.")
    if len(raw.events) > EVENTS_MAX:
        raise BadBatch(f"A batch has at most {EVENTS_MAX} events; this one has {len(raw.events)}.")
    events = []
    for number, payload in enumerate(raw.events, raw.first):
        data = bytes(payload)
        if len(data) > EVENT_BYTES_MAX:
            text = f"Event {number} has {len(data):,} bytes; the limit is {EVENT_BYTES_MAX:,}."
            raise BadBatch(text, is_too_large=True)
        data = without_nul(data)
        event = decode_json(data)
        if event is None or not is_json(data):
            raise BadBatch(f"Event {number} is malformed.")
        if event.pseq != number:
            raise BadBatch(f"Event {number} says that it is number {event.pseq}.")
        _check_fields(event)
        events.append((event, msgspec.Raw(data)))
    _check_digest(raw)
    return Batch(raw.epoch, raw.first, events)


def _check_fields(event: Event) -> None:
    """
    Check what the types of an event leave open.

    Raises:
        BadBatch: for a number that no column holds, or a task's event without a task.
    """
    length = event.result.length if event.result is not None else 0
    numbers = (event.index, event.run_count, event.children or 0, length)
    if not -_NUMBER_MAX <= min(numbers) <= max(numbers) <= _NUMBER_MAX:
        raise BadBatch(f"Event {event.pseq} has a number beyond 64 bits.")
    if event.kind in _OF_TASKS and not event.slug:
        raise BadBatch(f"Event {event.pseq} is a {event.kind} and names no task.")


def _check_digest(raw: RawBatch) -> None:
    """
    Check that the events are those that were sent.

    Raises:
        BadBatch: if they are not.
    """
    hashing = hashlib.sha256()
    for payload in raw.events:
        hashing.update(payload)
    if hashing.hexdigest() != raw.digest:
        raise BadBatch("The digest of the batch is not that of its events: it was changed on its way.")


def ingest(transaction: Transaction, run_id: str, token: str, batch: Batch) -> Taken:
    """
    Take in a batch, all or nothing; one that was taken in before changes nothing.

    Raises:
        UnknownRun, Fenced, Gap, Conflict.
        IllegalTransition: for an event whose state may not follow.
    """
    run = open_run(transaction, run_id)
    check_lease(run, Lease(batch.epoch, token))
    known: int = run.row["pseq"]
    _check_gap(batch, known)
    repeated, new = _split(batch, known)
    _check_repeated(run, repeated)
    failpoint("ingest.before_insert")
    if new:
        hear_of_again(run)
        run.load_tasks((event.slug, event.index) for event, _ in new if event.slug)
        for event, payload in new:
            run.append(event, Author.WORKER, payload=payload, pseq=event.pseq)
        known = new[-1][0].pseq
        run.set(pseq=known)
        run.write()
    failpoint("ingest.after_insert")
    return Taken(known, run.seq, commands_for(run))


def _check_gap(batch: Batch, known: int) -> None:
    """
    Check that a batch follows what is known.

    Raises:
        Gap: if events are missing between them.
    """
    if batch.first > known + 1:
        raise Gap(known + 1)


def _split(batch: Batch, known: int) -> tuple[Events, Events]:
    """Return those events of a batch that were taken in before, and those that are new."""
    repeated = max(known + 1 - batch.first, 0)
    return batch.events[:repeated], batch.events[repeated:]


def _check_repeated(run: RunStream, events: Events) -> None:
    """
    Compare events that are known with what is stored of them.

    Raises:
        Conflict: if one is another.
    """
    if not events:
        return
    event = tables.run_event
    query = sa.select(event.c.pseq, event.c.digest).where(
        event.c.run_id == run.id,
        event.c.epoch == run.row["epoch"],
        event.c.pseq.between(events[0][0].pseq, events[-1][0].pseq),
    )
    stored = {pseq: bytes(digest) for pseq, digest in run.transaction.connection.execute(query)}
    for repeated, payload in events:
        if stored.get(repeated.pseq) != event_digest(bytes(payload)):
            raise Conflict(repeated.pseq)
