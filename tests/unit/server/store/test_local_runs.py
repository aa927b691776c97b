"""Runs that began without the server: announced by anybody, held by nobody but their own process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import msgspec
import pytest
import sqlalchemy as sa

from tenuto.journal.event import Event, Header, Kind, encode_json
from tenuto.server.domain.timings import Timings
from tenuto.server.store.sql import adoption, ingest, leases, runs, tables
from tenuto.server.store.sql.ingest import Batch
from tenuto.server.store.sql.leases import Lease
from tenuto.server.store.sql.sqlite import SqliteDatabase
from tenuto.server.store.sql.stream import IllegalTransition

RUN = "01900000-0000-7000-8000-000000000001"
TIMINGS = Timings()
GRAPH = {"name": "sums", "parameters": [{"name": "x"}]}
HEADER = Header(
    v=1,
    flow_run_id=RUN,
    name="amber-otter",
    flow="sums",
    graph_sha256=hashlib.sha256(msgspec.json.encode(GRAPH)).hexdigest(),
)


class Store:
    """A store in memory, whose time is told by the test."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.database = SqliteDatabase(None, lambda: self.now)
        tables.metadata.create_all(self.database.engine)

    def adopt(self, *, alive: bool = True, graph: bool = True) -> adoption.Adopted:
        """Announce the run."""
        found = self.database.write(
            lambda transaction: adoption.adopt(
                transaction,
                HEADER,
                by="a test",
                graph=GRAPH if graph else None,
                is_alive=alive,
                timings=TIMINGS,
            )
        )
        assert found is not None
        return found

    def report(self, token: str, first: int, *events: Event) -> int:
        """Report events; return the number of the last."""
        for number, event in enumerate(events, first):
            event.pseq, event.ts = number, number * 1_000_000
        batch = Batch(1, first, [(event, msgspec.Raw(encode_json(event))) for event in events])
        return self.database.write(lambda transaction: ingest.ingest(transaction, RUN, token, batch)).acked

    def sweep(self) -> list[str]:
        """Let so much time pass that leases end, and look for those that did."""
        self.now += TIMINGS.lease + TIMINGS.grace + timedelta(seconds=1)
        lost = self.database.read(lambda transaction: leases.lost_runs(transaction, TIMINGS))
        take = partial(leases.take_away, timings=TIMINGS)
        return [run_id for run_id in lost if self.database.write(partial(take, run_id=run_id))]

    def beat(self, token: str) -> None:
        self.database.write(lambda transaction: leases.heartbeat(transaction, RUN, Lease(1, token), TIMINGS))

    def run(self) -> tuple[str, str, datetime | None]:
        """Return state, cause and end of the lease."""
        run = tables.flow_run
        query = sa.select(run.c.state, run.c.cause, run.c.lease_until)
        return tuple(self.database.read(lambda t: t.connection.execute(query).one()))

    def tasks(self) -> dict[str, tuple[str, int]]:
        """Return state and number of the attempt of each task run."""
        task = tables.task_run
        query = sa.select(task.c.slug, task.c.state, task.c.run_count)
        rows = self.database.read(lambda t: t.connection.execute(query).all())
        return {slug: (state, run_count) for slug, state, run_count in rows}

    def flows(self) -> list[tuple[int, dict[str, object], list[object]]]:
        """Return version, graph and parameters of each flow."""
        flow = tables.flow
        query = sa.select(flow.c.version, flow.c.serialized, flow.c.parameters)
        return [tuple(row) for row in self.database.read(lambda t: t.connection.execute(query).all())]


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store()
    yield made
    made.database.close()


def started() -> Event:
    return Event(kind=Kind.RUN_STARTED, header=HEADER)


def state(name: str) -> Event:
    return Event(kind=Kind.RUN_STATE, state=name)


def task(name: str, slug: str = "a-1", run_count: int = 1) -> Event:
    return Event(kind=Kind.TASK_STATE, slug=slug, state=name, run_count=run_count)


def test_graph_is_asked_for_until_it_is_known(store: Store) -> None:
    assert store.adopt(graph=False).is_graph_missing
    assert store.flows() == [(1, {}, [])]
    assert not store.adopt(graph=True).is_graph_missing
    assert store.flows() == [(1, GRAPH, [{"name": "x"}])]
    assert not store.adopt(graph=False).is_graph_missing
    assert store.flows() == [(1, GRAPH, [{"name": "x"}])]


def test_run_that_waits_or_has_ended_is_announced_without_a_lease(store: Store) -> None:
    token = store.adopt().token
    store.report(token, 1, started(), state("Running"), state("Paused"))
    store.adopt(alive=False)

    assert store.sweep() == []
    assert store.run() == ("Paused", "", None)


@pytest.mark.parametrize("by", ["events", "heartbeat"])
def test_run_that_was_given_up_goes_on_when_its_process_is_heard_of_again(store: Store, by: str) -> None:
    token = store.adopt().token
    events = [task("Running", "done-1"), task("Success", "done-1"), task("Running", run_count=2)]
    store.report(token, 1, started(), state("Running"), *events)
    assert store.sweep() == [RUN]
    assert store.run() == ("Failed", "crashed", None)
    assert store.tasks()["a-1"][0] == "Failed"

    if by == "heartbeat":
        store.beat(token)
        assert store.run() == ("Running", "", store.now + TIMINGS.lease)
        assert store.tasks() == {"done-1": ("Success", 1), "a-1": ("Running", 2)}
    assert store.report(token, 6, task("Success", run_count=2), state("Success")) == 7

    assert store.run() == ("Success", "", None)
    assert store.tasks() == {"done-1": ("Success", 1), "a-1": ("Success", 2)}


# R-BE-113
def test_run_that_told_of_its_own_crash_stays_ended_whatever_is_done_to_it_later(store: Store) -> None:
    token = store.adopt().token
    crash = Event(kind=Kind.RUN_STATE, state="Failed", cause="crashed")
    store.report(token, 1, started(), state("Running"), crash)
    store.database.write(partial(runs.rename, run_id=RUN, name="renamed", by="ada"))

    store.beat(token)
    store.report(token, 4, Event(kind=Kind.NOTE, message="late"))

    assert store.run() == ("Failed", "crashed", None)


@pytest.mark.parametrize("at", ["Running", "Looped"])
def test_task_goes_on_from_where_it_was_when_its_run_was_given_up(store: Store, at: str) -> None:
    token = store.adopt().token
    store.report(token, 1, started(), state("Running"), task("Running"), task("Looped"))
    if at == "Running":
        store.report(token, 5, task("Running"))
    store.sweep()

    following = ["Running", "Success"] if at == "Looped" else ["Looped", "Running", "Success"]
    first = 5 if at == "Looped" else 6
    store.report(token, first, *map(task, following), state("Success"))

    assert store.run()[0] == "Success"


def test_journal_of_a_killed_run_is_told_to_its_end_after_the_server_has_given_it_up(store: Store) -> None:
    token = store.adopt().token
    store.report(token, 1, started(), state("Running"), task("Running"))
    store.sweep()
    again = store.adopt(alive=False)
    assert again.acked == 3

    failed = [task("Success"), task("Running", "b-1"), task("Failed", "b-1")]
    store.report(again.token, 4, *failed, Event(kind=Kind.RUN_STATE, state="Failed", cause="crashed"))

    assert store.run() == ("Failed", "crashed", None)
    assert store.tasks() == {"a-1": ("Success", 1), "b-1": ("Failed", 1)}


def test_end_that_its_own_process_told_stays(store: Store) -> None:  # R-BE-113
    token = store.adopt().token
    crashed = Event(kind=Kind.RUN_STATE, state="Failed", cause="crashed")
    store.report(token, 1, started(), state("Running"), crashed)
    store.beat(token)
    assert store.run() == ("Failed", "crashed", None)
    with pytest.raises(IllegalTransition):
        store.report(token, 4, state("Running"))


def test_record_that_ends_early_tells_the_end_of_a_run_whose_start_was_lost(store: Store) -> None:
    token = store.adopt().token
    end = Event(kind=Kind.INCOMPLETE, state="Success", data={"reason": "no space left"})
    store.report(token, 1, started(), end)
    assert store.run()[0] == "Success"
