"""How long the soak tests last, and the servers that are broken."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.fakes.postgres import PostgresServer
    from tests.fault.harness.servers import FaultServer

SOAK_MINUTES = 10.0


@pytest.fixture
def soak_seconds(request: pytest.FixtureRequest) -> float:
    """Return this test's share of `SOAK_MINUTES`, by the number of tests that share them."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    tests = [item for item in items if "soak_seconds" in item.fixturenames]
    return float(os.environ.get("SOAK_MINUTES", SOAK_MINUTES)) * 60 / len(tests)


@pytest.fixture(params=["sqlite", "postgresql"])
def server(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: "PostgresServer"
) -> Iterator["FaultServer"]:
    """Give a server on each store, to be started by the test; all that waits is a twentieth of what it is."""
    from tests.contracts.server_stores import migrated_template
    from tests.fault.harness.servers import FaultServer

    if request.param == "sqlite":
        with FaultServer(tmp_path / "home") as found:
            yield found
    else:
        with (
            postgres.database(template=migrated_template(postgres)) as url,
            FaultServer(tmp_path / "home", url) as found,
        ):
            yield found
