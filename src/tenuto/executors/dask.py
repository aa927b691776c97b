"""The executors whose known names have Dask in them; only `DaskExecutor` needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tenuto.executors.base import Executor
from tenuto.executors.local import LocalExecutor
from tenuto.executors.processes import ProcessExecutor
from tenuto.executors.threads import ThreadExecutor

__all__ = ["LocalDaskExecutor"]

_SCHEDULERS = {
    "threads": "threads",
    "threading": "threads",
    "processes": "processes",
    "multiprocessing": "processes",
    "sync": "sync",
    "synchronous": "sync",
    "single-threaded": "sync",
}


class LocalDaskExecutor(Executor):
    """
    Runs tasks on this machine's threads or processes. The name is the known one; Dask is not needed for it.

    Args:
        scheduler: `threads`, `processes` or `sync` (one after the other, in the calling thread).
        num_workers: number of threads or processes; default: the number of processors.

    Raises:
        ValueError: for an unknown scheduler, or a number of workers that is not positive.
        TypeError: for other arguments; Dask's own, for its pools, have no meaning here.
    """

    places_work = False

    def __init__(self, scheduler: str = "threads", *, num_workers: int | None = None) -> None:
        kind = _SCHEDULERS.get(scheduler) if isinstance(scheduler, str) else None
        if kind is None:
            raise ValueError(f"Unknown scheduler {scheduler!r}; it must be one of {', '.join(_SCHEDULERS)}.")
        self.scheduler = scheduler
        self.num_workers = num_workers
        self._executor: Executor = LocalExecutor()
        if kind == "threads":
            self._executor = ThreadExecutor(num_workers)
        elif kind == "processes":
            self._executor = ProcessExecutor(num_workers)
        self.slots = self._executor.slots

    @contextmanager
    def start(self) -> Iterator[None]:
        """Start the threads or processes for one flow run."""
        with self._executor.start():
            yield

    def submit(
        self, fn: Callable[..., Any], *args: Any, extra_context: dict[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        """Return the future of a call, with `sync` its value."""
        return self._executor.submit(fn, *args, **kwargs)

    def wait(self, futures: Any) -> Any:
        """Return the values of any nesting of futures."""
        return self._executor.wait(futures)
