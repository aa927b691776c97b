"""The engine's view of a run's journal: states and task runs in, events out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from types import FunctionType
from typing import TYPE_CHECKING

from tenuto._base.datetimes import microseconds
from tenuto._base.digests import digest
from tenuto._base.importtools import import_path
from tenuto.configuration import config
from tenuto.core.parameter import Parameter
from tenuto.engine import caching
from tenuto.engine import state as states
from tenuto.engine.state import Cached, Cancelled, Failed, Mapped, Paused, Running, Scheduled, State, Success
from tenuto.engine.task_run import NO_INPUTS
from tenuto.engine.transitions import cause_of
from tenuto.journal.event import ErrorInfo, Event, Kind, ResultRef
from tenuto.journal.fingerprint import fingerprint
from tenuto.journal.process import host_name
from tenuto.journal.recorded import is_secret_name

if TYPE_CHECKING:
    from tenuto.core.task import Task
    from tenuto.engine.result import Result
    from tenuto.engine.resume import Continuation
    from tenuto.engine.task_run import TaskRun
    from tenuto.engine.task_runner import TaskRunner
    from tenuto.engine.transitions import Outcome
    from tenuto.journal.home import Home
    from tenuto.journal.recorder import Recorder
    from tenuto.journal.values import NotKept

_TASK_STATE = Kind.TASK_STATE
_RECORDED = frozenset(
    getattr(states, name)
    for name in states.__all__
    if name not in ("ClientFailed", "Finished", "State", "state_class")
)


class RunRecord:
    """
    Records one flow run.

    Args:
        recorder: the run's journal.
        home: the home folder that it lies in.
        continuation: the earlier run that this one continues.
    """

    def __init__(self, recorder: Recorder, home: Home, continuation: Continuation | None = None) -> None:
        self.recorder = recorder
        self.home = home
        self.continuation = continuation
        self.kept = 0
        self._has_run = False
        self._keep = recorder.keeper.keep  # Bound once: every runner holds them.
        self._link = recorder.keeper.link
        self._codes: dict[object, str] = {}
        self._keeps_results = config.flows.keep_results != "never"

    @property
    def is_open(self) -> bool:
        """Whether there is a record: the home folder could be written."""
        return self.recorder.recording

    def prepare(self, runner: TaskRunner) -> None:
        """Give a task's runner what it needs to record inputs and to keep and reuse results."""
        task = runner.task
        runner.code = self._code_of(task)
        runner.records_inputs = True
        runner.record_name = self.recorder.task_name
        if runner.constants:
            runner.constant_digests = {name: digest(value) or "" for name, value in runner.constants.items()}
        runner.keep = self._keeper(task)
        runner.continuation = self.continuation
        runner.home = self.home
        runner.link = self._link
        runner.tell_not_kept = self.recorder.keeper.tell_not_kept

    def _code_of(self, task: Task) -> str:
        """Return the fingerprint of a task's code; a function in many tasks is looked at once a run."""
        shared = task.run if isinstance(task.run, FunctionType) and task.version is None else task
        code = self._codes.get(shared)
        if code is None:
            code = self._codes[shared] = self.recorder.put_object(fingerprint(task).document)
        return code

    def _keeper(self, task: Task) -> Callable[[str, int, object], ResultRef | NotKept | None] | None:
        if (
            task.checkpoint is False
            or task.is_secret
            or (isinstance(task, Parameter) and is_secret_name(task.name))
        ):
            return None
        # A result with `cache_for` has to outlive the run, whatever is said about keeping others (R-CACHE-2).
        return self._keep if self._keeps_results or task.cache_for is not None else None

    def take_note(self, run: TaskRun, outcome: Outcome) -> None:
        """Take note of what another process has kept for a task run, and tell why a result was not kept."""
        keeper = self.recorder.keeper
        if outcome.not_kept is not None:
            keeper.tell_not_kept(run.name, outcome.not_kept)
        elif outcome.kept is not None:
            keeper.count(outcome.kept)

    def task_running(self, run: TaskRun) -> None:
        """Record that the body of a task run is about to be called."""
        event = self._event(run, "Running")
        event.inputs, event.code = run.inputs, run.node.runner.code
        self.recorder.task_state(event)

    def task_state(self, run: TaskRun, outcome: Outcome | None = None) -> None:
        """Record the state that a pass over a task run ended in, after what its body left with the run."""
        state, runner = run.state, run.node.runner
        if outcome is not None and outcome.artifacts:
            for kind, key, body in outcome.artifacts:
                self.recorder.artifact(run.node.slug, run.index, kind, key, body)
        event = self._event(run, state_name(state))
        event.message = state.message or ""
        if type(state) is not Success:
            _add_particulars(event, state, outcome)
            if not isinstance(state, Success):
                run.ref = None  # A handler made a failure of it: what was kept is not what is handed on.
        if run.ref is None and runner.result is not None and isinstance(state, Success):
            run.ref = _written_ref(state._result)
        if outcome is not None:
            event.seconds = outcome.seconds
            if outcome.pid:
                event.pid = outcome.pid
                event.host = "" if outcome.host == host_name() else outcome.host
        else:  # Nothing has told these before: there was no `Running`.
            event.inputs, event.code = run.inputs, runner.code
        event.result = ref = run.ref
        self.recorder.task_state(event)
        if ref is not None:
            # What a continued run takes over; parameters get their values anew.
            self.kept += not isinstance(runner.task, Parameter)
            if runner.task.cache_for is not None and outcome is not None:
                caching.index(self.home, runner, self.recorder.flow_run_id, run)
            run.digest, run.ref, run.inputs = ref.sha256, None, NO_INPUTS
        elif outcome is not None:
            run.digest = outcome.digest

    @staticmethod
    def _event(run: TaskRun, state_name: str) -> Event:
        return Event(
            kind=_TASK_STATE,
            slug=run.node.slug,
            index=run.index,
            state=state_name,
            run_count=run.run_count,
            loop_count=run.loop_count,
        )

    def flow_state(self, state: State) -> None:
        """Record a state of the flow run."""
        self._has_run |= state.is_running()
        self.recorder.run_state(state_name(state), message=state.message or "", cause=state.cause or "")

    def flow_end(self, state: State) -> None:
        """Record the state that the run is left in; one that is not final waits for somebody."""
        end = state if state.is_finished() else Paused(state.message)
        if not self._has_run and not isinstance(end, Failed | Cancelled):
            # A handler would not have it run. Whatever has another end than these has begun.
            self.flow_state(Running())
        self.flow_state(end)


def state_name(state: State) -> str:
    """
    Return the name by which records know the class of a state: its own, or that of the nearest one above.

    A user's subclass means nothing to a reader who does not have it.
    """
    for cls in type(state).__mro__:
        if cls in _RECORDED:
            return cls.__name__
    return "Pending" if state.is_pending() else "Failed"


def _written_ref(result: Result) -> ResultRef | None:
    """Return the reference of a value that the task's own Result stores, if it knows what the bytes are."""
    if result._written is None or result.location is None:
        return None
    sha256, length = result._written
    return ResultRef("result", result.location, import_path(type(result.serializer)), sha256, length)


def _add_particulars(event: Event, state: State, outcome: Outcome | None) -> None:
    """Set the fields that the events of some states have beyond the common ones."""
    error = outcome.error if outcome is not None else None
    if isinstance(state, Failed | Cancelled):
        event.cause = cause_of(state, outcome)
    if isinstance(state, Failed):
        error = state.result
    if isinstance(error, Exception):
        text = outcome.error_text if outcome is not None and outcome.error is error else None
        event.error = text or ErrorInfo.from_exception(error)
    if isinstance(state, Scheduled):
        event.start_time = _microseconds(state.start_time)
    elif isinstance(state, Cached):
        event.expires = _microseconds(state.cached_result_expiration)
    elif isinstance(state, Mapped):
        event.children = state.n_map_states


def _microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else microseconds(moment)
