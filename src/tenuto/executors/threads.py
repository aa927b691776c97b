"""Task bodies in a few threads of this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from tenuto.executors.base import Executor, resolved

__all__ = ["ThreadExecutor"]


class ThreadExecutor(Executor):
    """
    Runs tasks beside each other in threads of this process: for work that waits, or leaves the GIL.

    Args:
        num_workers: number of threads; default: the number of processors.
    """

    places_work = False

    def __init__(self, num_workers: int | None = None) -> None:
        self.num_workers = checked_workers(num_workers)
        self.slots = self.num_workers

    @contextmanager
    def start(self) -> Iterator[None]:
        """Start the threads for one flow run."""
        pool = self._pool = ThreadPoolExecutor(self.num_workers, thread_name_prefix="tenuto-task")
        try:
            yield
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            del self._pool

    def submit(
        self, fn: Callable[..., Any], *args: Any, extra_context: dict[str, Any] | None = None, **kwargs: Any
    ) -> Future[Any]:
        """Return the future of a call that one of the threads makes."""
        return self._pool.submit(fn, *args, **kwargs)

    def wait(self, futures: Any) -> Any:
        """Return the values of any nesting of futures."""
        return resolved(futures)


def checked_workers(number: int | None) -> int:
    """
    Return the number of workers, by default one for each processor that this process may use.

    Raises:
        ValueError: for one that is not a positive whole number.
    """
    if number is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ValueError(f"num_workers is {number!r}; it must be a whole number of at least 1.")
    return number
