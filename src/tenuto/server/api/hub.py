"""
What happens, told to those who follow: the feed is read once for all of them.

A message is what one event of a run, one chunk of logs or one change of something else comes to. Its id is
its place: the notice in the feed, and the number within it. Whoever comes back with the last id that they
have seen misses nothing and gets nothing twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
from starlette.concurrency import run_in_threadpool

from tenuto._base.ids import task_run_id
from tenuto.server.store.sql.database import Database, StoreUnavailable, Transaction
from tenuto.server.store.sql.feed import Cursor, Notice, feed_begin, feed_end, notices
from tenuto.server.store.sql.flow_runs import read_events
from tenuto.server.store.sql.pages import BadQuery

__all__ = ["RESYNC", "Hub", "Message", "Place"]

logger = logging.getLogger("tenuto.server")

LOOK_SECONDS = 1.0
WAITING_MAX = 10_000
_STATE_FIELDS = ("state", "message", "cause", "run_count", "start_time", "children", "seconds")


class Place(NamedTuple):
    """The place of a message: its notice in the feed, and its number within that."""

    xid: int = 0
    id: int = 0
    number: int = 0

    @classmethod
    def parse(cls, text: str) -> Place:
        """
        Return the place that a text names.

        Raises:
            BadQuery: if it names none.
        """
        try:
            place = cls(*(int(part) for part in text.split(".")))
        except (TypeError, ValueError):
            place = cls(-1)
        if not all(0 <= number < 2**63 for number in place):
            raise BadQuery(f"{text!r} is no place in the stream: give the id of the last message.")
        return place

    def __str__(self) -> str:
        return f"{self.xid}.{self.id}.{self.number}"


@dataclass(frozen=True, slots=True)
class Message:
    """
    Something that happened.

    Attributes:
        place: after which the next one comes.
        topics: those who follow one of them get it.
        event: what it is, such as `flow_run.state`.
        data: small JSON.
    """

    place: Place
    topics: frozenset[str]
    event: str
    data: dict[str, Any]

    def line(self) -> bytes:
        """Return the message as JSON."""
        return msgspec.json.encode({"id": str(self.place), "event": self.event, "data": self.data})


RESYNC = Message(Place(), frozenset(), "resync", {})
"""You have missed something: fetch anew what you show."""


@dataclass(eq=False, slots=True)
class _Subscriber:
    topics: set[str]
    queue: asyncio.Queue[Message] = field(default_factory=lambda: asyncio.Queue(WAITING_MAX))
    is_lost: bool = False


class Hub:
    """
    Reads the feed and hands on what is in it.

    Args:
        database: whose feed.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._subscribers: set[_Subscriber] = set()
        self._place = Cursor()
        self._woken = asyncio.Event()
        self._changed = asyncio.Event()
        self.is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self) -> None:
        """Read the feed until cancelled."""
        self._loop = asyncio.get_running_loop()
        self._database.on_commit = self._wake
        self._place = await run_in_threadpool(self._database.read, feed_end)
        while True:
            try:
                found = await run_in_threadpool(self._database.read, self._read)
            except StoreUnavailable:
                found = []  # It is told where requests fail; here it is looked for again.
            for notice, messages in found:
                self._place = notice.cursor
                self._publish(messages)
            if not found:
                await self._wait_for_more()

    @property
    def place(self) -> Cursor:
        """Up to where the feed was read."""
        return self._place

    def _wake(self) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._woken.set)

    async def _wait_for_more(self) -> None:
        try:
            # What other servers wrote is found by looking.
            async with asyncio.timeout(LOOK_SECONDS):
                await self._woken.wait()
        except TimeoutError:
            pass
        self._woken.clear()

    def _read(self, transaction: Transaction) -> list[tuple[Notice, list[Message]]]:
        return [(notice, _messages(transaction, notice)) for notice in notices(transaction, self._place)]

    def _publish(self, messages: Iterable[Message]) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        for message in messages:
            for subscriber in self._subscribers:
                if subscriber.is_lost or not subscriber.topics & message.topics:
                    continue
                try:
                    subscriber.queue.put_nowait(message)
                except asyncio.QueueFull:
                    # Who reads too slowly must not hold up the others, nor fill the memory.
                    subscriber.is_lost = True

    def close(self) -> None:
        """End all that follow: the server is about to stop."""
        self.is_closed = True
        self._changed.set()
        for subscriber in self._subscribers:
            subscriber.is_lost = True
            if not subscriber.queue.full():
                subscriber.queue.put_nowait(RESYNC)

    async def changed(self, seconds: float) -> bool:
        """Wait until something has changed, at most so long; return whether it has."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    @contextmanager
    def _subscribed(self, topics: set[str]) -> Iterator[_Subscriber]:
        subscriber = _Subscriber(topics)
        self._subscribers.add(subscriber)
        try:
            yield subscriber
        finally:
            self._subscribers.discard(subscriber)

    async def follow(
        self, topics: set[str], after: Place | None, idle_seconds: float
    ) -> AsyncIterator[Message | None]:
        """
        Yield what happens to some topics; None after each idle time, so that the way there stays open.

        Args:
            topics: may change meanwhile.
            after: the last message that is known; None: from now on.
            idle_seconds: how long nothing may come.
        """
        with self._subscribed(topics) as subscriber:
            upto = self._place
            if after is not None:
                async for message in self._replayed(topics, after, upto):
                    yield message
            while not (subscriber.is_lost or self.is_closed):
                try:
                    async with asyncio.timeout(idle_seconds):
                        message = await subscriber.queue.get()
                except TimeoutError:
                    yield None
                    continue
                if message.place[:2] > upto:
                    yield message
        if not self.is_closed:
            yield RESYNC

    async def _replayed(self, topics: set[str], after: Place, upto: Cursor) -> AsyncIterator[Message]:
        """Yield what came after a place and is in the feed already."""
        begin = await run_in_threadpool(self._database.read, feed_begin)
        # Numbers begin at 1: where that one is still there, nothing is missing.
        if begin.id > 1 and (after.xid, after.id) < begin:
            yield RESYNC
        # The notice that the place lies in is read again: more of it may follow.
        place = Cursor(after.xid, after.id - 1)
        while place < upto:
            read = _Reader(place)
            found = await run_in_threadpool(self._database.read, read)
            if not found:
                return
            for notice, messages in found:
                place = notice.cursor
                if place > upto:
                    return
                for message in messages:
                    if message.place > after and topics & message.topics:
                        yield message


@dataclass(frozen=True, slots=True)
class _Reader:
    place: Cursor

    def __call__(self, transaction: Transaction) -> list[tuple[Notice, list[Message]]]:
        return [(notice, _messages(transaction, notice)) for notice in notices(transaction, self.place, 100)]


def _messages(transaction: Transaction, notice: Notice) -> list[Message]:
    """Return what a notice comes to."""
    if notice.topic == "run" and notice.seq_to:
        return list(_run_messages(transaction, notice))
    place = Place(*notice.cursor, 1)
    if notice.topic == "logs":
        data = {"flow_run_id": notice.key, "from": notice.seq_from, "to": notice.seq_to}
        return [Message(place, frozenset({f"logs:{notice.key}"}), "log.appended", data)]
    if notice.topic == "run":
        topics = frozenset({"flow_runs", f"flow_run:{notice.key}"})
        return [Message(place, topics, "flow_run.created", {"flow_run_id": notice.key})]
    if notice.topic == "run.deleted":
        topics = frozenset({"flow_runs", f"flow_run:{notice.key}"})
        return [Message(place, topics, "flow_run.deleted", {"flow_run_id": notice.key})]
    topic = {"agent": "agents"}.get(notice.topic, "flows")
    return [Message(place, frozenset({topic}), f"{notice.topic}.changed", {"id": notice.key})]


def _run_messages(transaction: Transaction, notice: Notice) -> Iterable[Message]:
    count = notice.seq_to - notice.seq_from + 1
    rows = read_events(transaction, notice.key, notice.seq_from - 1, count)
    of_run = f"flow_run:{notice.key}"
    for number, (seq, _, text) in enumerate(rows, 1):
        told = msgspec.json.decode(text)
        kind, slug = told["kind"], told.get("slug", "")
        data: dict[str, Any] = {"flow_run_id": notice.key, "version": seq, "timestamp": told.get("ts")}
        data.update({name: told[name] for name in _STATE_FIELDS if name in told})
        topics = {of_run}
        if slug:
            index = told.get("index", -1)
            data.update(slug=slug, map_index=index, task_run_id=task_run_id(notice.key, slug, index))
        else:
            topics.add("flow_runs")
        event = {"run.started": "flow_run.started", "run.state": "flow_run.state"}.get(kind)
        event = event or {"task.state": "task_run.state", "run.name": "flow_run.renamed"}.get(kind, kind)
        if kind in ("run.name", "task.name"):
            data["name"] = told.get("data", {}).get("name", "")
        yield Message(Place(*notice.cursor, number), frozenset(topics), event, data)
