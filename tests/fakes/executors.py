"""Executors for tests: what the runner asks of an executor is enough for work that goes on elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from tenuto.executors import Executor


class ThreadExecutor(Executor):
    """
    Runs task bodies in a few threads; `submit` returns futures of `concurrent.futures`.

    Attributes:
        most: most bodies that were at work at one moment.
        starts: how often the executor was started.
    """

    def __init__(self, threads: int = 4) -> None:
        self.threads = threads
        self.most = 0
        self.starts = 0
        self._at_work = 0
        self._lock = threading.Lock()

    @contextmanager
    def start(self) -> Iterator[None]:
        self.starts += 1
        with ThreadPoolExecutor(self.threads) as self._pool:
            yield

    def submit(
        self, fn: Callable[..., Any], *args: Any, extra_context: dict[str, Any] | None = None, **kwargs: Any
    ) -> Future[Any]:
        return self._pool.submit(self._run, fn, *args, **kwargs)

    def _run(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            self._at_work += 1
            self.most = max(self.most, self._at_work)
        try:
            return fn(*args, **kwargs)
        finally:
            with self._lock:
                self._at_work -= 1

    def wait(self, futures: Any) -> Any:
        return resolved(futures, lambda future: future.result() if isinstance(future, Future) else future)


class Ticket:
    """Work that was handed in. It tells nothing: only the executor that made it resolves it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work


class TicketExecutor(Executor):
    """Returns tickets, and does their work when asked to wait for them."""

    def __init__(self) -> None:
        self.waits = 0

    def submit(
        self, fn: Callable[..., Any], *args: Any, extra_context: dict[str, Any] | None = None, **kwargs: Any
    ) -> Ticket:
        return Ticket(lambda: fn(*args, **kwargs))

    def wait(self, futures: Any) -> Any:
        self.waits += 1
        return resolved(futures, lambda future: future._work() if isinstance(future, Ticket) else future)


def resolved(futures: Any, resolve: Callable[[Any], Any]) -> Any:
    """Resolve any nesting of lists, tuples and dicts."""
    if isinstance(futures, list | tuple):
        return type(futures)(resolved(future, resolve) for future in futures)
    if isinstance(futures, dict):
        return {key: resolved(future, resolve) for key, future in futures.items()}
    return resolve(futures)
