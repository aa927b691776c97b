"""Others are at the database, too: who holds it up for seconds, and who reads for ever."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.server_stores import migrated_template
from tests.fakes.postgres import PostgresServer, postgres_server
from tests.fault.harness.figures import figure
from tests.fault.harness.intruders import foreign_readers, hold
from tests.fault.harness.seeds import seeded, seeds_of
from tests.fault.harness.servers import FaultServer
from tests.fault.harness.trial import Trial

READERS = 8
MB = 1 << 20


@pytest.fixture
def sqlite_server(tmp_path: Path) -> Iterator[FaultServer]:
    with FaultServer(tmp_path / "home", divisor=1.0) as found:
        yield found


@pytest.mark.parametrize("seed", seeds_of("busystorm"))
def test_foreign_readers_and_writers_of_the_file_delay_workers_and_fail_none(
    sqlite_server: FaultServer, seed: int
) -> None:
    path = sqlite_server.settings.sqlite_path
    with seeded("busystorm", seed) as choose, Trial(sqlite_server, seed, abandoned=0.0) as trial:
        with foreign_readers(path, READERS):
            for _ in range(3):
                hold(path, choose.uniform(0.1, 3.0))
                trial.wait_for_events(5)
            errors = trial.fleet.ledger.unknown
            hold(path, 6.0)  # Longer than the server waits: those who ask are told to come again.
            trial.wait_for_events(10)
            told = trial.finish()
        wal = path.with_name(path.name + "-wal").stat().st_size / MB
    figure("busystorm", faults=4, readers=READERS, errors_below_5_s=errors, wal_mb=wal, **told)
    assert errors == 0


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    with postgres_server() as found:
        yield found


@pytest.mark.parametrize("seed", seeds_of("pgrestart"))
def test_postgresql_that_crashes_and_throws_its_clients_out_loses_and_repeats_nothing(
    tmp_path: Path, own_postgres: PostgresServer, seed: int
) -> None:
    restarts = 3
    down = 0.0
    with own_postgres.database(template=migrated_template(own_postgres)) as url:
        with (
            FaultServer(tmp_path / "home", url) as server,
            seeded("pgrestart", seed) as choose,
            Trial(server, seed, abandoned=0.0) as trial,
        ):
            thrown_out = 0
            for _ in range(restarts):
                trial.wait_for_events(choose.randint(1, 20))
                thrown_out += own_postgres.terminate_backends(
                    url.rpartition("/")[2], limit=choose.randint(1, 3)
                )
                trial.wait_for_events(choose.randint(1, 20))
                began = time.monotonic()
                own_postgres.stop()
                time.sleep(choose.uniform(0, 1))
                own_postgres.start()
                trial.wait_for_events(1)
                down += time.monotonic() - began
            told = trial.finish()
    figure("pgrestart", faults=restarts, thrown_out=thrown_out, unavailable_s=down, **told)
