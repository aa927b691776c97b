"""A server that is told to stop (SIGTERM) answers what it was asked, and ends in order; no run notices."""

import pytest

from tests.fault.harness.figures import figure
from tests.fault.harness.seeds import seeded, seeds_of
from tests.fault.harness.servers import FaultServer
from tests.fault.harness.trial import Trial

STOPS = 6


@pytest.mark.parametrize("seed", seeds_of("drain"))
def test_server_told_to_stop_under_load_ends_in_order_and_no_run_is_rescued(
    server: FaultServer, seed: int
) -> None:
    server.divisor = 1.0  # Leases end only by mistake.
    codes = []
    with seeded("drain", seed) as choose, Trial(server, seed, abandoned=0.0) as trial:
        for _ in range(STOPS):
            trial.wait_for_events(choose.randint(0, 30))
            codes.append(server.terminate())
            trial.start_again()
        told = trial.finish()
    figure("drain", faults=STOPS, exit0=codes.count(0), **told)
    assert codes == [0] * STOPS, server.errors
    assert told["rescues"] == 0
