"""A server is killed while it brings its database up to date: all or nothing, and the next start does it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tenuto.server.store.sql import claims, runs, tables
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.postgresql import PostgresqlDatabase
from tenuto.server.store.sql.schema import upgrade
from tenuto.server.store.sql.sqlite import SqliteDatabase
from tests.contracts.server_stores import TIMINGS, Clock, Server
from tests.fakes.postgres import PostgresServer
from tests.fault.harness.figures import figure
from tests.fault.harness.seeds import seeded, seeds_of
from tests.fault.harness.servers import FORKED

SECONDS_MAX = 120.0
KILLS = [4, pytest.param(10_000, marks=pytest.mark.soak)]
Made = SqliteDatabase | PostgresqlDatabase
NewUrl = Callable[[], str]


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer) -> Iterator[NewUrl]:
    """Give what makes an empty database: the path of its file, or its URL."""
    with ExitStack() as stack:
        paths = iter(tmp_path / f"{number}.db" for number in range(10))
        if request.param == "sqlite":
            yield lambda: str(next(paths))
        else:
            yield lambda: stack.enter_context(postgres.database())


@pytest.mark.parametrize("kills", KILLS)
@pytest.mark.parametrize("seed", seeds_of("upgrade"))
def test_migration_killed_at_any_statement_leaves_the_database_empty_and_the_next_start_does_it(
    new_url: NewUrl, seed: int, kills: int
) -> None:
    # I-20
    with opened(new_url()) as scratch:
        whole = count_statements(scratch)
    url = new_url()
    with seeded("upgrade", seed) as choose:
        numbers = choose.sample(range(1, whole + 1), min(kills, whole))
        for number in numbers:
            assert code_of(url, number) == -signal.SIGKILL
            with opened(url) as database:
                assert sa.inspect(database.engine).get_table_names() == [], number
    assert code_of(url) == 0
    with opened(url) as database:
        assert works(database)
        store, count = database.engine.dialect.name, len(numbers)
    figure("upgrade", phase="first", store=store, statements=whole, kills=count, ok=count)


def test_upgrade_killed_at_any_statement_leaves_an_older_database_at_work(new_url: NewUrl) -> None:
    # I-20
    url = new_url()
    with opened(url) as database:
        upgrade(database.engine)
        database.write(lambda transaction: transaction.connection.execute(FORGET))
        assert works(database)
        before = database.read(rows)
    number = 0
    while code_of(url, number + 1) != 0:
        number += 1
        with opened(url) as database:
            assert database.read(rows) == before
            assert works(database)
            before = database.read(rows)
    with opened(url) as database:
        after = database.read(rows)
        assert works(database)
        store = database.engine.dialect.name
    figure("upgrade", phase="later", store=store, kills=number, ok=number)
    assert len(after.pop("transition")) > len(before.pop("transition"))
    assert after == before


FORGET = sa.delete(tables.transition).where(tables.transition.c.entity == "task_run")
"""What an older version has not known yet: of all tables, only this one is written at a start."""


@contextmanager
def opened(url: str) -> Iterator[Made]:
    """Give a database, opened as a server would."""
    database: Made
    if "://" in url:
        database = PostgresqlDatabase(url)
    else:
        database = SqliteDatabase(Path(url), Clock())
    try:
        yield database
    finally:
        database.close()


def count_statements(database: Made) -> int:
    """Bring a database up to date, and return how many statements that took."""
    count = 0

    def note(*_: Any) -> None:
        nonlocal count
        count += 1

    sa.event.listen(database.engine, "after_cursor_execute", note)
    upgrade(database.engine)
    return count


def code_of(url: str, number: int = 0) -> int | None:
    """Bring a database up to date in another process, killed behind so many statements; return its code."""
    process = FORKED.Process(target=_upgrade, args=(url, number))
    process.start()
    process.join(SECONDS_MAX)
    code = process.exitcode
    process.close()
    return code


def _upgrade(url: str, number: int) -> None:
    """Be the process."""
    left = number

    def note(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    with opened(url) as database:
        sa.event.listen(database.engine, "after_cursor_execute", note)
        upgrade(database.engine)


def works(database: Made) -> bool:
    """Say whether a database takes a run, and gives it to an agent."""
    known = database.read(lambda tx: tx.connection.execute(sa.select(tables.flow.c.id)).scalar())
    new = runs.NewRun(flow_id=known or Server(database, Clock()).flow_id, due=Clock().now)
    run_id, _ = database.write(partial(runs.create_run, new=new))
    claim = partial(claims.claim, claimant=claims.Claimant(None, "agent"), limit=10, timings=TIMINGS)
    return [grant.run["id"] for grant in database.write(claim)] == [run_id]


def rows(transaction: Transaction) -> dict[str, list[tuple[Any, ...]]]:
    """Return all that is in a database."""
    found = {}
    for name, table in tables.metadata.tables.items():
        query = sa.select(table).order_by(*table.primary_key.columns)
        found[name] = [tuple(row) for row in transaction.connection.execute(query)]
    return found
