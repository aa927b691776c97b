"""What is there before a test is, so that it does not count as left behind: clusters, stores, a server."""

from collections.abc import Iterator

import pytest

from tests.fakes.clusters import dask_cluster, start_ray
from tests.fakes.object_stores import s3_environment, s3_url
from tests.fakes.servers import TenutoServer

__all__ = ["clusters", "s3_environment", "s3_url"]


@pytest.fixture(scope="session")
def clusters() -> None:
    """Have the two Dask workers and the Ray of `tests.fakes.clusters` running."""
    dask_cluster()
    start_ray()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TenutoServer]:
    """Give a server of its own home folder, shared by all tests: each finds its own runs in it."""
    with TenutoServer(tmp_path_factory.mktemp("server") / "home") as running:
        yield running
