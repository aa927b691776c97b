"""The older address of `tenuto.executors`: the same objects."""

from tenuto.executors import Executor, LocalExecutor

__all__ = ["Executor", "LocalExecutor"]
