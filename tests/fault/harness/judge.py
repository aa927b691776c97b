"""
What the simulation expects of a store: reliability 3 read again, as a list of what was committed.

Nothing here asks the store.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from tenuto.journal.event import Event, Kind, event_digest
from tenuto.journal.states import FINAL_STATES
from tenuto.server.domain.lifecycle import Author, Entity, rows
from tenuto.server.domain.timings import Timings
from tenuto.server.store.sql.ingest import BadBatch, Conflict, Gap
from tenuto.server.store.sql.leases import Fenced
from tenuto.server.store.sql.runs import LeaseHeld
from tenuto.server.store.sql.stream import IllegalTransition
from tests.fault.harness.workers import Message

__all__ = ["Refusal", "Row", "Run", "Told"]

Refusal = type[Exception] | None
AT_WORK = ("Running", "Looped", "Submitted", "Queued")
UNFINISHED = ("Pending", "Scheduled", "Resume", "Retrying", "Paused", *AT_WORK)
TOKENS_MAX = 8
MAY = frozenset(rows())


def may(entity: Entity, current: str, new: str, by: Author) -> bool:
    return (entity, current, new, by) in MAY


class Told(NamedTuple):
    """An event of a stream: of a worker with its number and digest, of the server with neither."""

    epoch: int
    pseq: int | None
    digest: bytes
    slug: str
    state: str


class Row(NamedTuple):
    """What the row of a run says."""

    state: str
    seq: int
    epoch: int
    pseq: int
    attempt: int
    rescues_left: int
    lease_until: datetime | None
    submit_until: datetime | None
    due: datetime | None


@dataclass
class Run:
    """A run that was made, and all that became of it."""

    id: str
    due: datetime | None
    labels: frozenset[str] = frozenset()
    rescue: str = "on"
    rescues_left: int = 3
    state: str = ""
    epoch: int = 0
    pseq: int = 0
    attempt: int = 0
    tokens: list[str | None] = field(default_factory=list)
    lease_until: datetime | None = None
    submit_until: datetime | None = None
    is_local: bool = False
    times_heard_again: int = 0
    tasks: dict[str, str] = field(default_factory=dict)
    stream: list[Told] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.is_local:
            self.state, self.epoch, self.attempt = "Pending", 1, 1
            self.rescue, self.rescues_left = "off", 0
        else:
            self.tell("Scheduled")

    @property
    def row(self) -> Row:
        due = self.due if self.state == "Scheduled" else None
        return Row(
            *(self.state, len(self.stream), self.epoch, self.pseq, self.attempt, self.rescues_left),
            *(self.lease_until, self.submit_until, due),
        )

    @property
    def is_held(self) -> bool:
        return self.lease_until is not None

    @property
    def token(self) -> str | None:
        return self.tokens[-1] if self.tokens else None

    def is_due(self, now: datetime) -> bool:
        return self.state == "Scheduled" and self.due is not None and self.due <= now

    def is_lost(self, now: datetime, timings: Timings) -> bool:
        has_not_begun = self.submit_until is not None and self.submit_until < now
        return self.lease_until is not None and (self.lease_until < now - timings.grace or has_not_begun)

    # ---------------------------------------------------------------------------------------- what is refused

    def refusal_of_lease(self, epoch: int, token: str) -> Refusal:
        return None if epoch == self.epoch and token in self.tokens else Fenced

    def refusal_of_batch(self, message: Message) -> Refusal:
        if message.damage:
            return BadBatch
        if refusal := self.refusal_of_lease(message.epoch, message.token):
            return refusal
        if message.first > self.pseq + 1:
            return Gap
        known = {told.pseq: told.digest for told in self.stream if told.epoch == self.epoch}
        for number, payload in enumerate(message.payloads, message.first):
            if known.get(number, event_digest(payload)) != event_digest(payload):
                return Conflict
        return self._refusal_of_events(message.events[self.pseq + 1 - message.first :])

    def _refusal_of_events(self, events: Sequence[Event]) -> Refusal:
        after = copy.deepcopy(self)
        if events:
            after.heard_of()
        state, tasks = after.state, after.tasks
        for event in events:
            if event.kind is Kind.RUN_STATE:
                if not may("flow_run", state, event.state, Author.WORKER):
                    return IllegalTransition
                state = event.state
            elif event.kind is Kind.TASK_STATE:
                before = tasks.get(event.slug, "")
                has_begun = event.state != "Running" or state in ("Running", "Cancelling")  # R-BE-104
                is_legal = may("task_run", before, event.state, Author.WORKER)
                if state in FINAL_STATES or not has_begun or not is_legal:
                    return IllegalTransition
                tasks[event.slug] = event.state
        return None

    def refusal_of_release(self, epoch: int, token: str) -> Refusal:
        if refusal := self.refusal_of_lease(epoch, token):
            return refusal
        return None if may("flow_run", self.state, "Scheduled", Author.SERVER) else IllegalTransition

    def refusal_of_state(self, state: str) -> Refusal:
        if self.is_held:
            return LeaseHeld
        return None if may("flow_run", self.state, state, Author.PERSON) else IllegalTransition

    # ------------------------------------------------------------------------------------------- what is done

    def claimed(self, now: datetime, timings: Timings, token: str | None) -> None:
        """Hand it out; of an answer that was lost nobody has the token."""
        self.epoch += 1
        self.attempt += 1
        self.pseq = 0
        self.tokens = [token]
        self.lease_until, self.submit_until = now + timings.lease, now + timings.submit
        self.tell("Submitted")

    def taken(self, message: Message) -> None:
        """Add the events of a batch that are new."""
        if message.first + len(message.events) > self.pseq + 1:
            self.heard_of()
        for number in range(self.pseq + 1, message.first + len(message.events)):
            at = number - message.first
            event, digest = message.events[at], event_digest(message.payloads[at])
            self.stream.append(Told(self.epoch, number, digest, event.slug, event.state))
            self.pseq = number
            if event.kind is Kind.TASK_STATE:
                self.tasks[event.slug] = event.state
            elif event.kind is Kind.TASK_NAME:
                self.tasks.setdefault(event.slug, "")
            elif event.state:
                self._set_state(event.state)

    def given_back(self, due: datetime) -> None:
        self._end_lease()
        self._end_tasks(AT_WORK, "Retrying")
        self.tell("Scheduled")
        self.due = due

    def lost(self, now: datetime) -> None:
        """Take it away from its worker (R-BE-115)."""
        was = self.state
        if self.is_local:
            self.lease_until = None
        else:
            self._end_lease()
        may_go_on = self.rescue == "on" or (self.rescue == "only-before-start" and was == "Submitted")
        if was == "Cancelling":
            self._end_tasks(UNFINISHED, "Cancelled")
            self.tell("Cancelled")
        elif was == "Paused" and may_go_on:
            self._end_tasks(AT_WORK, "Retrying")
            self.tell("")
        elif may_go_on and self.rescues_left > 0:
            self._end_tasks(AT_WORK, "Retrying")
            self.tell("Scheduled")
            self.due, self.rescues_left = now, self.rescues_left - 1
        else:
            self._end_tasks(AT_WORK, "Failed")
            self.tell("Failed")

    def heard_of(self) -> None:
        """Put a run that its own process announced, and that was given up, back to where it was left."""
        ended_by = [told.pseq for told in self.stream if told.state and not told.slug]
        if not self.is_local or self.state != "Failed" or ended_by[-1] is not None:
            return
        reported = [at for at, told in enumerate(self.stream) if told.pseq is not None]
        since = reported[-1] + 1 if reported else 0
        given_up = {told.slug for told in self.stream[since:] if told.slug and told.state == "Failed"}
        left = {told.slug: told.state for told in self.stream[:since] if told.slug and told.state}
        self.times_heard_again += 1
        self.tell("Scheduled")
        self.tell("Running")
        for slug in given_up:
            self.tell("Pending", slug)
            if left[slug] == "Looped":
                self.tell("Running", slug)
            self.tell(left[slug], slug)

    def beaten(self, now: datetime, timings: Timings) -> None:
        self.heard_of()
        if self.is_held or (self.is_local and self.state not in FINAL_STATES):
            self.lease_until = now + timings.lease

    def announced(self, now: datetime, timings: Timings, token: str | None, *, is_alive: bool) -> None:
        self.tokens = [*self.tokens, token][-TOKENS_MAX:]
        if self.state not in FINAL_STATES:
            self.lease_until = now + timings.lease if is_alive else None

    def cancelled(self, *, force: bool) -> None:
        if self.state in FINAL_STATES:
            return
        if self.is_held and not force and self.state in ("Running", "Cancelling"):
            if self.state == "Running":
                self.tell("Cancelling")
            return
        self._end_lease()
        self._end_tasks(UNFINISHED, "Cancelled")
        self.tell("Cancelled")

    def set_by_hand(self, state: str, now: datetime) -> None:
        self._end_lease()
        if state in FINAL_STATES:
            self._end_tasks(UNFINISHED, "Cancelled")
        self.tell(state)
        if state == "Scheduled":
            self.due = now

    def started_now(self, now: datetime) -> None:
        self.tell("Scheduled")
        self.due = now

    def extended(self, by: timedelta, now: datetime, timings: Timings) -> None:
        if self.lease_until is not None:
            self.lease_until = min(self.lease_until + by, now + timings.lease + timings.grace)
        if self.submit_until is not None:
            self.submit_until = min(self.submit_until + by, now + timings.submit)

    def tell(self, state: str, slug: str = "") -> None:
        """Add an event of the server."""
        self.stream.append(Told(self.epoch, None, b"", slug, state))
        if slug:
            self.tasks[slug] = state
        elif state:
            self._set_state(state)

    def _set_state(self, state: str) -> None:
        self.state = state
        if state != "Submitted":
            self.submit_until = None
        if state in FINAL_STATES:
            self.lease_until = self.due = None

    def _end_lease(self) -> None:
        self.epoch += 1
        self.pseq = 0
        self.tokens = []
        self.lease_until = self.submit_until = None

    def _end_tasks(self, states: Sequence[str], state: str) -> None:
        for slug in [slug for slug, at in self.tasks.items() if at in states]:
            self.tell(state, slug)
