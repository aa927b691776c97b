"""Two servers share one PostgreSQL: each due run is claimed once, though one of them dies meanwhile."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tenuto.server.store.sql import runs
from tests.contracts.server_stores import migrated_template
from tests.fakes.postgres import PostgresServer
from tests.fault.harness.figures import figure
from tests.fault.harness.seeds import seeded, seeds_of
from tests.fault.harness.servers import FaultServer
from tests.fault.harness.stand_ins import Fleet, Ledger, register_flow
from tests.fault.harness.trial import verdict

RUNS = 1_000
WORKERS = 3  # at each server


@pytest.fixture
def pair(tmp_path: Path, postgres: PostgresServer) -> Iterator[list[FaultServer]]:
    """Give two servers of one database, started."""
    with ExitStack() as stack:
        url = stack.enter_context(postgres.database(template=migrated_template(postgres)))
        yield [stack.enter_context(FaultServer(tmp_path / name, url)).start() for name in ("one", "two")]


@pytest.mark.parametrize("seed", seeds_of("two_servers"))
def test_due_runs_are_claimed_once_when_one_of_two_servers_is_killed(
    pair: list[FaultServer], seed: int
) -> None:
    flow_id = register_flow(pair[0].address, "due")
    make_due_runs(pair[0], flow_id, RUNS)
    ledger = Ledger()
    with seeded("two_servers", seed) as choose, ExitStack() as stack:
        fleets = [
            stack.enter_context(fleet_at(server, ledger, seed + number, flow_id))
            for number, server in enumerate(pair)
        ]
        when = choose.randint(RUNS // 4, RUNS // 2)
        while len(ledger.grants) < when:
            fleets[0].check()
            time.sleep(0.005)
        pair[1].kill()
        pair[1].start()
        for fleet in fleets:
            fleet.finish()
    told = verdict(pair[0], *fleets)
    claimed = {run_id for run_id, _ in ledger.grants}
    figure("two_servers", kills=1, due=RUNS, claimed=len(claimed), **told)
    assert len(claimed) == len(ledger.ended) == RUNS


@pytest.mark.parametrize("seed", seeds_of("rolling"))
def test_servers_that_are_restarted_in_turn_leave_nothing_undone(pair: list[FaultServer], seed: int) -> None:
    # R-BE-188
    flow_id = register_flow(pair[0].address, "rolled")
    make_due_runs(pair[0], flow_id, RUNS // 5)
    ledger = Ledger()
    codes = []
    for server in pair:
        server.divisor = 1.0  # Leases end only by mistake.
        server.kill()
        server.start()
    with seeded("rolling", seed) as choose, ExitStack() as stack:
        fleets = [
            stack.enter_context(fleet_at(server, ledger, seed + number, flow_id))
            for number, server in enumerate(pair)
        ]
        for server in pair:
            time.sleep(choose.uniform(0.0, 0.3))
            codes.append(server.terminate())
            server.start()
        for fleet in fleets:
            fleet.finish()
    told = verdict(pair[0], *fleets)
    figure("drain", what="rolling", faults=len(codes), exit0=codes.count(0), **told)
    assert codes == [0, 0], [server.errors for server in pair]
    assert told["rescues"] == 0
    assert len(ledger.ended) == RUNS // 5


def fleet_at(server: FaultServer, ledger: Ledger, seed: int, flow_id: str) -> Fleet:
    """Return workers that run what is due at a server."""
    options: dict[str, Any] = {"makes_runs": False, "tasks": (), "claims_max": 10, "abandoned": 0.0}
    options["name"] = server.home.name
    return Fleet(server.address, WORKERS, seed=seed, flow_id=flow_id, ledger=ledger, **options)


def make_due_runs(server: FaultServer, flow_id: str, count: int) -> None:
    """Make runs that are due, all at once."""
    with server.store() as store:
        store.write(
            lambda tx: [runs.create_run(tx, runs.NewRun(flow_id=flow_id, due=tx.now)) for _ in range(count)]
        )
