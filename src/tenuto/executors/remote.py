"""
What executors on clusters have in common: values stay on the workers, and reports come back beside them.

A call on a worker gives two things. The value stays there, for the tasks that take it; the report (how it
went, how long it took, where a copy is kept, what was logged) comes to the flow's process. An engine that
runs finished work once more, because it has lost a value with a worker, gets the kept copy instead.
"""

from __future__ import annotations

import logging
import os
import pickle
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from tenuto._base.digests import digest
from tenuto._base.importtools import IMPORT_FIRST, import_first
from tenuto._base.logging import ContextFilter, package_loggers
from tenuto._base.masking import known_secrets, register_forms
from tenuto.engine.attempt import Attempt, perform
from tenuto.engine.result.remote import PromisedValue, RemoteItem, RemoteList, RemoteValue, fetched
from tenuto.engine.transitions import Outcome, is_mappable, lets_go_on
from tenuto.exceptions import PrefectException, TaskTimeoutSignal
from tenuto.executors.base import Executor, resolved
from tenuto.executors.parcels import Packer, forget_parts, open_parcel, pack_answer, receive_part, stamp
from tenuto.executors.pool import WorkerProcess, setup_of_this_process
from tenuto.executors.records import portable_record, relay, run_of_record
from tenuto.journal.process import this_process

if TYPE_CHECKING:
    from tenuto.journal.keeper import Keeper

__all__ = ["HeldValue", "NoValue", "RemoteExecutor", "Shipment", "call_attempt", "call_function"]

# Values that are not kept and are not larger than this are fetched before the cluster is left.
_FETCH_BYTES_MAX = 16 << 20


class ValueLost(PrefectException, LookupError):
    """A value lay on a worker that is gone, and no copy of it was kept."""

    def __init__(self, task: str) -> None:
        self.task = task
        super().__init__(
            f"The result of task '{task}' lay on a worker of a cluster that is gone, and no copy is kept. "
            "Give the task a result= to write it to, raise flows.keep_results_max_mb, or set "
            "flows.results_location."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return ValueLost, (self.task,)


# -------------------------------------------------------------------------------------- in the flow's process


@dataclass(frozen=True, slots=True)
class Shipment:
    """
    A call for a worker, without the values that are there already.

    Attributes:
        data: the pickled call.
        secrets: texts that logs must not show.
        level: of the package's logger.
        home: host and process of the flow: what runs inside of it logs by itself.
        first: modules that are imported before anything of the user's.
    """

    data: bytes
    secrets: list[str]
    level: int
    home: tuple[str, int]
    first: str


@dataclass(slots=True)
class Report:
    """What comes back from a call of an attempt, beside its value."""

    outcome: Outcome
    is_held: bool
    """Whether the value has stayed on the worker; else the outcome has it."""
    length: int | None
    size: int
    records: list[tuple[dict[str, Any], dict[str, Any]]]
    secrets: list[str]


class HeldValue(RemoteValue):
    """
    A value that a worker holds. Fetched from the kept copy where there is one, else from the worker.

    Args:
        reference: the engine's own reference to it.
        fetch: gets the value of a reference.
        name: of the task.
        length, size: number of items; bytes, about.
        kept: reads the kept copy, if there is one.
    """

    def __init__(
        self,
        reference: Any,
        fetch: Callable[[Any], Any],
        name: str,
        length: int | None,
        size: int,
        kept: Callable[[], Any] | None,
    ) -> None:
        self.reference = reference
        self.length = length
        self.size = size
        self.is_kept = kept is not None
        self._name = name
        self._ways = [way for way in (kept, lambda: fetch(reference)) if way is not None]
        self._fetched: list[Any] = []
        self._lock = threading.Lock()

    def fetch(self) -> Any:
        with self._lock:
            if not self._fetched:
                self._fetched.append(self._get())
            return self._fetched[0]

    def _get(self) -> Any:
        problem: Exception | None = None
        for way in self._ways:
            try:
                value = way()
                if type(value) is WithSecrets:
                    return value.value
                if type(value) is not NoValue:
                    return value
            except Exception as error:  # noqa: BLE001  # a damaged file, or whatever an engine says of what is gone
                problem = error
        raise ValueLost(self._name) from problem


class RemoteExecutor(Executor):
    """An executor whose workers hold the values. Subclasses say how a shipment gets to a worker."""

    places_work = True
    goes_ahead = True

    def launch(
        self,
        call: Callable[..., Any],
        shipment: Shipment,
        parts: Mapping[str, bytes],
        references: Sequence[Any],
        facts: Mapping[str, Any],
        handle: Future[Any],
    ) -> Any:
        """
        Have a worker make `call(shipment, parts, values)`, and give its report to `self.arrived(handle, …)`.

        Args:
            call: a function of this module; it returns the value to hold and the bytes of its report.
            shipment, parts: its first arguments.
            references: become the values, the last argument.
            facts: name of the task, map index, tags, what `executor_options` say, and whether the call may be
                withdrawn: then the worker looks, before it begins, whether that has happened.
            handle: stands for the call in `arrived`.

        Returns:
            The engine's reference to the value.
        """
        raise NotImplementedError

    def fetch(self, reference: Any) -> Any:
        """Return the value of a reference."""
        raise NotImplementedError

    @contextmanager
    def shipping(self) -> Iterator[None]:
        """Hold what belongs to one run; at its end bring here what would be lost with the cluster."""
        me = this_process()
        self._home = (me.host, me.pid)
        self._packer = Packer()
        self._attempts: dict[Future[Any], tuple[Attempt | None, Any]] = {}
        self._values: weakref.WeakSet[HeldValue] = weakref.WeakSet()
        # Those that others may come after; and of calls that were submitted ahead and are not claimed yet,
        # the reports: what they tell and log is held back until the flow's process knows that they began.
        self._references: weakref.WeakKeyDictionary[Future[Any], Any] = weakref.WeakKeyDictionary()
        self._unclaimed: dict[Future[Any], bytes | None] = {}
        # A report may arrive before `launch` has returned.
        self._launching = threading.RLock()
        yield
        for value in list(self._values):
            if not value.is_kept and value.size <= _FETCH_BYTES_MAX:
                value.fetch()

    def submit(
        self, fn: Callable[..., Any], *args: Any, extra_context: dict[str, Any] | None = None, **kwargs: Any
    ) -> Future[Any]:
        """Return the future of a call that a worker makes; that of an attempt has its outcome."""
        handle: Future[Any] = Future()
        try:
            self._submit(handle, fn, args, kwargs, extra_context or {})
        except Exception as error:  # noqa: BLE001  # it cannot be sent, or nobody takes it: this call has failed
            handle.set_exception(error)
        return handle

    def _submit(
        self,
        handle: Future[Any],
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        facts: Mapping[str, Any],
    ) -> None:
        references = [self._references[call] for call in facts.get("after", ())]
        attempt = args[0] if fn is perform else None
        if attempt is not None:
            inputs = {name: self._placed(value, references) for name, value in attempt.inputs.items()}
            thing: Any = Attempt(attempt.body, attempt.index, inputs, attempt.values, attempt.write_to)
        else:
            thing = (fn, args, kwargs)
        parcel = self._packer.pack(thing)
        shipment = Shipment(
            parcel.data,
            known_secrets(),
            package_loggers()[0].getEffectiveLevel(),
            self._home,
            os.environ.get(IMPORT_FIRST, ""),
        )
        call = call_function if attempt is None else call_attempt
        parts = {name: self._packer.part(name) for name in parcel.parts}
        with self._launching:
            if "after" in facts:
                self._unclaimed[handle] = None
            reference = self.launch(call, shipment, parts, references, facts, handle)
            self._attempts[handle] = (attempt, reference)
            self._references[handle] = reference

    def _placed(self, value: Any, references: list[Any]) -> Any:
        """Put places where values lie on workers of this run, and collect the references."""
        if isinstance(value, RemoteList):
            return [self._placed(item, references) for item in value.items]
        if isinstance(value, PromisedValue):
            return _Place(value.number)
        item = value if isinstance(value, RemoteItem) else None
        held = value if item is None else item.whole
        if isinstance(held, HeldValue) and held in self._values:
            references.append(held.reference)
            return _Place(len(references) - 1, None if item is None else item.index)
        # What an earlier run has left (`cache_for`) lies on workers that are gone, or on those of others.
        return fetched(value)

    def wait(self, futures: Any) -> Any:
        """Return the values of any nesting of futures."""
        return resolved(futures)

    def arrived(self, handle: Future[Any], report: bytes) -> None:
        """Take the report of a call, once; an engine may make a call again and report again."""
        with self._launching:
            if handle in self._unclaimed:
                self._unclaimed[handle] = report
                return
        self._take(handle, report)

    def _take(self, handle: Future[Any], report: bytes) -> None:
        with self._launching:
            if handle not in self._attempts:
                return
            attempt, reference = self._attempts.pop(handle)
        try:
            handle.set_result(self._answer(pickle.loads(report), attempt, reference))
        except Exception as error:  # noqa: BLE001  # unpickling runs code of the user's classes; the call gets it
            handle.set_exception(error)

    def claim(self, future: Future[Any]) -> None:
        """Take the report of a call that was submitted ahead, now or when it comes."""
        with self._launching:
            report = self._unclaimed.pop(future, None)
        if report is not None:
            self._take(future, report)

    def failed(self, handle: Future[Any], error: BaseException) -> None:
        """Take note that a call gave nothing, and why."""
        with self._launching:
            self._unclaimed.pop(handle, None)
            is_new = self._attempts.pop(handle, None) is not None
        if is_new:
            handle.set_exception(error)

    def withdrawn(self, handle: Future[Any]) -> None:
        """Take note that a worker has not begun a call: it was withdrawn, or not let go on."""
        with self._launching:
            self._unclaimed.pop(handle, None)
            is_new = self._attempts.pop(handle, None) is not None
        if is_new:
            handle.cancel()

    def _answer(self, answer: Any, attempt: Attempt | None, reference: Any) -> Any:
        if attempt is None:
            return answer
        register_forms(answer.secrets)
        for record, run in answer.records:
            relay(record, run)
        return self._outcome(answer, attempt, reference)

    def _outcome(self, report: Report, attempt: Attempt, reference: Any) -> Outcome:
        outcome = report.outcome
        if not report.is_held:
            return outcome
        keeper = keeper_of(attempt)
        kept = None
        if outcome.kept is not None and keeper is not None:
            kept = partial(keeper.load, outcome.kept)
        value = HeldValue(reference, self.fetch, attempt.name, report.length, report.size, kept)
        self._values.add(value)
        outcome.value = value
        if outcome.result is not None:
            outcome.result.value = value
        return outcome


class NoValue:
    """Lies on the worker in place of a value: of a call that was not begun, or not to be followed ahead."""


@dataclass(frozen=True, slots=True)
class WithSecrets:
    """A value on the worker, with secrets that were not known where the call came from: takers hide them."""

    value: Any
    secrets: list[str]


def keeper_of(attempt: Attempt) -> Keeper | None:
    """Return what keeps the results of the attempt's run, None where they are not kept."""
    keep = attempt.body.keep
    return getattr(keep, "__self__", None)


@dataclass(frozen=True, slots=True)
class _Place:
    """Stands in a call for a value that is on a worker: the n-th of those that go with it."""

    number: int
    index: int | None = None


# ---------------------------------------------------------------------------------------------- on the worker


def call_attempt(
    shipment: Shipment, parts: Mapping[str, bytes], values: Sequence[Any]
) -> tuple[Any, bytes | None]:
    """
    Carry out an attempt; return its value, or what says that there is none, and the bytes of the report.

    One that comes after others is not begun, and has no report, where one of those does not let it go on.
    """
    if any(type(value) is NoValue for value in values):
        return NoValue(), None
    values = [_told(value) for value in values]
    with _prepared(shipment, parts) as records:
        attempt: Attempt = open_parcel(shipment.data)
        attempt.inputs = {name: _filled(value, values) for name, value in attempt.inputs.items()}
        keeper = keeper_of(attempt)
        outcome = _kept_before(attempt, keeper) or _performed(attempt)
        if keeper is not None and outcome.kept is not None:
            keeper.note(outcome.kept, _key(attempt))
        stamp(outcome)
    goes_on = lets_go_on(outcome)
    value = outcome.value if goes_on else NoValue()
    is_held = goes_on and value is not None and (outcome.kept is None or outcome.kept.kind != "inline")
    if is_held or not goes_on:
        outcome.value = None
    if is_held:
        if outcome.kept is None:
            outcome.digest = digest(value)
        if outcome.result is not None:
            outcome.result.value = None
    report = Report(
        outcome=outcome,
        is_held=is_held,
        length=len(cast(Sized, value)) if is_held and is_mappable(value) else None,
        size=size_of(value) if is_held and outcome.kept is None else 0,
        records=records,
        secrets=known_secrets(),
    )
    unknown = set(report.secrets).difference(shipment.secrets)
    if unknown and goes_on:
        value = WithSecrets(value, list(unknown))
    return value, pack_answer(report)


def _told(value: Any) -> Any:
    """Return a value that lay on a worker, after this process has learnt what nobody may see of it."""
    if type(value) is not WithSecrets:
        return value
    register_forms(value.secrets)
    return value.value


def call_function(shipment: Shipment, parts: Mapping[str, bytes], values: Sequence[Any]) -> tuple[Any, bytes]:
    """Make any other call; return what it gave, and its bytes."""
    with _prepared(shipment, parts):
        function, args, kwargs = open_parcel(shipment.data)
        value = function(*args, **kwargs)
    return value, pack_answer(value)


def _performed(attempt: Attempt) -> Outcome:
    """
    Carry out an attempt; one that has a timeout in a process beside this one, which can be killed.

    A worker of a cluster holds values that others need, and runs its calls in threads.
    """
    if not attempt.body.task.timeout:
        return perform(attempt)
    try:
        worker, calls = _idle.pop()
    except IndexError:
        worker, calls = WorkerProcess(Packer(), setup_of_this_process()), 0
    try:
        outcome: Outcome = worker.call(perform, attempt)
        return outcome
    except TaskTimeoutSignal as error:
        return Outcome(error=error)
    finally:
        if calls < _CALLS_MAX:
            _idle.append((worker, calls + 1))
        else:
            worker.stop()


# Processes for attempts with timeouts, as many as there were at once, and how often each was used. They end
# with this process, which may live for weeks: now and then one is replaced, with all it has received.
_idle: list[tuple[WorkerProcess, int]] = []
_CALLS_MAX = 1000


def _filled(value: Any, values: Sequence[Any]) -> Any:
    if isinstance(value, _Place):
        found = values[value.number]
        return found if value.index is None else found[value.index]
    if isinstance(value, list) and any(isinstance(item, _Place | list) for item in value):
        return [_filled(item, values) for item in value]
    return value


def _key(attempt: Attempt) -> str:
    """Tell the attempts of a task run apart: only the value of this one may stand for its call."""
    values = attempt.values
    return f"{values.get('task_run_id')}.{values.get('task_run_count')}-{values.get('task_loop_count', 1)}"


def _kept_before(attempt: Attempt, keeper: Keeper | None) -> Outcome | None:
    """Return the outcome of an earlier call of this attempt, whose value was kept and lost by the engine."""
    ref = keeper.noted(_key(attempt)) if keeper is not None else None
    if ref is None or keeper is None:
        return None
    try:
        return Outcome(value=keeper.load(ref), kept=ref)
    except PrefectException:
        return None  # Damaged, or out of reach: it is computed again.


def size_of(value: object) -> int:
    """Return about how many bytes a value takes."""
    size = getattr(value, "nbytes", None)
    if isinstance(size, int):
        return size
    try:
        return len(pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)) if size is None else int(size)
    except Exception:  # noqa: BLE001  # pickling runs the code of the value's class; then it is not small
        return _FETCH_BYTES_MAX + 1


_records: ContextVar[list[tuple[dict[str, Any], dict[str, Any]]] | None] = ContextVar("records", default=None)


class _Collector(logging.Handler):
    """Collects the records of calls that are going on; others go where they went before."""

    def __init__(self, others: Sequence[logging.Handler]) -> None:
        super().__init__()
        self.addFilter(ContextFilter())
        self._others = others

    def emit(self, record: logging.LogRecord) -> None:
        records = _records.get()
        if records is not None:
            records.append((portable_record(record), run_of_record()))
            return
        for handler in self._others:
            handler.handle(record)


@contextmanager
def _prepared(
    shipment: Shipment, parts: Mapping[str, bytes]
) -> Iterator[list[tuple[dict[str, Any], dict[str, Any]]]]:
    """Make this process ready for a call; collect what it logs, unless it is the flow's own process."""
    import_first(shipment.first)
    for name, data in parts.items():
        receive_part(name, data)
    forget_parts()
    register_forms(shipment.secrets)
    records: list[tuple[dict[str, Any], dict[str, Any]]] = []
    me = this_process()
    if (me.host, me.pid) == shipment.home:
        yield records
        return
    for logger in package_loggers():
        if not any(isinstance(handler, _Collector) for handler in logger.handlers):
            logger.handlers = [_Collector(logger.handlers)]
        logger.setLevel(shipment.level)
    token = _records.set(records)
    try:
        yield records
    finally:
        _records.reset(token)
