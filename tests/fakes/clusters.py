"""Every executor of the product in its smallest real form; clusters start once, when a test asks for one."""

from __future__ import annotations

import atexit
import functools
import logging
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

from tenuto.executors import DaskExecutor, Executor, LocalDaskExecutor, LocalExecutor, RayExecutor


@functools.cache
def dask_cluster() -> Any:
    """Return a cluster of two workers with one thread each, in processes of their own."""
    from distributed.deploy import subprocess

    start: Any = subprocess.SubprocessCluster
    cluster: Any = start(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0")
    atexit.register(cluster.close)
    return cluster


def dask_executor() -> DaskExecutor:
    """Return an executor on that cluster."""
    return DaskExecutor(address=dask_cluster().scheduler_address)


@functools.cache
def start_ray() -> None:
    """Start Ray with two processors, in a folder of its own and without a dashboard."""
    import ray

    # Not below the test's own folder: the paths of Ray's sockets have to be short.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _temp_dir=folder,
        object_store_memory=1 << 30,
    )
    atexit.register(ray.shutdown)


def ray_executor() -> RayExecutor:
    """Return an executor on that Ray: it uses the connection of this process."""
    start_ray()
    return RayExecutor()


def threads() -> Executor:
    """Return an executor on two threads."""
    return LocalDaskExecutor(scheduler="threads", num_workers=2)


def processes() -> Executor:
    """Return an executor on two processes."""
    return LocalDaskExecutor(scheduler="processes", num_workers=2)


PLACES: dict[str, Callable[[], Executor]] = {
    "inline": LocalExecutor,
    "threads": threads,
    "processes": processes,
    "dask": dask_executor,
    "ray": ray_executor,
}
"""Where flows can run: by name, what makes an executor."""
