"""The server is killed while workers report to it: nothing acknowledged is lost, nothing done twice."""

import time
from contextlib import suppress

import pytest

from tenuto._base.failpoints import Action, Failpoint
from tenuto.client.http import ServerUnreachable
from tests.fault.harness.figures import figure
from tests.fault.harness.seeds import seeded, seeds_of
from tests.fault.harness.servers import FaultServer, ServerEnded
from tests.fault.harness.stand_ins import register_flow
from tests.fault.harness.trial import Trial

# Each with the number of the last hit at which it may kill.
POINTS = {
    "ingest.before_insert": 20,
    "ingest.after_insert": 20,
    "store.before_commit": 40,
    "store.after_commit": 40,
    "claim.before_update": 10,
    "claim.after_update": 10,
    "heartbeat.before_commit": 5,
    "scheduler.between": 1,
    "sweep.mid_batch": 1,
    "recovery.checked": 1,
    "recovery.begun": 1,
    "recovery.refolded": 1,
    "recovery.scheduled": 1,
    "migration.before_commit": 1,
}
KILLS = 100
EVERY_MINUTE = {"type": "Schedule", "clocks": [{"type": "IntervalClock", "interval_seconds": 60.0}]}


@pytest.mark.parametrize("seed", seeds_of("kill9_points"))
def test_server_that_dies_at_any_point_loses_and_repeats_nothing(server: FaultServer, seed: int) -> None:
    with seeded("kill9_points", seed) as choose, Trial(server, seed) as trial:
        cells = [*POINTS]
        choose.shuffle(cells)
        for name in cells:
            server.kill()
            die_at(server, Failpoint(name, Action.KILL, nth=choose.randint(1, POINTS[name])))
            trial.start_again()
        told = trial.finish()
        figure("kill9", phase="points", kills=len(cells), **told)


def die_at(server: FaultServer, point: Failpoint) -> None:
    """Have the server kill itself at a point, at its start or later."""
    try:
        server.start(point)
    except ServerEnded:
        return
    if point.name == "scheduler.between":
        with suppress(ServerUnreachable):
            register_flow(server.address, "scheduled", EVERY_MINUTE)
    assert server.wait() == -9, server.errors


@pytest.mark.soak
@pytest.mark.parametrize("seed", seeds_of("kill9_any"))
def test_server_is_killed_a_hundred_times_while_eight_workers_report(
    server: FaultServer, seed: int, soak_seconds: float
) -> None:
    deadline = time.monotonic() + soak_seconds
    kills = 0
    with seeded("kill9_any", seed) as choose, Trial(server, seed) as trial:
        while kills < KILLS or time.monotonic() < deadline:
            trial.wait_for_events(choose.randint(0, 50))
            server.kill()
            kills += 1
            trial.start_again()
        told = trial.finish()
        figure("kill9", phase="any", kills=kills, **told)
