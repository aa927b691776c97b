"""Where task bodies run: one module per kind, beside the interface in `base`."""

from typing import TYPE_CHECKING

from tenuto._base.importtools import lazy_names
from tenuto.executors.base import Executor
from tenuto.executors.local import LocalExecutor

if TYPE_CHECKING:
    from tenuto.executors.dask import DaskExecutor, LocalDaskExecutor
    from tenuto.executors.processes import ProcessExecutor
    from tenuto.executors.ray import RayExecutor
    from tenuto.executors.threads import ThreadExecutor

__all__ = [
    "DaskExecutor",
    "Executor",
    "LocalDaskExecutor",
    "LocalExecutor",
    "ProcessExecutor",
    "RayExecutor",
    "ThreadExecutor",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "DaskExecutor": "tenuto.executors.dask",
        "LocalDaskExecutor": "tenuto.executors.dask",
        "ProcessExecutor": "tenuto.executors.processes",
        "RayExecutor": "tenuto.executors.ray",
        "ThreadExecutor": "tenuto.executors.threads",
    },
)
