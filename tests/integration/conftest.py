"""Clusters that are there before the test is, so that they do not count as left behind by it."""

import pytest

from tests.fakes.clusters import dask_cluster, start_ray


@pytest.fixture(scope="session")
def clusters() -> None:
    """Have the two Dask workers and the Ray of `tests.fakes.clusters` running."""
    dask_cluster()
    start_ray()
