"""Workers of the simulation, and the messages in which they report."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field

from tenuto._base.datetimes import microseconds
from tenuto.journal.event import Event, Kind, encode_json
from tenuto.journal.states import FINAL_STATES
from tenuto.server.store.sql.leases import Lease
from tests.contracts.server_stores import Clock

__all__ = ["SLUGS", "Message", "Worker"]

SLUGS = ("a", "b", "c")
BEGIN = microseconds(Clock().now)
# How an honest worker goes on, by the state that a task run is in.
HONEST = {
    "": ("Running", "Pending", "Submitted", "Queued", "Cached", "Skipped"),
    "Pending": ("Running", "Submitted", "Scheduled", "TriggerFailed"),
    "Scheduled": ("Running", "Queued"),
    "Submitted": ("Running", "Queued"),
    "Queued": ("Running",),
    "Retrying": ("Running", "Cancelled", "Paused"),
    "Running": ("Success", "Failed", "Retrying", "Looped", "TimedOut", "Mapped", "Paused"),
    "Looped": ("Running", "Success"),
    "Paused": ("Resume", "Running"),
    "Resume": ("Running", "Skipped"),
    "Mapped": ("Mapped", "Failed"),
}
RUN_ENDS = ("Success", "Failed", "Cancelled", "TimedOut")


@dataclass(frozen=True)
class Message:
    """
    A batch on its way, which may arrive any number of times, at any time.

    Attributes:
        payloads: the events as JSON, numbered from `first`.
        damage: what happened to it on its way: `cut`, or `changed`.
    """

    run_id: str
    epoch: int
    token: str
    first: int
    payloads: tuple[bytes, ...]
    events: tuple[Event, ...]
    damage: str = ""

    @property
    def body(self) -> bytes:
        digest = hashlib.sha256(b"".join(self.payloads)).hexdigest().encode()
        events = b",".join(self.payloads)
        if self.damage == "changed":
            events = events.replace(b"{", b"{ ", 1)
        body = b'{"epoch":%d,"first":%d,"events":[%b],"digest":"%b"}'
        whole = body % (self.epoch, self.first, events, digest)
        return whole[: len(whole) // 2] if self.damage == "cut" else whole


@dataclass
class Worker:
    """
    A process that was granted a run, or began one; it knows its journal and what it was told, nothing else.
    """

    run_id: str
    epoch: int
    token: str
    tasks: dict[str, str]
    state: str = "Submitted"
    journal: list[tuple[bytes, Event]] = field(default_factory=list)
    acked: int = 0
    is_asked_to_cancel: bool = False
    has_stopped: bool = False

    @property
    def lease(self) -> Lease:
        return Lease(self.epoch, self.token)

    def go_on(self, choose: random.Random) -> None:
        """Do the next thing that an honest worker might do."""
        if self.state in FINAL_STATES or choose.random() < 0.1:
            self._write(Event(kind=Kind.NOTE, message=f"note {choose.random()}"))
        elif self.state != "Running":
            self._become("Running")
        elif self.is_asked_to_cancel:
            for slug in [slug for slug, state in self.tasks.items() if state == "Running"]:
                self._bring(slug, "Cancelled")
            self._become("Cancelled")
        elif choose.random() < 0.06:
            self._become(choose.choice(RUN_ENDS), cause=choose.choice(("", "crashed")))
        elif choose.random() < 0.06:
            self._become("Paused")
        else:
            self._go_on_with(choose.choice(SLUGS), choose)

    def _go_on_with(self, slug: str, choose: random.Random) -> None:
        if choose.random() < 0.1:
            self.tasks.setdefault(slug, "")
            self._write(Event(kind=Kind.TASK_NAME, slug=slug, data={"name": f"name {choose.random()}"}))
        elif following := HONEST.get(self.tasks.get(slug, "")):
            self._bring(slug, choose.choice(following))

    def _become(self, state: str, cause: str = "") -> None:
        self.state = state
        self._write(Event(kind=Kind.RUN_STATE, state=state, cause=cause))

    def _bring(self, slug: str, state: str) -> None:
        self.tasks[slug] = state
        self._write(Event(kind=Kind.TASK_STATE, slug=slug, state=state))

    def _write(self, event: Event) -> None:
        event.pseq = len(self.journal) + 1
        event.ts = BEGIN + event.pseq
        self.journal.append((encode_json(event), event))

    def message(self, first: int) -> Message:
        """Return all that follows a number."""
        payloads, events = zip(*self.journal[first - 1 :], strict=True)
        return Message(self.run_id, self.epoch, self.token, first, payloads, events)
