"""Agents claim what is due, all at once: each run goes to one of them, in due order, whoever else reads."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise

import psycopg
import pytest
import sqlalchemy as sa

from tenuto.server.store.sql import claims, flows, runs, tables
from tenuto.server.store.sql.database import Database, Transaction
from tests.contracts.server_stores import TIMINGS
from tests.fault.harness.check import check_store
from tests.fault.harness.figures import figure
from tests.fault.harness.intruders import foreign_readers
from tests.fault.harness.seeds import seeded, seeds_of
from tests.fault.harness.servers import FaultServer

CLAIMS_MAX = 10
QUEUES = (), ("gpu",), ("etl", "gpu")
DUE = [1_000, pytest.param(10_000, marks=pytest.mark.soak)]


@pytest.mark.parametrize("due", DUE)
@pytest.mark.parametrize("agents", [1, 8])
@pytest.mark.parametrize("seed", seeds_of("claimrace"))
def test_each_due_run_is_claimed_once_and_in_order_with_a_foreign_transaction_open_or_not(
    server: FaultServer, seed: int, agents: int, due: int
) -> None:
    with seeded("claimrace", seed) as choose, server.store() as store:
        alone = race(store, agents, due, choose)
        with foreign_transaction(server):
            beside = race(store, agents, due, choose)
        violations = store.read(check_store)
    for foreign, one in (("no", alone), ("yes", beside)):
        figure(
            "claimrace",
            store="postgresql" if server.settings.is_postgresql else "sqlite",
            foreign=foreign,
            agents=agents,
            due=due,
            claims_per_s=due / one.seconds,
            double=one.double,
            order_inversions=one.inversions,
            p99_claim_ms=1000 * one.quantile(0.99),
            slowdown=one.late / alone.late,
        )
        assert sorted(one.claimed) == sorted(one.made)
        assert (one.double, one.inversions) == (0, 0)
    assert violations == []


@dataclass
class Race:
    """
    What came of a race.

    Attributes:
        made: when the runs are due, by their ids.
        claimed: those that agents were given, as often as they were.
        inversions: how often an agent was given a run after one of the same queue that was due later.
        waits: seconds of each claim call that was given all that it wanted, in order.
    """

    made: dict[str, datetime]
    claimed: list[str] = field(default_factory=list)
    inversions: int = 0
    waits: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def double(self) -> int:
        """How many runs were given to two."""
        return sum(count > 1 for count in Counter(self.claimed).values())

    @property
    def late(self) -> float:
        """What a call takes towards the end, when nothing else is in its way."""
        return min(self.waits[-len(self.waits) // 4 :])

    def quantile(self, share: float) -> float:
        """Return how long a call took at most, but for so small a share of them."""
        return sorted(self.waits)[int(len(self.waits) * share)]


def race(store: Database, agents: int, due: int, choose: random.Random) -> Race:
    """Make runs that are due, and have agents claim them until nothing is left."""
    found = Race(make_due_runs(store, due, choose))
    start = threading.Barrier(agents + 1)

    def claim(number: int) -> None:
        claimant = claims.Claimant(None, f"agent-{number}", ["etl", "gpu"], any_label=True)
        work = partial(claims.claim, claimant=claimant, limit=CLAIMS_MAX, timings=TIMINGS)
        mine: list[tuple[str, datetime, str]] = []
        start.wait()
        while True:
            began = time.perf_counter()
            granted = store.write(work)
            if not granted:
                break
            if len(granted) == CLAIMS_MAX:
                found.waits.append(time.perf_counter() - began)
            for grant in granted:
                run_id: str = grant.run["id"]
                mine.append((grant.run["queue"], found.made[run_id], run_id))
        found.claimed += [run_id for *_, run_id in mine]
        # Of several queues, the runs that others hold while one agent looks may be due before those it gets.
        mine.sort(key=lambda one: one[0])
        found.inversions += sum(
            later < earlier
            for (queue, *earlier), (queue_of_next, *later) in pairwise(mine)
            if queue == queue_of_next
        )

    with ThreadPoolExecutor(agents) as pool:
        claiming = [pool.submit(claim, number) for number in range(agents)]
        start.wait()
        began = time.perf_counter()
        for one in claiming:
            one.result()
        found.seconds = time.perf_counter() - began
    return found


def make_due_runs(store: Database, count: int, choose: random.Random) -> dict[str, datetime]:
    """Make runs of several queues that have been due for up to a minute, in another order than that."""

    def make(transaction: Transaction) -> dict[str, datetime]:
        project = f"P{choose.getrandbits(64)}"
        flows.create_project(transaction, project)
        version = flows.NewVersion(project=project, serialized={"name": "f"}, digest="d")
        flow_id = flows.register(transaction, version).flow_id
        patterns = []
        for labels in QUEUES:
            new = runs.NewRun(flow_id=flow_id, due=transaction.now, labels=labels)
            patterns.append(runs.create_run(transaction, new)[0])
        ids = [str(uuid.UUID(int=choose.getrandbits(128))) for _ in range(count - len(patterns))]
        order = {run_id: choose.choice(patterns) for run_id in ids}
        copy(transaction, tables.flow_run, tables.flow_run.c.id, order, choose)
        copy(transaction, tables.run_event, tables.run_event.c.run_id, order, choose)
        copy(transaction, tables.feed, tables.feed.c.key, order, choose)
        run = tables.flow_run
        query = sa.select(run.c.id, run.c.due).where(run.c.flow_id == flow_id)
        return {row.id: row.due for row in transaction.connection.execute(query)}

    return store.write(make)


def copy(
    transaction: Transaction,
    table: sa.Table,
    key: sa.Column[str],
    patterns: Mapping[str, str],
    choose: random.Random,
) -> None:
    """Insert copies of the rows of some runs, by their ids: making them takes longer than the race."""
    query = sa.select(table).where(key.in_(set(patterns.values())))
    known = {row[key.name]: dict(row) for row in transaction.connection.execute(query).mappings()}
    rows = []
    for run_id, pattern in patterns.items():
        row = {**known[pattern], key.name: run_id}
        if table is tables.feed:
            del row["id"]
        if table is tables.flow_run:
            row["due"] = transaction.now - timedelta(minutes=choose.random())
        rows.append(row)
    transaction.connection.execute(sa.insert(table), rows)


@contextmanager
def foreign_transaction(server: FaultServer) -> Iterator[None]:
    """Have somebody else keep a transaction open, so that nothing that it may look at is cleared away."""
    if not server.settings.is_postgresql:
        with foreign_readers(server.settings.sqlite_path, 1, seconds_max=3600.0):
            yield
        return
    with psycopg.connect(server.settings.database) as connection:
        connection.execute("SET idle_in_transaction_session_timeout = 0")
        connection.commit()
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT count(*) FROM flow_run")
        yield
        connection.rollback()
