"""Clusters and object stores that are there before the test is, so that they do not count as left behind."""

import pytest

from tests.fakes.clusters import dask_cluster, start_ray
from tests.fakes.object_stores import s3_environment, s3_url

__all__ = ["clusters", "s3_environment", "s3_url"]


@pytest.fixture(scope="session")
def clusters() -> None:
    """Have the two Dask workers and the Ray of `tests.fakes.clusters` running."""
    dask_cluster()
    start_ray()
