"""Task bodies on a Ray cluster."""

from __future__ import annotations

import importlib
import logging
import pickle
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any

import cloudpickle

from tenuto.executors.base import ExecutorUnavailable, WorkerLost, imported
from tenuto.executors.remote import NoValue, RemoteExecutor, Shipment

__all__ = ["RayExecutor"]

# What Ray knows as arguments of `.options` and users of tasks may set.
_OPTIONS = frozenset(
    {"num_cpus", "num_gpus", "memory", "accelerator_type", "scheduling_strategy", "runtime_env"}
)
_CONNECT_SECONDS = 10.0


class RayExecutor(RemoteExecutor):
    """
    Runs tasks on a Ray cluster: one that is there, or one that is started on this machine for the run.

    Results stay in Ray's object store, and go from worker to worker without passing through this process.

    Args:
        address: of a cluster that is there: `auto`, `HOST:PORT`, `ray://HOST:PORT`; None starts one, unless
            this process is connected to one already.
        runtime_env: what workers need, as in `ray.init(runtime_env=...)`.
        init_kwargs: further arguments of `ray.init`, such as `num_cpus`.

    `executor_options` of a task are handed to Ray: `{"num_cpus": 2}`, `{"resources": {"GPU": 1}}`.

    Raises:
        ImportError: at the start of a run, where Ray is not installed.
    """

    def __init__(
        self,
        address: str | None = None,
        runtime_env: dict[str, Any] | None = None,
        init_kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.address = address
        self.runtime_env = runtime_env
        self.init_kwargs = init_kwargs or {}

    @contextmanager
    def start(self) -> Iterator[None]:
        """Connect to the cluster, or start one, for one flow run."""
        ray = self._ray = imported("ray", "ray")
        is_ours = not ray.is_initialized()
        if is_ours:
            self._connect(ray)
        # The calls of tasks look up what was kept before they run anything: making one again does no harm.
        self._call = ray.remote(max_retries=3)(_call_on_worker)
        self._stored: dict[str, Any] = {}
        self._withdrawal = f"tenuto-{uuid.uuid4().hex}-withdrawn"
        self._is_withdrawn = False
        try:
            with self.shipping():
                yield
        except BaseException:
            # Broken off: what is still at work or waits has nobody to work for.
            for _, reference in list(self._attempts.values()):
                ray.cancel(reference)
            raise
        finally:
            if self._is_withdrawn:
                _table()._internal_kv_del(self._withdrawal)
            del self._call, self._stored
            if is_ours:
                ray.shutdown()

    def _connect(self, ray: Any) -> None:
        settings: dict[str, Any] = {"log_to_driver": True, "logging_level": logging.WARNING}
        if self.address is None:
            # Of one that comes and goes with the run, nobody wants to know how to look after it.
            settings |= {"include_dashboard": False, "logging_level": logging.ERROR}
        settings |= self.init_kwargs
        try:
            if self.address is not None:
                _check_reachable(self.address)
            ray.init(address=self.address, runtime_env=self.runtime_env, **settings)
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            where = f"at {self.address}" if self.address is not None else "on this machine"
            raise ExecutorUnavailable(
                f"No Ray cluster can be reached or started {where}: {error}. Start one with `ray start "
                "--head`, or leave the address out: then one is started for the run."
            ) from error

    def withdraw(self) -> None:
        """Have the workers begin no more calls that may be withdrawn."""
        # `ray.cancel` also interrupts what is at work, and nobody here knows what that is.
        _table()._internal_kv_put(self._withdrawal, "yes")
        self._is_withdrawn = True

    def launch(
        self,
        call: Callable[..., Any],
        shipment: Shipment,
        parts: Mapping[str, bytes],
        references: Sequence[Any],
        facts: Mapping[str, Any],
        handle: Future[Any],
    ) -> Any:
        """Have Ray make a call that gives two objects, the value and the report."""
        for name, data in parts.items():
            if name not in self._stored:
                self._stored[name] = self._ray.put(data)
        options = {name: value for name, value in facts.items() if name in _OPTIONS}
        if facts.get("resources"):
            options |= _options_of(facts["resources"])
        withdrawal = self._withdrawal if facts.get("may_be_withdrawn") else ""
        value, report = self._call.options(
            num_returns=2, name=str(facts.get("task_name") or "call"), **options
        ).remote(
            call, shipment, withdrawal, list(parts), *(self._stored[name] for name in parts), *references
        )
        report.future().add_done_callback(partial(self._reported, handle))
        return value

    def _reported(self, handle: Future[Any], report: Future[bytes | None]) -> None:
        error = report.exception()
        if error is not None:
            self.failed(handle, self._explained(error))
            return
        told = report.result()
        if told is None:
            self.withdrawn(handle)
        else:
            self.arrived(handle, told)

    def _explained(self, error: BaseException) -> BaseException:
        exceptions = self._ray.exceptions
        lost = (exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.OutOfMemoryError)
        if isinstance(error, (*lost, exceptions.ObjectLostError)):
            return WorkerLost("The Ray worker, and each that took over from it, ended")
        # Ray puts what was raised on a worker into an error of its own.
        cause = error.cause if isinstance(error, exceptions.RayTaskError) else None
        return cause if isinstance(cause, BaseException) else error

    def fetch(self, reference: Any) -> Any:
        """Return the value of a Ray object."""
        return self._ray.get(reference)


def _check_reachable(address: str) -> None:
    """Raise OSError where nothing listens: Ray itself would go on asking for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()


def _options_of(resources: Mapping[str, float]) -> dict[str, Any]:
    """Return resources as Ray wants them: the two that it counts by itself have arguments of their own."""
    own = {"CPU": "num_cpus", "GPU": "num_gpus"}
    options: dict[str, Any] = {own[name]: number for name, number in resources.items() if name in own}
    others = {name: number for name, number in resources.items() if name not in own}
    return {**options, "resources": others} if others else options


def _call_on_worker(
    call: Callable[..., tuple[Any, bytes | None]],
    shipment: Shipment,
    withdrawal: str,
    names: list[str],
    *objects: Any,
) -> tuple[Any, bytes | None]:
    if withdrawal and _table()._internal_kv_exists(withdrawal):
        return NoValue(), None
    parts = dict(zip(names, objects[: len(names)], strict=True))
    value, report = call(shipment, parts, objects[len(names) :])
    return _Packed(value), report


def _table() -> Any:
    """Return Ray's table of small things that the whole cluster sees; an actor would be a process more."""
    return importlib.import_module("ray.experimental.internal_kv")


class _Packed:
    """
    A value for Ray's store, pickled by the cloudpickle that pickles everything else here.

    Ray has a copy of its own, and what a script defines would be one class by the one and another by the
    other. Large buffers are handed to Ray as they are. What is taken out of the store is the value itself.
    """

    def __init__(self, value: Any) -> None:
        self._value = value

    def __reduce__(self) -> tuple[Any, ...]:
        buffers: list[pickle.PickleBuffer] = []
        data = cloudpickle.dumps(self._value, protocol=5, buffer_callback=buffers.append)
        return _unpacked, (data, *buffers)


def _unpacked(data: bytes, *buffers: Any) -> Any:
    return pickle.loads(data, buffers=buffers)
