"""What the contract tests of the server's store run on: both databases, and a clock that they set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tenuto.journal.event import Event, Kind, encode_json
from tenuto.server.domain.timings import Timings
from tenuto.server.store.sql import claims, flows, ingest, leases, runs
from tenuto.server.store.sql.database import Database
from tenuto.server.store.sql.postgresql import PostgresqlDatabase
from tenuto.server.store.sql.schema import upgrade
from tenuto.server.store.sql.sqlite import SqliteDatabase
from tests.fakes.postgres import PostgresServer

TIMINGS = Timings()


class Clock:
    """
    A clock that tests set.

    Attributes:
        ahead: of it, by so much, is the clock on the wall.
    """

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return self.now

    def wall_ahead(self) -> timedelta:
        return self.ahead

    def advance(self, **units: float) -> None:
        self.now += timedelta(**units)


@contextmanager
def sqlite_store(folder: Path, clock: Clock) -> Iterator[Database]:
    """Give a migrated SQLite database in a file."""
    (folder / "store.db").write_bytes(migrated_file())
    database = SqliteDatabase(folder / "store.db", clock, wall_ahead=clock.wall_ahead)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def postgresql_store(postgres: PostgresServer, clock: Clock) -> Iterator[Database]:
    """Give a migrated PostgreSQL database."""
    with postgres.database(template=migrated_template(postgres)) as url:
        database = PostgresqlDatabase(url, clock)
        try:
            yield database
        finally:
            database.close()


@cache
def migrated_file() -> bytes:
    """Return a migrated SQLite database, made once: migrating takes longer than most tests."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        database = SqliteDatabase(path, Clock())
        upgrade(database.engine)
        database.close()
        return path.read_bytes()


@cache
def migrated_template(postgres: PostgresServer) -> str:
    """Return the name of a migrated PostgreSQL database that others are copied from."""
    postgres.execute("CREATE DATABASE migrated OWNER tenuto")
    database = PostgresqlDatabase(f"postgresql://tenuto@127.0.0.1:{postgres.port}/migrated", Clock())
    upgrade(database.engine)
    database.close()
    return "migrated"


class Server:
    """A store with a flow in it, and what programs ask of it."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self.clock = clock
        database.write(partial(flows.create_project, name="P"))
        registered = database.write(
            partial(flows.register, new=flows.NewVersion(project="P", serialized={"name": "f"}, digest="d"))
        )
        self.flow_id, self.group_id = registered.flow_id, registered.flow_group_id

    def new_run(self, *labels: str, due: datetime | None = None, **given: Any) -> str:
        """Make a run; return its id."""
        new = runs.NewRun(flow_id=self.flow_id, due=due or self.clock.now, labels=labels, **given)
        return self.database.write(partial(runs.create_run, new=new))[0]

    def claim(
        self, *labels: str, limit: int = 1, any_label: bool = False, name: str = "agent"
    ) -> list[claims.Claim]:
        """Claim runs as an agent with these labels."""
        claimant = claims.Claimant(None, name, frozenset(labels), any_label=any_label)
        return self.database.write(partial(claims.claim, claimant=claimant, limit=limit, timings=TIMINGS))

    def send(self, run_id: str, token: str, batch: ingest.Batch) -> ingest.Taken:
        """Report a batch."""
        return self.database.write(partial(ingest.ingest, run_id=run_id, token=token, batch=batch))

    def heartbeat(self, grant: claims.Claim) -> leases.Beat:
        """Extend a lease."""
        lease = leases.Lease(grant.epoch, grant.token)
        return self.database.write(
            partial(leases.heartbeat, run_id=grant.run["id"], lease=lease, timings=TIMINGS)
        )

    def sweep(self) -> list[str]:
        """Look for lost leases."""
        lost = self.database.read(partial(leases.lost_runs, timings=TIMINGS))
        take = partial(leases.take_away, timings=TIMINGS)
        return [run_id for run_id in lost if self.database.write(partial(take, run_id=run_id))]


def run_state(state: str, **fields: Any) -> Event:
    """Return an event of the run."""
    return Event(kind=Kind.RUN_STATE, state=state, **fields)


def task_state(slug: str, state: str, index: int = -1, **fields: Any) -> Event:
    """Return an event of a task run."""
    return Event(kind=Kind.TASK_STATE, slug=slug, index=index, state=state, **fields)


def body_of(epoch: int, first: int, events: list[Event]) -> bytes:
    """Return the request in which a worker reports events."""
    payloads = []
    for number, event in enumerate(events, first):
        event.pseq = number
        event.ts = event.ts or 1_772_366_400_000_000 + number
        payloads.append(encode_json(event))
    digest = hashlib.sha256(b"".join(payloads)).hexdigest().encode()
    return b'{"epoch":%d,"first":%d,"digest":"%b","events":[%b]}' % (
        epoch,
        first,
        digest,
        b",".join(payloads),
    )


def batch_of(epoch: int, first: int, *events: Event) -> ingest.Batch:
    """Return a batch of events."""
    return ingest.decode_batch(body_of(epoch, first, list(events)))
