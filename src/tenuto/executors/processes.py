"""Task bodies in worker processes of this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from tenuto.executors.base import Executor, resolved
from tenuto.executors.threads import checked_workers

__all__ = ["ProcessExecutor"]


class ProcessExecutor(Executor):
    """
    Runs tasks on all cores, in worker processes that are started for the run.

    Tasks, arguments and results are pickled; functions of scripts and notebooks may be used as they are, and
    a script needs no `if __name__ == "__main__":`.

    Args:
        num_workers: number of processes; default: the number of processors.
    """

    places_work = False

    def __init__(self, num_workers: int | None = None) -> None:
        self.num_workers = checked_workers(num_workers)
        self.slots = self.num_workers

    @contextmanager
    def start(self) -> Iterator[None]:
        """Make the pool for one flow run; what still runs when the run is broken off is killed."""
        from tenuto.executors.pool import WorkerPool  # Late: cloudpickle and psutil come with it.

        pool = self._pool = WorkerPool(self.num_workers)
        try:
            yield
        finally:
            pool.close(kill=sys.exc_info()[0] is not None)
            del self._pool

    def submit(
        self, fn: Callable[..., Any], *args: Any, extra_context: dict[str, Any] | None = None, **kwargs: Any
    ) -> Future[Any]:
        """Return the future of a call that one of the processes makes."""
        return self._pool.submit(fn, *args, **kwargs)

    def wait(self, futures: Any) -> Any:
        """Return the values of any nesting of futures."""
        return resolved(futures)
