"""
The decisions of a run: facts in, states out.

Everything here is pure. The runners collect the facts (upstream states, the outcome of an attempt, the time),
ask one of these functions what follows, and carry the answer out. Nothing in this module reads a clock, a
file or the context.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tenuto._base.texts import safe_repr
from tenuto.engine.signals import ENDRUN, TRIGGERFAIL, PrefectStateSignal
from tenuto.engine.state import (
    Cached,
    Cancelled,
    Cancelling,
    Failed,
    Finished,
    Looped,
    Mapped,
    Paused,
    Pending,
    Queued,
    Resume,
    Retrying,
    Running,
    Scheduled,
    Skipped,
    State,
    Submitted,
    Success,
    TimedOut,
    TriggerFailed,
    ValidationFailed,
)
from tenuto.exceptions import TaskTimeoutSignal
from tenuto.triggers import counted_states

if TYPE_CHECKING:
    from tenuto.core.edge import Edge
    from tenuto.core.task import Task
    from tenuto.engine.result import Result
    from tenuto.journal.event import ErrorInfo, ResultRef
    from tenuto.journal.values import NotKept

SUCCEEDED = "Task run succeeded."
SKIPPED_UPSTREAM = (
    "Upstream task was skipped; if this was not the intended behavior, consider changing "
    "`skip_on_upstream_skip=False` for this task."
)
UNMAPPABLE = "At least one upstream state has an unmappable result."
NOTHING_TO_MAP = "No upstream states can be mapped over."


@dataclass(slots=True)
class Outcome:
    """
    What one attempt of a task's body gave.

    Exactly one of `value` and `error` counts: a value when `error` is None. `result` is the value in the
    task's own Result, with its location, when it was written. `write_error` says that the body succeeded and
    its result could not be stored; `cause` what went wrong around the code, if anything did (`storage`,
    `crashed`). `kept` is the reference of the copy kept for a resume, `not_kept` why there is none,
    `seconds` the duration of the body, `artifacts` what it left with the run: kind, key and body of each.

    Bodies that ran in another process bring the error with its traceback as text, `host` and `pid`, and where
    the value stayed there and no copy is kept, its digest.
    """

    value: object = None
    error: BaseException | None = None
    result: Result | None = None
    write_error: Exception | None = None
    cause: str = ""
    kept: ResultRef | None = None
    not_kept: NotKept | None = None
    seconds: float = 0.0
    error_text: ErrorInfo | None = None
    host: str = ""
    pid: int = 0
    digest: str | None = None
    artifacts: Sequence[tuple[str, str, Any]] = ()


def state_of(outcome: Outcome) -> State:
    """Return the state that an attempt ends in, before retries, loops and caches are considered."""
    error = outcome.write_error
    if error is not None:
        return Failed(f"Unexpected error: {safe_repr(error)}", result=error)
    failure = outcome.error
    if failure is None:
        success = Success(SUCCEEDED, result=outcome.value if outcome.result is None else outcome.result)
        if outcome.value is None and outcome.result is None:
            success.result = None  # A result that is None, as opposed to no result (R-RES-4).
        return success
    if isinstance(failure, TaskTimeoutSignal):
        return TimedOut("Task timed out during execution.", result=failure)
    if isinstance(failure, ENDRUN):
        return failure.state
    if isinstance(failure, PrefectStateSignal):
        state = failure.state
        if outcome.result is not None:
            state._result = outcome.result
        if isinstance(state, Looped) and state.message is None:
            state.message = f"Task is looping ({state.loop_count})"
        return state
    return Failed(f"Error during execution of task: {safe_repr(failure)}", result=failure)


_QUIET = frozenset({Success, Cached})


def is_quiet(state: State) -> bool:
    """Say whether an upstream state satisfies the default trigger and skips nothing: no need to ask them."""
    return type(state) in _QUIET or (isinstance(state, Success) and not isinstance(state, Skipped | Mapped))


def lets_go_on(outcome: Outcome) -> bool:
    """
    Say whether calls that were submitted ahead of an attempt's outcome may begin with its value.

    Asked where the attempt was made, for children of maps that follow one another. After any other outcome
    (also a raised SUCCESS, whose value comes with the signal) the runner decides, as for all other task runs.
    """
    return outcome.error is None and is_quiet(state_of(outcome))


def cause_of(state: State, outcome: Outcome | None) -> str:
    """Name what went wrong with a failed or cancelled task run, in one word for filters (R-BE-102)."""
    if state.cause or isinstance(state, Cancelled):
        return state.cause or ""
    if isinstance(state, TriggerFailed):
        return "upstream"
    if isinstance(state, TimedOut):
        return "timeout"
    if outcome is not None and outcome.cause:
        return outcome.cause
    return "code-error"


def stops_run(state: State) -> bool:
    """
    Say whether a task's final state stops a flow with `fail_fast=True`: it failed by itself.

    A refusing trigger is no reason: it only tells what became of other tasks.
    """
    return isinstance(state, Failed) and not isinstance(state, TriggerFailed)


def check_fail_fast(
    task: Task, state: State, upstream_states: Mapping[Edge, State], failed: str
) -> Cancelled | None:
    """
    Decide about a task run that is about to start after the flow was stopped by a failure.

    Args:
        task: the task.
        state: of the task run; a final one, brought from an earlier run, stays what it is.
        upstream_states: looked at for the clean-up of a resource only: it runs, whatever has failed, where
            the resource was set up.
        failed: name of the task run that failed.

    Returns:
        The state that it ends in; None lets it go on.
    """
    if state.is_finished() and not isinstance(state, Cached):
        return None
    if task.resource_role == "cleanup":
        needed = [state for edge, state in upstream_states.items() if edge.key in ("resource", "handle")]
        if all(isinstance(state, Success) for state in needed):
            return None
    cancelled = Cancelled(f"Not started: task '{failed}' failed, and the flow has fail_fast=True.")
    cancelled.cause = "upstream"
    return cancelled


def check_upstream_skipped(
    task: Task, upstream_states: Mapping[Edge, State], *, failed_over_skipped: bool = False
) -> State | None:
    """
    Return `Skipped` when a direct upstream was skipped and the task follows suit, else None.

    With `failed_over_skipped` (setting `flows.failed_over_skipped`) a failed upstream wins: the trigger
    decides then.
    """
    if not task.skip_on_upstream_skip:
        return None
    states = counted_states(upstream_states)
    if not any(isinstance(state, Skipped) for state in states):
        return None
    if failed_over_skipped and any(isinstance(state, Failed) for state in states):
        return None
    return Skipped(SKIPPED_UPSTREAM)


def check_trigger(task: Task, upstream_states: dict[Edge, State]) -> tuple[State | None, Exception | None]:
    """
    Ask the task's trigger; return the state that ends the run (None: go on) and a broken trigger's error.

    A trigger says no by returning something falsy, or sets a state itself by raising its signal.
    """
    try:
        if task.trigger(upstream_states):
            return None, None
    except PrefectStateSignal as signal:
        return signal.state, None
    except Exception as error:  # noqa: BLE001  # a user's trigger; what it raises is this task's failure
        message = f"Unexpected error while checking task trigger: {safe_repr(error)}"
        return TriggerFailed(message, result=error), error
    return TRIGGERFAIL("Trigger failed").state, None


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """`state` is None when there is no retry; `mismatch` names the type that `retry_on` does not list."""

    state: Retrying | None
    mismatch: str | None = None


def check_for_retry(task: Task, state: State, run_count: int, now: datetime) -> RetryDecision:
    """Decide whether a failed attempt is followed by another one, and when it is due."""
    if not task.max_retries or run_count > task.max_retries:
        return RetryDecision(None)
    error = state.result
    if task.retry_on and error is not None and not isinstance(error, tuple(task.retry_on)):
        return RetryDecision(None, mismatch=type(error).__name__)
    delay = task.retry_delay(run_count) if callable(task.retry_delay) else task.retry_delay
    return RetryDecision(
        Retrying(
            f"Retrying Task (after attempt {run_count} of {task.max_retries + 1})",
            start_time=now + (delay or timedelta(0)),
            run_count=run_count,
        )
    )


def is_mappable(value: object) -> bool:
    """Say whether a result can be mapped over by position: indexed from 0, with a length, and not by key."""
    return hasattr(value, "__getitem__") and hasattr(value, "__len__") and not isinstance(value, Mapping)


def flow_state(
    current: State, terminal_states: Sequence[State], reference_states: Sequence[State], stopped_by: str = ""
) -> tuple[State, str]:
    """
    Decide the state of a flow run from its tasks' states; return it with the line to log.

    Args:
        current: the state of the run now, kept while a terminal task is unfinished.
        terminal_states: of the terminal tasks, mapped ones expanded to their children.
        reference_states: of the reference tasks, expanded likewise.
        stopped_by: name of the task run whose failure stopped the flow (`fail_fast`).
    """
    if not all(isinstance(state, Finished) for state in terminal_states):
        return current, "Flow run RUNNING: terminal tasks are incomplete."
    if stopped_by:
        # Whether or not it is a reference task: of those, most were not started.
        message = f"Task '{stopped_by}' failed, and the flow has fail_fast=True."
        return Failed(message), f"Flow run FAILED: task '{stopped_by}' failed, nothing was started after it."
    if any(isinstance(state, Failed) for state in reference_states):
        return Failed("Some reference tasks failed."), "Flow run FAILED: some reference tasks failed."
    if all(isinstance(state, Success) for state in reference_states):
        return Success("All reference tasks succeeded."), "Flow run SUCCESS: all reference tasks succeeded"
    return Success("No reference tasks failed."), "Flow run SUCCESS: no reference tasks failed"


# The one table of transitions, for engine, store and views. A class in a row stands for itself and for what
# users derive from it; Success and Failed also for the built-in classes below them.
States = tuple[type[State], ...]
Transitions = Mapping[type[State] | None, States]
_WAITING: States = (Scheduled, Resume, Retrying)
_WRAPPED: States = (Submitted, Queued)
_SUCCESS: States = (Success, Cached, Skipped, Mapped)
_FAILED: States = (Failed, TimedOut, TriggerFailed, ValidationFailed)
_END: States = (*_SUCCESS, *_FAILED, Cancelled)


def _rows(*rows: tuple[tuple[type[State] | None, ...], States]) -> Transitions:
    return {old: new for group, new in rows for old in group}


TASK_RUN_TRANSITIONS = _rows(
    ((None, Pending), (Running, *_WRAPPED, *_WAITING, Paused, *_END)),
    (_WAITING, (Running, *_WRAPPED, Pending, *_WAITING, Paused, *_END)),
    (_WRAPPED, (Running, *_WRAPPED, *_WAITING, Pending, *_END)),
    ((Running,), (*_END, Looped, *_WAITING, Paused)),
    ((Looped,), (Pending, Running, Paused, *_SUCCESS, *_FAILED, Retrying, Cancelled)),
    ((Paused,), (Resume, Scheduled, Running, Cancelled, *_SUCCESS, *_FAILED)),
    ((*_END, Finished), (Pending, Scheduled, *_END, Finished)),
)
FLOW_RUN_TRANSITIONS = _rows(
    ((None,), (Pending, Scheduled, Running)),
    ((Pending,), (*_WAITING, Running, Cancelled, *_FAILED)),
    (_WAITING, (Submitted, Running, *_WAITING, Paused, Cancelled, *_FAILED)),
    (_WRAPPED, (Running, *_WRAPPED, Scheduled, Cancelled, *_FAILED)),
    ((Running,), (*_SUCCESS, *_FAILED, Cancelling, Cancelled, Paused, Scheduled)),
    ((Paused,), (Scheduled, Resume, Running, Cancelled, *_FAILED)),
    ((Cancelling,), (Cancelled, *_FAILED, *_SUCCESS)),
    ((*_END, Finished), (Scheduled, *_END, Finished)),
)


def is_transition(table: Transitions, old: type[State] | None, new: type[State]) -> bool:
    """Say whether a run in state `old` (None: a new one) may become `new`, by one of the two tables."""
    return _built_in(new) in table.get(None if old is None else _built_in(old), ())


def _built_in(cls: type[State]) -> type[State]:
    """Return the nearest class of Tenuto's own: subclasses of users follow it."""
    return next(parent for parent in cls.__mro__ if parent.__module__ == State.__module__)
