"""The executors whose known names have Dask in them; only `DaskExecutor` needs it."""

from __future__ import annotations

import logging
import queue
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from tenuto._base.importtools import import_object
from tenuto._base.logging import get_logger
from tenuto.configuration import config
from tenuto.executors.base import Executor, ExecutorUnavailable, WorkerLost, imported
from tenuto.executors.local import LocalExecutor
from tenuto.executors.processes import ProcessExecutor
from tenuto.executors.remote import NoValue, RemoteExecutor, Shipment
from tenuto.executors.threads import ThreadExecutor

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["DaskExecutor", "LocalDaskExecutor"]

_SCHEDULERS = {
    "threads": "threads",
    "threading": "threads",
    "processes": "processes",
    "multiprocessing": "processes",
    "sync": "sync",
    "synchronous": "sync",
    "single-threaded": "sync",
}
# Dask's default is port 8787 for everybody, and a warning where it is taken.
_ANY_LOCAL_PORT = "127.0.0.1:0"


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


class DaskExecutor(RemoteExecutor):
    """
    Runs tasks on a Dask cluster: one that is there, or one that is started for the run.

    Results stay on the workers, and go from one to the other without passing through this process.

    Args:
        address: of a scheduler that is there.
        cluster_class: makes a cluster for the run, a class or function or its import path; default: worker
            processes on this machine, which need no `if __name__ == "__main__":` in a script.
        cluster_kwargs: its arguments.
        adapt_kwargs: let the cluster grow and shrink, as in `cluster.adapt(**adapt_kwargs)`.
        client_kwargs: arguments of `distributed.Client`.
        debug: show the cluster's own log lines.
        performance_report_path: where Dask's report of the run is written, as HTML.
        disable_cancellation_event, watch_worker_status: known arguments; they change nothing here.

    Tags of the form `dask-resource:NAME=NUMBER` and `executor_options={"resources": {...}}` of a task say
    what a worker must have to run it.

    Raises:
        ValueError: for an address together with arguments for a cluster.
        ImportError: at the start of a run, where Dask is not installed.
    """

    def __init__(
        self,
        address: str | None = None,
        cluster_class: str | Callable[..., Any] | None = None,
        cluster_kwargs: dict[str, Any] | None = None,
        adapt_kwargs: dict[str, Any] | None = None,
        client_kwargs: dict[str, Any] | None = None,
        debug: bool | None = None,
        performance_report_path: str | None = None,
        disable_cancellation_event: bool = False,
        watch_worker_status: bool | None = None,
    ) -> None:
        dask = config.engine.executor.dask
        if address is None and cluster_class is None:
            address = dask.get("address") or None
            cluster_class = (dask.get("cluster_class") or None) if address is None else None
        if address is not None and (cluster_class or cluster_kwargs or adapt_kwargs):
            raise ValueError(
                "An address names a cluster that is there; cluster_class, cluster_kwargs and adapt_kwargs "
                "are for one that is started. Give either."
            )
        self.address = address
        self.cluster_class = import_object(cluster_class) if isinstance(cluster_class, str) else cluster_class
        self.cluster_kwargs = cluster_kwargs or {}
        self.adapt_kwargs = adapt_kwargs or {}
        self.client_kwargs = client_kwargs or {}
        self.debug = bool(config.debug if debug is None else debug)
        self.performance_report_path = performance_report_path

    @contextmanager
    def start(self) -> Iterator[None]:
        """Connect to the cluster, or start one, for one flow run."""
        distributed = imported("distributed", "dask")
        with ExitStack() as stack:
            client = self._client = stack.enter_context(self._connected(distributed))
            stack.callback(delattr, self, "_client")
            worker: Any = imported("tenuto.executors.dask_worker", "dask")
            paths = worker.ModulePaths(sys.path)
            client.register_plugin(paths)
            stack.callback(client.unregister_worker_plugin, paths.name)
            if self.performance_report_path is not None:
                stack.enter_context(client.as_current())  # The report is about that one.
                stack.enter_context(distributed.performance_report(filename=self.performance_report_path))
            stack.enter_context(self.shipping())
            self._reports = stack.enter_context(_Reports(self, client))
            stack.callback(delattr, self, "_reports")
            self._withdrawal = worker.Withdrawal(self._reports.topic)
            stack.callback(self._end_withdrawal)
            self._is_withdrawn = False
            yield

    def withdraw(self) -> None:
        """Have the workers begin no more calls that may be withdrawn."""
        try:
            self._client.register_plugin(self._withdrawal)
            self._is_withdrawn = True
        except (OSError, TimeoutError) as error:
            get_logger("FlowRunner").warning(
                "Dask could not be told to start nothing more (%s): what was submitted runs to its end.",
                error,
            )

    def _end_withdrawal(self) -> None:
        if self._is_withdrawn:
            self._client.unregister_worker_plugin(self._withdrawal.name)
        del self._withdrawal

    @contextmanager
    def _connected(self, distributed: Any) -> Iterator[Any]:
        if self.address is not None:
            with self._client_of(distributed, self.address) as client:
                yield client
            return
        level = logging.INFO if self.debug else logging.WARNING
        make = self.cluster_class or _local_cluster
        with _level_of_dask(level), make(**self.cluster_kwargs) as cluster:
            if self.adapt_kwargs:
                cluster.adapt(**self.adapt_kwargs)
            with self._client_of(distributed, cluster) as client:
                yield client

    @contextmanager
    def _client_of(self, distributed: Any, cluster: Any) -> Iterator[Any]:
        try:
            client = distributed.Client(cluster, set_as_default=False, **self.client_kwargs)
        except (OSError, ValueError) as error:
            raise ExecutorUnavailable(
                f"No Dask scheduler answers at {self.address or cluster}: {error}. Start one with `dask "
                "scheduler`, or leave the address out: then a cluster is started for the run."
            ) from error
        with client:
            yield client

    def launch(
        self,
        call: Callable[..., Any],
        shipment: Shipment,
        parts: Mapping[str, bytes],
        references: Sequence[Any],
        facts: Mapping[str, Any],
        handle: Future[Any],
    ) -> Any:
        """Submit a call; its report comes as an event of the worker."""
        key = f"{facts.get('task_name') or 'call'}-{uuid.uuid4().hex}"
        future = self._client.submit(
            _call_on_worker,
            self._reports.topic,
            key,
            bool(facts.get("may_be_withdrawn")),
            call,
            shipment,
            parts,
            list(references),
            key=key,
            pure=False,
            resources=_resources(facts),
        )
        self._reports.watch(key, handle, future)
        return future

    def fetch(self, reference: Any) -> Any:
        """Return the value of a Dask future."""
        return reference.result()


def _call_on_worker(
    topic: str,
    key: str,
    may_be_withdrawn: bool,
    call: Callable[..., tuple[Any, bytes | None]],
    shipment: Shipment,
    parts: Mapping[str, bytes],
    values: Sequence[Any],
) -> Any:
    from distributed import get_worker

    from tenuto.executors.dask_worker import WITHDRAWN

    if may_be_withdrawn and topic in WITHDRAWN:
        get_worker().log_event(topic, {"key": key, "report": None})
        return NoValue()
    value, report = call(shipment, parts, values)
    get_worker().log_event(topic, {"key": key, "report": report})
    return value


class _Reports:
    """
    Takes what workers report, in a thread of its own, and notices calls that will never report.

    Attributes:
        topic: under which the workers of this run report.
    """

    def __init__(self, executor: DaskExecutor, client: Any) -> None:
        self.topic = f"tenuto-{uuid.uuid4().hex}"
        self._executor = executor
        self._client = client
        self._events: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
        # Written by the thread of the flow and by the own one. To copy a dictionary is no single step: it may
        # set off the garbage collector, and with that let the other thread go on.
        self._watched: dict[str, tuple[Future[Any], Any]] = {}
        self._watching = threading.Lock()
        # When a call was first seen to have finished without a report.
        self._silent_since: dict[str, float] = {}
        self._unreachable_since: float | None = None
        self._thread = threading.Thread(target=self._work, daemon=True, name="tenuto-reports")

    def __enter__(self) -> Self:
        self._client.subscribe_topic(self.topic, lambda event: self._events.put(event[1]))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._events.put(None)
        self._thread.join()
        if error is not None:
            # Broken off: what is still at work or waits has nobody to work for.
            self._client.cancel([future for _, future in self._all_watched().values()], force=True)
        self._client.unsubscribe_topic(self.topic)

    def watch(self, key: str, handle: Future[Any], future: Any) -> None:
        """Expect the report of a call."""
        with self._watching:
            self._watched[key] = (handle, future)

    def _all_watched(self) -> dict[str, tuple[Future[Any], Any]]:
        with self._watching:
            return dict(self._watched)

    def _forget(self, key: str) -> Future[Any] | None:
        """Expect no report of a call any more; return what stands for it."""
        self._silent_since.pop(key, None)
        with self._watching:
            watched = self._watched.pop(key, None)
        return None if watched is None else watched[0]

    def _work(self) -> None:
        looked_at = monotonic()
        while True:
            try:
                event = self._events.get(timeout=_LOOK_SECONDS)
                if event is None:
                    return
                self._take(event["key"], event["report"])
            except queue.Empty:
                pass
            if monotonic() - looked_at > _LOOK_SECONDS:
                self._look()
                looked_at = monotonic()

    def _take(self, key: str, report: bytes | None) -> None:
        handle = self._forget(key)
        if handle is None:
            return
        if report is None:
            self._executor.withdrawn(handle)
        else:
            self._executor.arrived(handle, report)

    def _look(self) -> None:
        """Look for calls that failed outside of the task, were lost, or have finished without a report."""
        if self._is_gone():
            for key in self._all_watched():
                self._fail(key, WorkerLost("The Dask scheduler could not be reached any more"))
            return
        for key, (_, future) in self._all_watched().items():
            status = future.status
            if status == "error":
                self._fail(key, _error_of(future))
            elif status in ("cancelled", "lost"):
                self._fail(key, WorkerLost("Dask has lost the call, with its scheduler or client,"))
            elif status == "finished":
                since = self._silent_since.setdefault(key, monotonic())
                if monotonic() - since > _SILENCE_SECONDS:
                    # Reported by a worker that died before the report was out. What holds the value knows.
                    self._fail(key, WorkerLost("A Dask worker ended before it could report, and"))

    def _is_gone(self) -> bool:
        if self._client.status == "running":
            self._unreachable_since = None
            return False
        if self._unreachable_since is None:
            self._unreachable_since = monotonic()
        return self._client.status == "closed" or monotonic() - self._unreachable_since > _UNREACHABLE_SECONDS

    def _fail(self, key: str, error: BaseException) -> None:
        handle = self._forget(key)
        if handle is not None:
            self._executor.failed(handle, error)


def _error_of(future: Any) -> BaseException:
    """Return what went wrong with a call outside of the task: its worker, or its way there."""
    from distributed import KilledWorker

    error: BaseException = future.exception()
    if isinstance(error, KilledWorker):
        return WorkerLost("The Dask worker, and each that took over from it, ended")
    return error


def _resources(facts: Mapping[str, Any]) -> dict[str, float] | None:
    """Return what a worker must have: by the task's tags (`dask-resource:NAME=NUMBER`) and its options."""
    found: dict[str, float] = {}
    for tag in facts.get("task_tags") or ():
        if tag.startswith("dask-resource:"):
            name, _, number = tag.removeprefix("dask-resource:").partition("=")
            found[name] = float(number)
    found.update(facts.get("resources") or {})
    return found or None


def _local_cluster(
    n_workers: int | None = None,
    threads_per_worker: int | None = None,
    processes: bool = True,
    memory_limit: Any = None,
    dashboard_address: str | None = _ANY_LOCAL_PORT,
    **kwargs: Any,
) -> Any:
    """Start workers on this machine: as programs of their own, where Dask can do that."""
    distributed: Any = imported("distributed", "dask")
    sizes: dict[str, Any] = {"n_workers": n_workers, "threads_per_worker": threads_per_worker}
    if sys.platform == "win32" or not processes:
        limit = {} if memory_limit is None else {"memory_limit": memory_limit}
        return distributed.LocalCluster(
            **sizes, processes=processes, dashboard_address=dashboard_address, **limit, **kwargs
        )
    if memory_limit is not None:
        kwargs["worker_kwargs"] = {**kwargs.get("worker_kwargs", {}), "memory_limit": memory_limit}
    subprocesses: Any = imported("distributed.deploy.subprocess", "dask")
    return subprocesses.SubprocessCluster(**sizes, dashboard_address=dashboard_address, **kwargs)


@contextmanager
def _level_of_dask(level: int) -> Iterator[None]:
    """Let Dask's own loggers be as loud as asked for: a cluster that comes and goes has much to say."""
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


_LOOK_SECONDS = 0.5
_SILENCE_SECONDS = 10.0
_UNREACHABLE_SECONDS = 30.0
