"""The engine's view of a run's journal: states and task runs in, events out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from types import FunctionType
from typing import TYPE_CHECKING, Any

from tenuto._base.datetimes import microseconds
from tenuto._base.digests import digest
from tenuto._base.importtools import import_path
from tenuto.configuration import config
from tenuto.core.parameter import Parameter
from tenuto.engine import caching
from tenuto.engine.state import Cached, Failed, Mapped, Paused, Scheduled, State, Success
from tenuto.engine.transitions import cause_of
from tenuto.journal.event import ErrorInfo, ResultRef
from tenuto.journal.fingerprint import fingerprint
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
        self._keep = recorder.keep  # Bound once: every runner holds them.
        self._link = recorder.link
        self._codes: dict[object, str] = {}
        self._keeps_results = config.flows.keep_results != "never"

    def prepare(self, runner: TaskRunner) -> None:
        """Give a task's runner what it needs to record inputs and to keep and reuse results."""
        if not self.recorder.recording:
            return
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

    def _code_of(self, task: Task) -> str:
        """Return the fingerprint of a task's code; a function in many tasks is looked at once a run."""
        shared = task.run if isinstance(task.run, FunctionType) and task.version is None else task
        code = self._codes.get(shared)
        if code is None:
            code = self._codes[shared] = self.recorder.put_object(fingerprint(task).document)
        return code

    def _keeper(self, task: Task) -> Callable[[str, int, object], ResultRef | None] | None:
        if (
            task.checkpoint is False
            or task.is_secret
            or (isinstance(task, Parameter) and is_secret_name(task.name))
        ):
            return None
        # A result with `cache_for` has to outlive the run, whatever is said about keeping others (R-CACHE-2).
        return self._keep if self._keeps_results or task.cache_for is not None else None

    def task_running(self, run: TaskRun) -> None:
        """Record that the body of a task run is about to be called."""
        runner = run.node.runner
        self.recorder.task_running(
            runner.slug, run.index, run.run_count, run.loop_count, run.inputs, runner.code
        )

    def task_state(self, run: TaskRun, outcome: Outcome | None = None) -> None:
        """Record the state that a pass over a task run ended in."""
        state, runner = run.state, run.node.runner
        if run.ref is None and runner.result is not None and isinstance(state, Success):
            run.ref = _written_ref(state._result)
        fields: dict[str, Any] = {"run_count": run.run_count, "loop_count": run.loop_count}
        if type(state) is not Success:
            fields |= _particulars(state, outcome)
            if not isinstance(state, Success):
                run.ref = None  # A handler made a failure of it: what was kept is not what is handed on.
        if outcome is not None:
            fields["seconds"] = outcome.seconds
        else:  # Nothing has told these before: there was no `Running`.
            fields["inputs"], fields["code"] = run.inputs, runner.code
        if run.ref is not None:
            fields["result"] = run.ref
        self.recorder.task_state(
            runner.slug, run.index, type(state).__name__, message=state.message or "", **fields
        )
        if run.ref is not None:
            # What a continued run takes over; parameters get their values anew.
            self.kept += not isinstance(runner.task, Parameter)
            if runner.task.cache_for is not None and outcome is not None:
                caching.index(self.home, runner, self.recorder.flow_run_id, run)
            run.digest, run.ref, run.inputs = run.ref.sha256, None, {}

    def flow_state(self, state: State) -> None:
        """Record a state of the flow run."""
        self.recorder.run_state(type(state).__name__, message=state.message or "", cause=state.cause or "")

    def flow_end(self, state: State) -> None:
        """Record the state that the run is left in; one that is not final waits for somebody."""
        self.flow_state(state if state.is_finished() else Paused(state.message))


def _written_ref(result: Result) -> ResultRef | None:
    """Return the reference of a value that the task's own Result stores, if it knows what the bytes are."""
    if result._written is None or result.location is None:
        return None
    sha256, length = result._written
    return ResultRef("result", result.location, import_path(type(result.serializer)), sha256, length)


def _particulars(state: State, outcome: Outcome | None) -> dict[str, Any]:
    """Return the fields that the events of some states have beyond the common ones."""
    fields: dict[str, Any] = {}
    error = outcome.error if outcome is not None else None
    if isinstance(state, Failed):
        fields["cause"] = cause_of(state, outcome)
        error = state.result
    if isinstance(error, Exception):
        fields["error"] = ErrorInfo.from_exception(error)
    if isinstance(state, Scheduled):
        fields["start_time"] = _microseconds(state.start_time)
    elif isinstance(state, Cached):
        fields["expires"] = _microseconds(state.cached_result_expiration)
    elif isinstance(state, Mapped):
        fields["children"] = state.n_map_states
    return fields


def _microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else microseconds(moment)
