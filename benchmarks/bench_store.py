"""
How much does a server's store take, on SQLite and on PostgreSQL? Microseconds, and ratios to raw SQL.

Events: batches of 500, each decoded, checked, folded into the rows of task runs and committed durably, by
four producers at once, each with a run of its own; the budget of 10,000 a second is 100 us an event. The
floor puts the same rows into the same tables, made before, by the database's driver alone: one `executemany`
(SQLite) or `COPY` (PostgreSQL) a table, one commit a batch, and on PostgreSQL as many producers. Claims: runs
that are due, ten a call, by one agent; the floor is the update of their rows and the insert of their events,
ten a commit. Listing: the newest 50 of a million runs as the API lists them, against the last 50 by primary
key by the driver alone.

Held constant: a database of its own for each round, fsync on, the data in temporary files (TENUTO_BENCH_DIR).
"""

from __future__ import annotations

import hashlib
import itertools
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

from benchmarks.harness import Figure, figure, in_turns, main, scratch_folder, seconds
from tenuto.journal.event import Event, Kind, encode_json
from tenuto.server.clock import AnchoredClock
from tenuto.server.domain.timings import Timings
from tenuto.server.store.sql import claims, flow_runs, flows, ingest, runs, tables
from tenuto.server.store.sql.database import Database, Transaction
from tenuto.server.store.sql.flow_runs import RunFilter
from tenuto.server.store.sql.pages import PageRequest
from tenuto.server.store.sql.postgresql import PostgresqlDatabase
from tenuto.server.store.sql.schema import upgrade
from tenuto.server.store.sql.sqlite import SqliteDatabase
from tests.fakes.postgres import PostgresServer, postgres_server

BATCH = 500
PRODUCERS = 4
CLAIMS = 10
PAGE = 50
EVENT_US_MAX = 100.0
LISTING_MS_MAX = 50.0
TIMINGS = Timings()


def measure(quick: bool) -> list[Figure]:
    with scratch_folder() as folder, postgres_server() as server:
        stores: list[Store] = [Sqlite(folder), Postgresql(server)]
        return [
            *(one for store in stores for one in events(store, 4 if quick else 40, rounds=2 if quick else 7)),
            *(one for store in stores for one in claimed(store, 100 if quick else 2_000, 2 if quick else 5)),
            *(one for store in stores for one in listing(store, 5_000 if quick else 1_000_000)),
        ]


# ---------------------------------------------------------------------------------------------------- stores


class Sqlite:
    """Files in a folder."""

    name = "sqlite"

    def __init__(self, folder: Path) -> None:
        self._paths = (folder / f"{number}.db" for number in itertools.count())

    @contextmanager
    def prepared(self, prepare: Callable[[Database], Any]) -> Iterator[tuple[str, Any]]:
        """Give a database that others are copied from, and what was prepared in it."""
        path = next(self._paths)
        with closing(SqliteDatabase(path, AnchoredClock())) as database:
            upgrade(database.engine)
            given = prepare(database)
        yield str(path), given
        path.unlink()

    @contextmanager
    def copy(self, of: str) -> Iterator[str]:
        """Give a copy of a database."""
        path = next(self._paths)
        path.write_bytes(Path(of).read_bytes())
        yield str(path)
        for left in path.parent.glob(f"{path.name}*"):
            left.unlink()

    def open(self, place: str) -> Database:
        """Open a database as a server does."""
        return SqliteDatabase(Path(place), AnchoredClock())

    @contextmanager
    def driver(self, place: str) -> Iterator[sqlite3.Connection]:
        """Open a database by the driver alone, as durable as a server's."""
        with closing(sqlite3.connect(place, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            yield connection

    def put(self, connection: Any, rows: dict[str, list[tuple[Any, ...]]]) -> None:
        """Insert rows of tables, and commit."""
        connection.execute("BEGIN IMMEDIATE")
        for table, values in rows.items():
            marks = ", ".join("?" * len(values[0]))
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", values)
        connection.execute("COMMIT")


class Postgresql:
    """Databases of a server."""

    name = "postgresql"

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    @contextmanager
    def prepared(self, prepare: Callable[[Database], Any]) -> Iterator[tuple[str, Any]]:
        with self._server.database() as url:
            with closing(PostgresqlDatabase(url)) as database:
                upgrade(database.engine)
                given = prepare(database)
            yield url, given

    @contextmanager
    def copy(self, of: str) -> Iterator[str]:
        with self._server.database(template=of.rpartition("/")[2]) as url:
            yield url

    def open(self, place: str) -> Database:
        return PostgresqlDatabase(place)

    @contextmanager
    def driver(self, place: str) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(place) as connection:
            yield connection

    def put(self, connection: Any, rows: dict[str, list[tuple[Any, ...]]]) -> None:
        with connection.cursor() as cursor:
            for table, values in rows.items():
                with cursor.copy(f"COPY {table} FROM STDIN") as copy:
                    for row in values:
                        copy.write_row(row)
        connection.commit()


Store = Sqlite | Postgresql


def registered(database: Database) -> str:
    """Register a flow; return the id of its version."""
    database.write(partial(flows.create_project, name="P"))
    new = flows.NewVersion(project="P", serialized={"name": "f"}, digest="d")
    return database.write(partial(flows.register, new=new)).flow_id


def due_runs(database: Database, count: int) -> None:
    """Make runs that are due."""
    flow_id = registered(database)
    now = datetime.now(UTC)

    def make(transaction: Transaction) -> None:
        for _ in range(count):
            runs.create_run(transaction, runs.NewRun(flow_id=flow_id, due=now))

    database.write(make)


def claim_all(database: Database, limit: int) -> list[claims.Claim]:
    """Claim runs, so many a call, until there are none."""
    agent = claims.Claimant(None, "agent")
    work = partial(claims.claim, claimant=agent, limit=limit, timings=TIMINGS)
    found: list[claims.Claim] = []
    while granted := database.write(work):
        found += granted
    return found


# ---------------------------------------------------------------------------------------------------- events


def events(store: Store, batches: int, rounds: int) -> list[Figure]:
    """Measure what one event costs to take in."""
    each = batches // PRODUCERS
    count = PRODUCERS * each * BATCH

    def claimed_runs(database: Database) -> list[claims.Claim]:
        due_runs(database, PRODUCERS)
        return claim_all(database, PRODUCERS)

    with store.prepared(claimed_runs) as (template, granted):
        bodies = [batches_of(each) for _ in granted]

        def take_in(database: Database) -> None:
            def produce(claim: claims.Claim, batches: Sequence[bytes]) -> None:
                for body in batches:
                    batch = ingest.decode_batch(body)
                    work = partial(ingest.ingest, run_id=claim.run["id"], token=claim.token, batch=batch)
                    database.write(work)

            together(produce, granted, bodies)

        def taken() -> float:
            with store.copy(template) as place, closing(store.open(place)) as database:
                return seconds(partial(take_in, database)) / count * 1e6

        with store.copy(template) as place:
            with closing(store.open(place)) as database:
                take_in(database)
            with store.driver(place) as connection:
                stored = [rows_of(connection, claim.run["id"], each) for claim in granted]

        def inserted() -> float:
            with store.copy(template) as place, ExitStack() as stack:
                connections = [stack.enter_context(store.driver(place)) for _ in stored]

                def produce(connection: Any, rows: Sequence[dict[str, list[tuple[Any, ...]]]]) -> None:
                    for batch in rows:
                        store.put(connection, batch)

                return seconds(partial(together, produce, connections, stored)) / count * 1e6

        # SQLite has one writer: producers that wait for its lock by turns would measure the waiting.
        floor = (
            inserted if store.name == "postgresql" else partial(one_by_one, store, template, stored, count)
        )
        measured = in_turns({"taken": taken, "inserted": floor}, rounds)
    return [
        figure(
            f"event taken in, {BATCH} a batch, {store.name}",
            "us",
            measured["taken"],
            floor=measured["inserted"],
            floor_name="the same rows by the driver",
            median_max=EVENT_US_MAX,
        )
    ]


def one_by_one(store: Store, template: str, stored: Sequence[Sequence[Any]], count: int) -> float:
    """Return the microseconds an event that its rows take by one connection."""
    with store.copy(template) as place, store.driver(place) as connection:
        batches = [batch for of_run in stored for batch in of_run]
        return seconds(lambda: [store.put(connection, batch) for batch in batches]) / count * 1e6


def together(work: Callable[..., None], *arguments: Sequence[Any]) -> None:
    """Do work in threads, one for each of the arguments."""
    with ThreadPoolExecutor(len(arguments[0])) as pool:
        list(pool.map(work, *arguments))


def batches_of(count: int) -> list[bytes]:
    """Return batches of a run in which task after task runs and succeeds."""
    states = (("Running", "Success")[number % 2] for number in itertools.count())
    told = [Event(kind=Kind.RUN_STATE, state="Running")]
    told += [
        Event(kind=Kind.TASK_STATE, slug=f"task-{number // 2}", state=next(states))
        for number in range(count * BATCH - 1)
    ]
    payloads = []
    for number, event in enumerate(told, 1):
        event.pseq, event.ts = number, 1_790_000_000_000_000 + number
        payloads.append(encode_json(event))
    return [body_of(first + 1, payloads[first : first + BATCH]) for first in range(0, len(payloads), BATCH)]


def body_of(first: int, payloads: Sequence[bytes]) -> bytes:
    digest = hashlib.sha256(b"".join(payloads)).hexdigest().encode()
    body = b'{"epoch":1,"first":%d,"events":[%b],"digest":"%b"}'
    return body % (first, b",".join(payloads), digest)


def rows_of(connection: Any, run_id: str, batches: int) -> list[dict[str, list[tuple[Any, ...]]]]:
    """Return what batches have left of a run: the rows of each, by table."""
    mark = "?" if isinstance(connection, sqlite3.Connection) else "%s"
    told = connection.execute(
        f"SELECT * FROM run_event WHERE run_id = {mark} AND pseq IS NOT NULL ORDER BY seq", (run_id,)
    ).fetchall()
    tasks = connection.execute(f"SELECT * FROM task_run WHERE run_id = {mark}", (run_id,)).fetchall()
    share = -(-len(tasks) // batches)
    payload = [column.name for column in tables.run_event.columns].index("payload")
    if not isinstance(connection, sqlite3.Connection):
        told = [(*row[:payload], psycopg.types.json.Jsonb(row[payload]), *row[payload + 1 :]) for row in told]
    return [
        {
            "run_event": told[number * BATCH : (number + 1) * BATCH],
            "task_run": tasks[number * share : (number + 1) * share],
        }
        for number in range(batches)
    ]


# ---------------------------------------------------------------------------------------------------- claims


def claimed(store: Store, count: int, rounds: int) -> list[Figure]:
    """Measure what one claim costs, ten a call."""
    with store.prepared(partial(due_runs, count=count)) as (template, _):

        def claim() -> float:
            with store.copy(template) as place, closing(store.open(place)) as database:
                return seconds(partial(claim_all, database, CLAIMS)) / count * 1e6

        def update() -> float:
            with store.copy(template) as place, store.driver(place) as connection:
                ids = [run_id for (run_id,) in connection.execute("SELECT id FROM flow_run ORDER BY due, id")]
                connection.rollback()
                return seconds(partial(claim_raw, connection, ids)) / count * 1e6

        measured = in_turns({"claim": claim, "update": update}, rounds)
    return [
        figure(
            f"claim, {CLAIMS} a call, {store.name}",
            "us",
            measured["claim"],
            floor=measured["update"],
            floor_name="the same rows by the driver",
        )
    ]


def claim_raw(connection: Any, ids: Sequence[Any]) -> None:
    """Update runs and insert an event of each, ten a commit."""
    is_sqlite = isinstance(connection, sqlite3.Connection)
    mark = "?" if is_sqlite else "%s"
    now = time.time_ns() // 1000 if is_sqlite else datetime.now(UTC)
    update = (
        f"UPDATE flow_run SET state = 'Submitted', epoch = epoch + 1, attempt = 1, owner = 'agent', seq = 2,"
        f" token_digest = {mark}, lease_until = {mark}, submit_until = {mark} WHERE id = {mark}"
    )
    columns = "run_id, seq, epoch, kind, ts, recv_ts, payload, digest"
    insert = f"INSERT INTO run_event ({columns}) VALUES ({', '.join([mark] * 8)})"
    digest = bytes(32)
    for first in range(0, len(ids), CLAIMS):
        some = ids[first : first + CLAIMS]
        if is_sqlite:
            connection.execute("BEGIN IMMEDIATE")
        with closing(connection.cursor()) as cursor:
            cursor.executemany(update, [(digest, now, now, run_id) for run_id in some])
            cursor.executemany(
                insert, [(run_id, 2, 1, 0, now, now, '{"state":"Submitted"}', digest) for run_id in some]
            )
        connection.execute("COMMIT")


# --------------------------------------------------------------------------------------------------- listing


def listing(store: Store, count: int) -> list[Figure]:
    """Measure pages of a long list of runs: the 95th percentile of twenty, in milliseconds."""
    with store.prepared(partial(many_runs, store=store, count=count)) as (place, _):
        with closing(store.open(place)) as database, store.driver(place) as connection:
            if store.name == "postgresql":
                connection.autocommit = True  # type: ignore[union-attr]
            wanted = {
                "the newest": RunFilter(),
                "the newest that failed": RunFilter(states=("Failed",)),
                "the newest of a flow": RunFilter(flow_name="f"),
            }
            page = PageRequest(limit=PAGE)
            cases = {name: partial(p95, partial(pages, database, one, page)) for name, one in wanted.items()}
            query = f"SELECT * FROM flow_run ORDER BY id DESC LIMIT {PAGE}"
            cases["raw"] = partial(p95, lambda: connection.execute(query).fetchall())
            measured = in_turns(cases, rounds=7)
    return [
        figure(
            f"page of {PAGE} runs out of {count:,}: {name}, {store.name}",
            "ms",
            measured[name],
            floor=measured["raw"],
            floor_name="by the driver",
            median_max=LISTING_MS_MAX,
        )
        for name in wanted
    ]


def pages(database: Database, wanted: RunFilter, page: PageRequest) -> object:
    return database.read(lambda transaction: flow_runs.list_flow_runs(transaction, wanted, page))


def p95(work: Callable[[], object]) -> float:
    return statistics.quantiles((seconds(work) * 1e3 for _ in range(20)), n=20)[-1]


def many_runs(database: Database, store: Store, count: int) -> None:
    """Make runs that have ended, one in a hundred of them badly."""
    due_runs(database, 1)
    (known,) = claim_all(database, 1)
    columns = [column.name for column in tables.flow_run.columns]
    made: dict[str, str] = {
        "id": "printf('01900000-0000-7000-8000-%012x', number)"
        if store.name == "sqlite"
        else "('01900000-0000-7000-8000-' || lpad(to_hex(number), 12, '0'))::uuid",
        "state": "CASE WHEN number % 100 = 0 THEN 'Failed' ELSE 'Success' END",
        "lease_until": "NULL",
        "submit_until": "NULL",
        "due": "NULL",
    }
    chosen = ", ".join(made.get(name, f"known.{name}") for name in columns)
    series = (
        "RECURSIVE series(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM series WHERE number < :count)"
        if store.name == "sqlite"
        else "series AS (SELECT number FROM generate_series(1, :count) AS number)"
    )
    statement = sa.text(
        f"INSERT INTO flow_run ({', '.join(columns)}) WITH {series} "
        f"SELECT {chosen} FROM series, flow_run AS known WHERE known.id = :known"
    )
    with database.engine.begin() as connection:  # type: ignore[attr-defined]
        if store.name == "postgresql":
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        connection.execute(statement, {"known": known.run["id"], "count": count})
        connection.execute(sa.text("ANALYZE"))


if __name__ == "__main__":
    main(measure, __doc__)
