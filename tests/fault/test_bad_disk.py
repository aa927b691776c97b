"""The disk of the database is full, slow or broken: what is acknowledged is stored, and service resumes."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenuto.client.http import HttpClient, ServerUnreachable
from tests.fault.harness.disk import Disk
from tests.fault.harness.figures import figure
from tests.fault.harness.seeds import seeded, seeds_of
from tests.fault.harness.servers import DIVISOR, FaultServer
from tests.fault.harness.trial import Trial

RESERVE_BYTES = 16 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "home"
    folder.mkdir()
    with Disk(folder, tmp_path / "disk") as found:
        yield found


@pytest.fixture
def server(tmp_path: Path, disk: Disk) -> Iterator[FaultServer]:
    """Give a server whose database is on the bad disk."""
    with FaultServer(tmp_path / "home", divisor=1.0, env=disk.env) as found:
        yield found


@pytest.mark.parametrize("seed", seeds_of("disk_full"))
def test_full_disk_acknowledges_nothing_that_is_not_stored_and_is_over_when_it_is(
    server: FaultServer, disk: Disk, seed: int
) -> None:
    with seeded("disk_full", seed) as choose, Trial(server, seed, abandoned=0.0) as trial:
        trial.wait_for_events(20)
        reserve = server.home / "tenuto.db.reserve"
        assert reserve.stat().st_size == RESERVE_BYTES

        disk.fill(choose.randint(0, 1 << 16))
        trial.wait_for(lambda: not reserve.exists())
        trial.wait_for_events(20)  # The reserve lets runs go on.
        disk.fill()
        before = trial.fleet.ledger.unknown
        trial.wait_for(lambda: trial.fleet.ledger.unknown > before + 20)
        refused = problem_of(server)
        assert reads(server)

        freed = time.monotonic()
        disk.free()
        trial.wait_for_events(1)
        recovered = time.monotonic() - freed
        told = trial.finish()
    figure("diskfull", faults=disk.faults, acked_not_stored=told["lost"], recovered_s=recovered, **told)
    assert "full" in refused


@pytest.mark.parametrize("seed", seeds_of("disk_slow"))
def test_slow_disk_loses_nothing_and_keeps_leases(server: FaultServer, disk: Disk, seed: int) -> None:
    with seeded("disk_slow", seed) as choose, Trial(server, seed, abandoned=0.0) as trial:
        for _ in range(8):
            disk.slow_down(choose.uniform(0.05, 0.5))
            trial.wait_for_events(5)
        disk.slow_down(0)
        told = trial.finish()
    figure("slowdisk", faults=disk.faults, **told)
    assert told["rescues"] == 0


@pytest.mark.parametrize("seed", seeds_of("disk_broken"))
def test_server_whose_disk_fails_to_sync_ends_and_the_next_start_finds_what_was_acknowledged(
    server: FaultServer, disk: Disk, seed: int
) -> None:
    server.divisor = DIVISOR  # Runs whose claim was not answered come back when their lease is over.
    with seeded("disk_broken", seed) as choose, Trial(server, seed, abandoned=0.0) as trial:
        trial.wait_for_events(choose.randint(5, 40))
        disk.fail_next_sync()
        assert server.wait() == 74
        assert "The disk of the database has failed" in server.errors
        trial.start_again()
        told = trial.finish()
    figure("fsync_error", faults=disk.faults, **told)


def problem_of(server: FaultServer) -> str:
    """Return what the server says to somebody who wants to change something."""
    client = HttpClient(lambda: server.address)
    try:
        with pytest.raises(ServerUnreachable) as refused:
            client.request("POST", "/api/v1/projects", b'{"name":"one more"}')
    finally:
        client.close()
    return str(refused.value)


def reads(server: FaultServer) -> bool:
    """Say whether the server can be read from."""
    client = HttpClient(lambda: server.address)
    try:
        return bool(client.request("GET", "/api/v1/flow-runs")["items"])
    finally:
        client.close()
