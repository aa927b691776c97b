"""
Workers that do no work: they claim runs, report what they would have done, and remember what they were told.

What the server has acknowledged to them is compared afterwards with what is stored.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec
import sqlalchemy as sa

from tenuto.client.configured import ServerAddress
from tenuto.client.http import HttpClient, RequestRefused, ServerUnreachable
from tenuto.journal.event import Event, event_digest
from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction
from tests.contracts.server_stores import body_of, run_state, task_state

__all__ = ["Execution", "Fleet", "Ledger", "Person", "judge_ledger"]

BATCH_MAX = 3
BEATS = 0.2
UNFINISHED = "/flow-runs?state=Scheduled,Submitted,Running&limit=1&flow_id="
PAUSE_SECONDS = 0.05
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Execution:
    """That a task was executed: `at` is monotonic."""

    run_id: str
    slug: str
    epoch: int
    at: float


@dataclass
class Ledger:
    """
    What workers and people were told, by all threads of a test.

    Attributes:
        made: runs whose making was acknowledged.
        grants: the agents that a lease was given to, by run and epoch.
        acked: digests of acknowledged events by their number, by run and epoch.
        succeeded: the epochs in which a task's Success was acknowledged.
        executions: of tasks, in the order in which they began.
        ended: runs whose end was acknowledged.
        fenced: how often a worker was told that its lease is over.
        unknown: how often the answer to a request was lost.
    """

    made: list[str] = field(default_factory=list)
    grants: defaultdict[tuple[str, int], list[str]] = field(default_factory=lambda: defaultdict(list))
    acked: defaultdict[tuple[str, int], dict[int, bytes]] = field(default_factory=lambda: defaultdict(dict))
    succeeded: dict[tuple[str, str], int] = field(default_factory=dict)
    executions: list[Execution] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    fenced: int = 0
    unknown: int = 0

    @property
    def events(self) -> int:
        """How many events were acknowledged."""
        return sum(len(numbers) for numbers in self.acked.values())


class Person:
    """
    Somebody who asks a server until it answers.

    Args:
        address: returns where it is.
        ledger: is told of lost answers.
        is_stopped: gives up when it is set.
    """

    def __init__(self, address: ServerAddress, ledger: Ledger, is_stopped: threading.Event) -> None:
        self._client = HttpClient(lambda: address)
        self._ledger = ledger
        self._is_stopped = is_stopped
        self._deadline = 0.0

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, method: str, path: str, body: Any = None, token: str = "") -> Any:
        """Send a request again and again until it is answered, and return the answer."""
        data = body if isinstance(body, bytes | None) else msgspec.json.encode(body)
        self._deadline = time.monotonic() + PATIENCE_SECONDS
        return self._client.request(method, f"/api/v1{path}", data, token=token, wait=self._wait)

    def _wait(self, seconds: float) -> bool:
        self._ledger.unknown += 1
        assert time.monotonic() < self._deadline, "The server has not come back."
        return not self._is_stopped.wait(min(seconds, PAUSE_SECONDS))


class Fleet:
    """
    Stand-in workers, a thread each.

    Args:
        address: of the server.
        count: how many.
        seed: of what they do.
        flow_id: of the runs that they finish before they end.
        makes_runs: whether they make new ones when none is due.
        tasks: slugs of the tasks that each run has.
        abandoned: the share of runs that they claim and do nothing about, as if their machine was lost.
        name: of their agents, with a number.
        ledger: of what they are told; default: one of their own.
        claims_max: how many runs they ask for at once.
    """

    def __init__(
        self,
        address: ServerAddress,
        count: int,
        *,
        seed: int,
        flow_id: str,
        makes_runs: bool = True,
        tasks: Sequence[str] = ("extract", "transform", "load"),
        claims_max: int = 2,
        abandoned: float = 0.02,
        name: str = "stand-in",
        ledger: Ledger | None = None,
    ) -> None:
        self.ledger = ledger or Ledger()
        self._name = name
        self.flow_id = flow_id
        self.makes_runs = makes_runs
        self.tasks = tasks
        self.abandoned = abandoned
        self.claims_max = claims_max
        self.is_ending = threading.Event()
        self._address = address
        self._is_stopped = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._work, args=(number, random.Random(seed + number)))
            for number in range(count)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._is_stopped.set()
        self.is_ending.set()
        for thread in self._threads:
            thread.join()

    def finish(self) -> None:
        """Have them make no new runs and finish those that are left; then they end."""
        self.is_ending.set()
        for thread in self._threads:
            thread.join()
        self.check()

    def check(self) -> None:
        """Raise what has gone wrong in one of them."""
        if self._errors:
            raise self._errors[0]

    def _work(self, number: int, choose: random.Random) -> None:
        person = Person(self._address, self.ledger, self._is_stopped)
        try:
            _StandIn(self, person, f"{self._name}-{number}", choose).work()
        except BaseException as error:  # noqa: BLE001  # raised again by the thread of the test
            if not (self._is_stopped.is_set() and isinstance(error, ServerUnreachable)):
                self._errors.append(error)
        finally:
            person.close()


class _StandIn:
    """One of them."""

    def __init__(self, fleet: Fleet, person: Person, name: str, choose: random.Random) -> None:
        self._fleet = fleet
        self._person = person
        self._name = name
        self._choose = choose
        self._ledger = fleet.ledger

    def work(self) -> None:
        """Claim runs and report them, until told to end and nothing is left."""
        agent = self._person.ask("POST", "/agents", {"name": self._name, "any_label": True})
        while True:
            wanted = {"max": self._choose.randint(1, self._fleet.claims_max), "wait_seconds": 0.05}
            granted = self._person.ask("POST", f"/agents/{agent['id']}/claims", wanted)
            for grant in granted:
                self._ledger.grants[grant["flow_run"]["id"], grant["epoch"]].append(self._name)
                if self._choose.random() < self._fleet.abandoned:
                    continue  # As a worker does whose machine is lost.
                self._execute(grant)
            if granted:
                continue
            if self._fleet.is_ending.is_set():
                # Runs that somebody has abandoned come back when their lease is over.
                if not self._person.ask("GET", UNFINISHED + self._fleet.flow_id)["items"]:
                    return
            elif self._fleet.makes_runs:
                for _ in range(self._choose.randint(1, 3)):
                    self._make_run()

    def _make_run(self) -> None:
        key = uuid.UUID(int=self._choose.getrandbits(128))
        made = self._person.ask("POST", "/flow-runs", {"flow_id": self._fleet.flow_id, "name": str(key)})
        self._ledger.made.append(made["flow_run"]["id"])

    def _execute(self, grant: dict[str, Any]) -> None:
        run_id, epoch, token = grant["flow_run"]["id"], grant["epoch"], grant["lease_token"]
        kept = self._kept(run_id) if epoch > 1 else set()
        worker = _Reporter(self._person, self._ledger, run_id, epoch, token, self._choose)
        try:
            worker.report(run_state("Running"))
            for slug in self._fleet.tasks:
                if slug in kept:
                    continue
                worker.report(task_state(slug, "Running"))
                self._ledger.executions.append(Execution(run_id, slug, epoch, time.monotonic()))
                if self._choose.random() < BEATS:
                    worker.beat()
                worker.report(task_state(slug, "Success"))
            worker.report(run_state("Success"), at_once=True)
        except RequestRefused as error:
            if error.slug != "fenced":
                raise
            self._ledger.fenced += 1
        else:
            self._ledger.ended.add(run_id)

    def _kept(self, run_id: str) -> set[str]:
        answer = self._person.ask("GET", f"/flow-runs/{run_id}/task-runs?limit=200")
        return {task["slug"] for task in answer["items"] if task["state"]["type"] == "Success"}


class _Reporter:
    """Sends the events of one lease, in batches of any size, some of them twice."""

    def __init__(
        self, person: Person, ledger: Ledger, run_id: str, epoch: int, token: str, choose: random.Random
    ) -> None:
        self._person = person
        self._ledger = ledger
        self._run_id, self._epoch, self._token = run_id, epoch, token
        self._choose = choose
        self._events: list[Event] = []
        self._acked = 0
        self._batch = choose.randint(1, BATCH_MAX)

    def report(self, event: Event, *, at_once: bool = False) -> None:
        event.ts = time.time_ns() // 1000
        self._events.append(event)
        if at_once or len(self._events) - self._acked >= self._batch:
            self._send()
            self._batch = self._choose.randint(1, BATCH_MAX)

    def beat(self) -> None:
        """Extend the lease."""
        self._person.ask("POST", f"/runs/{self._run_id}/heartbeat", {"epoch": self._epoch}, self._token)

    def _send(self) -> None:
        # Some begin before what is acknowledged: repeated events change nothing.
        first = self._choose.randint(max(1, self._acked - 1), self._acked + 1)
        batch = self._events[first - 1 :]
        body = body_of(self._epoch, first, batch)
        answer = self._person.ask("POST", f"/runs/{self._run_id}/events", body, self._token)
        assert answer["acked"] == len(self._events), answer
        for event, payload in zip(batch, msgspec.json.decode(body, type=_Sent).events, strict=True):
            self._ledger.acked[self._run_id, self._epoch][event.pseq] = event_digest(bytes(payload))
            if event.state == "Success" and event.slug:
                self._ledger.succeeded.setdefault((self._run_id, event.slug), self._epoch)
        self._acked = len(self._events)


class _Sent(msgspec.Struct):
    events: list[msgspec.Raw]


def judge_ledger(transaction: Transaction, ledger: Ledger) -> dict[str, int]:
    """
    Compare what was acknowledged with what is stored.

    Returns:
        `lost`: acknowledged events and runs that are not stored as they were; `double`: leases that two have,
        and ends that were reported twice; `reexecuted`: executions after an acknowledged Success.
    """
    event, run = tables.run_event, tables.flow_run
    query = sa.select(event).where(event.c.pseq.is_not(None))
    stored = {
        (row["run_id"], row["epoch"], row["pseq"]): bytes(row["digest"])
        for row in transaction.connection.execute(query).mappings()
    }
    known = set(transaction.connection.execute(sa.select(run.c.id)).scalars())
    lost = sum(run_id not in known for run_id in ledger.made)
    for (run_id, epoch), numbers in ledger.acked.items():
        lost += sum(stored.get((run_id, epoch, pseq)) != digest for pseq, digest in numbers.items())
    return {
        "lost": lost,
        "double": sum(len(names) > 1 for names in ledger.grants.values()),
        "reexecuted": sum(
            execution.epoch > ledger.succeeded.get((execution.run_id, execution.slug), execution.epoch)
            for execution in ledger.executions
        ),
    }


def register_flow(address: ServerAddress, name: str, schedule: Mapping[str, Any] | None = None) -> str:
    """Register a flow that stand-ins run, with a schedule in its serialized form; return its id."""
    client = HttpClient(lambda: address)
    try:
        project = msgspec.json.encode({"name": name})
        client.request("POST", "/api/v1/projects", project)
        flow = {"project": name, "serialized_flow": {"name": name, "schedule": schedule}}
        flow_id: str = client.request("POST", "/api/v1/flows", msgspec.json.encode(flow))["id"]
    finally:
        client.close()
    return flow_id
