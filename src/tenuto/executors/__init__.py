"""Where task bodies run: one module per kind, beside the interface in `base`."""

from tenuto.executors.base import Executor
from tenuto.executors.local import LocalExecutor

__all__ = ["Executor", "LocalExecutor"]
