"""How long the soak tests last."""

import os

import pytest

SOAK_MINUTES = 10.0


@pytest.fixture
def soak_seconds(request: pytest.FixtureRequest) -> float:
    """Return this test's share of `SOAK_MINUTES`, by the number of soak tests that are run."""
    tests = [item for item in request.session.items if item.get_closest_marker("soak") is not None]
    return float(os.environ.get("SOAK_MINUTES", SOAK_MINUTES)) * 60 / len(tests)
