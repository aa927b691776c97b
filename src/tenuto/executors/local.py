"""The default executor: in the calling thread, one task after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tenuto.executors.base import Executor

__all__ = ["LocalExecutor"]


class LocalExecutor(Executor):
    """Runs each task at once in the thread that called `flow.run`, and returns the value itself."""

    places_work = False

    def submit(
        self, fn: Callable[..., Any], *args: Any, extra_context: dict[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        """Call `fn` and return its value."""
        return fn(*args, **kwargs)

    def wait(self, futures: Any) -> Any:
        """Return `futures` as they are: they are values."""
        return futures
