"""What the network does to batches on their way to a real server: the stream of the run is the same (I-4)."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import urllib3

from tenuto.journal.event import Event, Kind, encode_json
from tests.contracts.server_stores import run_state, task_state
from tests.fakes.postgres import PostgresServer
from tests.fakes.servers import TenutoServer
from tests.fault.harness.figures import figure
from tests.fault.harness.seeds import seeded, seeds_of
from tests.fault.harness.workers import Message

RUNS = 3
SENDERS = 4
TASKS = 10
BATCH_EVENTS_MAX = 5
COPIES = (1, 1, 2, 3)
LATE_BY_MAX = 2  # places in the order of sending
JSON = {"Content-Type": "application/json"}


class Answer(NamedTuple):
    """What the server said: 200 and how far it is, or the slug of the problem."""

    status: int
    slug: str
    acked: int


class Api:
    """A server, and what an agent and its workers ask of it."""

    def __init__(self, server: TenutoServer) -> None:
        self._url = f"{server.url}/api/v1"
        self._key = server.key
        self._pool = urllib3.PoolManager(maxsize=SENDERS, retries=False, timeout=30)
        self._post("/projects", {"name": "P"})
        self._flow = self._post("/flows", {"project": "P", "serialized_flow": {"name": "f"}})
        self._agent = self._post("/agents", {"name": "agent"})["id"]

    def _post(self, path: str, body: Any, token: str = "") -> Any:
        data, headers = json.dumps(body).encode(), {**JSON, "Authorization": f"Bearer {token or self._key}"}
        response = self._pool.request("POST", self._url + path, body=data, headers=headers)
        assert response.status in (200, 201), response.data
        return response.json()

    def new_run(self) -> None:
        self._post("/flow-runs", {"flow_group_id": self._flow["flow_group_id"]})

    def claim(self) -> Any:
        (claim,) = self._post(f"/agents/{self._agent}/claims", {"max": 1})
        return claim

    def release(self, claim: Any) -> None:
        path = f"/runs/{claim['flow_run']['id']}/release"
        self._post(path, {"epoch": claim["epoch"]}, claim["lease_token"])

    def send(self, message: Message) -> Answer:
        headers = {**JSON, "Authorization": f"Bearer {message.token}"}
        path = f"{self._url}/runs/{message.run_id}/events"
        response = self._pool.request("POST", path, body=message.body, headers=headers)
        told = response.json()
        slug = str(told.get("type", "")).removeprefix("urn:tenuto:problem:")
        return Answer(response.status, slug, told.get("acked", told.get("expected", 1) - 1))

    def stream(self, run_id: str) -> list[Any]:
        """Return the stream of a run, without what differs between runs: the server's times."""
        headers = {"Authorization": f"Bearer {self._key}"}
        response = self._pool.request("GET", f"{self._url}/flow-runs/{run_id}/events", headers=headers)
        told = [json.loads(line) for line in response.data.splitlines()]
        for each in told:
            if not each["event"].get("pseq"):
                del each["event"]["ts"]
        return told


def parts() -> list[list[Event]]:
    """Return what the run's first worker reports, before it gives the run back, and what the second does."""
    events = [run_state("Running", message="began"), task_state("slow", "Running")]
    for index in range(TASKS):
        events += [task_state("map", state, index) for state in ("Pending", "Running", "Success")]
        events.append(Event(kind=Kind.NOTE, message=f"after child {index}"))
    ending = [run_state("Running"), task_state("slow", "Running"), task_state("slow", "Success")]
    for index in range(TASKS):
        ending += [
            task_state("after", state, index) for state in ("Running", "Retrying", "Running", "Failed")
        ]
    return [events, [*ending, run_state("Success")]]


def whole(claim: Any, events: list[Event]) -> Message:
    """Return all that the worker of a claim reports, as one message."""
    for number, event in enumerate(events, 1):
        event.pseq, event.ts = number, 1_772_366_400_000_000 + number
    payloads = tuple(encode_json(event) for event in events)
    return Message(claim["flow_run"]["id"], claim["epoch"], claim["lease_token"], 1, payloads, tuple(events))


def part_of(message: Message, first: int, last: int) -> Message:
    payloads, events = message.payloads[first - 1 : last], message.events[first - 1 : last]
    return replace(message, first=first, payloads=payloads, events=events)


def batches(message: Message, choose: random.Random) -> Iterator[Message]:
    first = 1
    while first <= len(message.events):
        last = first + choose.randrange(BATCH_EVENTS_MAX)
        yield part_of(message, first, last)
        first = last + 1


def disordered(message: Message, older: Message | None, choose: random.Random) -> list[tuple[Message, str]]:
    """Return batches as a bad network delivers them, each with the slug of its refusal; empty: none."""
    under_way: list[tuple[float, Message, str]] = []
    for place, batch in enumerate(batches(message, choose)):
        troubles = [
            (part_of(message, max(1, batch.first - 2), batch.first), ""),
            (replace(batch, damage="cut"), "invalid-request"),
            (replace(batch, damage="changed"), "invalid-request"),
            (replace(batch, token="another"), "fenced"),
            (replace(batch, epoch=batch.epoch + choose.choice((-1, 1))), "fenced"),
        ]
        if older is not None:
            first = choose.randint(1, len(older.events))
            troubles.append((part_of(older, first, first + 2), "fenced"))
        given = [(batch, "")] * choose.choice(COPIES) + choose.sample(troubles, 2)
        under_way += [(place + choose.uniform(0, LATE_BY_MAX), *each) for each in given]
    under_way.sort(key=lambda each: each[0])
    return [(batch, slug) for _, batch, slug in under_way]


def deliver_badly(
    api: Api, message: Message, older: Message | None, choose: random.Random, tally: Counter[str]
) -> None:
    """Deliver a message as a bad network does, several parts at the same time; then what is missing."""
    sent = disordered(message, older, choose)
    with ThreadPoolExecutor(SENDERS) as senders:
        answers = list(senders.map(lambda each: api.send(each[0]), sent))
    for (batch, wanted), answer in zip(sent, answers, strict=True):
        if wanted or answer.slug != "gap":
            assert (answer.status == 200, answer.slug) == (not wanted, wanted), (answer, batch)
        tally[answer.slug] += 1
    acked = max(answer.acked for answer in answers if answer.slug in ("", "gap"))
    while acked < len(message.events):
        acked = api.send(part_of(message, acked + 1, acked + BATCH_EVENTS_MAX)).acked
        tally[""] += 1


def run_of(api: Api, deliver: Callable[[Api, Message, Message | None], None]) -> list[Any]:
    """Have a run begun by one worker and finished by another; return its stream."""
    api.new_run()
    beginning, ending = parts()
    claim = api.claim()
    begun = whole(claim, beginning)
    deliver(api, begun, None)
    api.release(claim)
    deliver(api, whole(api.claim(), ending), begun)
    return api.stream(begun.run_id)


def in_order(api: Api, message: Message, older: Message | None) -> None:
    assert api.send(message).acked == len(message.events)


def compare_streams(server: TenutoServer, store: str) -> None:
    api, tally, equal = Api(server), Counter[str](), 0
    wanted = run_of(api, in_order)
    assert len(wanted) > sum(len(events) for events in parts())
    for seed in seeds_of("delivery"):
        with seeded("delivery", seed) as choose:
            for _ in range(RUNS):
                got = run_of(api, partial(deliver_badly, choose=choose, tally=tally))
                assert got == wanted
                equal += 1
    refused = tally.total() - tally[""]
    figure("delivery", store=store, batches=tally.total(), equal_streams="100%", faults=refused)


def test_any_delivery_of_the_same_batches_gives_the_same_stream(tmp_path: Path) -> None:
    with TenutoServer(tmp_path / "home") as server:
        compare_streams(server, "sqlite")


def test_postgresql_gives_it_too(tmp_path: Path, postgres: PostgresServer) -> None:
    with postgres.database() as url, TenutoServer(tmp_path / "home", "--db", url) as server:
        compare_streams(server, "postgresql")
