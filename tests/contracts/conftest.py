"""What the contracts are checked on: object stores, and both stores of a server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.server_stores import Clock, Server, postgresql_store, sqlite_store
from tests.fakes.object_stores import s3_environment, s3_url
from tests.fakes.postgres import PostgresServer

__all__ = ["clock", "s3_environment", "s3_url", "server"]


@pytest.fixture
def clock() -> Clock:
    """Give the clock of `server`."""
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def server(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock, postgres: PostgresServer
) -> Iterator[Server]:
    """Give each store with a flow in it."""
    if request.param == "sqlite":
        with sqlite_store(tmp_path, clock) as database:
            yield Server(database, clock)
    else:
        with postgresql_store(postgres, clock) as database:
            yield Server(database, clock)
