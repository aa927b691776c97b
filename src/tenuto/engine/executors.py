"""The older address of `tenuto.executors`: the same objects."""

from tenuto.executors import Executor, LocalDaskExecutor, LocalExecutor

__all__ = ["Executor", "LocalDaskExecutor", "LocalExecutor"]
