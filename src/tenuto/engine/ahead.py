"""
Children of maps that are submitted ahead: before those that they follow have ended.

Where values stay on the workers (`Executor.goes_ahead`), a child whose upstreams are all at work there can be
handed over at once, to come after them. When they end as they mostly do, a worker goes on with it without
asking; when they do not, it begins nothing and says so. Either way the loop takes the child up when it has
heard of the upstreams, as it always does, and decides, records and logs what it always does; it then claims
the call that it finds submitted, in place of another. So a child that was submitted ahead is, until then, not
begun as far as anybody is told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tenuto._base.context import context as current_context
from tenuto.engine.attempt import perform
from tenuto.engine.result.remote import PromisedValue
from tenuto.engine.sources import Children, Source, Sources
from tenuto.engine.state import Pending, State, Success
from tenuto.engine.task_runner import TaskRunner
from tenuto.engine.transitions import is_quiet
from tenuto.triggers import all_finished, all_successful, any_successful, not_all_skipped

if TYPE_CHECKING:
    from tenuto.engine.task_run import TaskRun
    from tenuto.executors.base import Executor

# They look at nothing but the kinds of the states, so that asking them twice is as asking once.
_TRIGGERS = (all_successful, all_finished, any_successful, not_all_skipped)


def ends_as_it_ends(runner: TaskRunner) -> bool:
    """
    Say whether the success of a task's body is the success of its task run.

    A handler may make another state of it, and so may a runner of the user's. (At DEBUG, where each change of
    state is told, tasks count as having handlers.)
    """
    return type(runner) is TaskRunner and not runner.has_handlers


def may_go_ahead(runner: TaskRunner) -> bool:
    """
    Say whether a task's body may begin without the flow's process between it and the end of its upstreams.

    Not where something there has a say, or is told, once the inputs are known: handlers and runners of the
    user's; a target, a cached or an earlier run's result that may make the call unnecessary; a name made for
    the run; a trigger of the user's, or one that asks for more than kinds of states.
    """
    task = runner.task
    return (
        ends_as_it_ends(runner)
        and runner.continuation is None
        and not (task.target or task.cache_for or task.task_run_name)
        and any(task.trigger is trigger for trigger in _TRIGGERS)
    )


class Ahead:
    """
    What one flow run has submitted, and may submit ahead.

    Args:
        executor: goes ahead.
        placement: gives the facts by which it may place a task run.
    """

    def __init__(self, executor: Executor, placement: Callable[[TaskRun], dict[str, Any]]) -> None:
        self._executor = executor
        self._placement = placement
        # The calls that may be followed; those submitted ahead, with the task runs that they come after; and
        # those of them that were claimed.
        self._calls: dict[TaskRun, Any] = {}
        self._followed: dict[TaskRun, list[TaskRun]] = {}
        self._claimed: set[TaskRun] = set()
        self._candidates: deque[TaskRun] = deque()

    def consider(self, run: TaskRun) -> None:
        """Have a child that waits for others looked at."""
        self._candidates.append(run)

    def submitted(self, run: TaskRun, call: Any) -> None:
        """Take note of a call, ahead or not: others may follow it, and none follows what was there before."""
        self._calls[run] = call
        for waiter in run.waiters or ():
            self._drop(waiter)
            self._candidates.append(waiter)

    def returned(self, run: TaskRun, call: Any) -> bool:
        """Take note that a call has come back; say whether it was claimed and no worker has begun it."""
        self._calls.pop(run, None)
        was_claimed = run in self._claimed
        self._claimed.discard(run)
        return was_claimed and bool(call.cancelled())

    def taken_up(self, run: TaskRun) -> Any:
        """Return the call that was submitted ahead for a run whose turn has come, None if there is none."""
        followed, call = self._followed.get(run), self._calls.get(run)
        self._drop(run)
        # After anything else, the call was not begun, or has gone down with what it comes after.
        return call if followed and all(is_quiet(upstream.state) for upstream in followed) else None

    def claim(self, run: TaskRun, call: Any) -> None:
        """Take a call for the one of a run that begins now: its report is wanted."""
        self._calls[run] = call
        self._claimed.add(run)
        self._executor.claim(call)

    def go_on(self) -> bool:
        """Submit one more child ahead; say whether there was one."""
        while self._candidates:
            run = self._candidates.popleft()
            followed = self._followed_by(run)
            if followed and self._submit(run, followed):
                return True
        return False

    def _drop(self, run: TaskRun) -> None:
        if self._followed.pop(run, None) is not None:
            del self._calls[run]

    def _followed_by(self, run: TaskRun) -> list[TaskRun]:
        """Return what a child waits for, if all of that is at work and it may go ahead; else nothing."""
        node = run.node
        if run in self._calls or not run.waiting or type(run.state) is not Pending:
            return []
        if node.sources is None or not may_go_ahead(node.runner):
            return []
        awaited = [awaited_at(source, run.index) for _, source in node.sources]
        followed = list(dict.fromkeys(upstream for upstream in awaited if upstream is not None))
        is_sure = all(
            upstream in self._calls and ends_as_it_ends(upstream.node.runner) for upstream in followed
        )
        return followed if is_sure else []

    def _submit(self, run: TaskRun, followed: list[TaskRun]) -> bool:
        runner = run.node.runner
        sources: Sources = []
        for edge, source in run.node.sources or ():
            upstream = awaited_at(source, run.index)
            sources.append((edge, source if upstream is None else Promised(followed.index(upstream))))
        token = current_context.enter(runner.context_for(run))
        try:
            attempt = runner.begin_ahead(run, sources)
            if attempt is None:
                return False
            after = [self._calls[upstream] for upstream in followed]
            facts = {**self._placement(run), "after": after}
            call = self._executor.submit(perform, attempt, extra_context=facts)
        finally:
            current_context.leave(token)
        self._followed[run] = followed
        self.submitted(run, call)
        return True


def awaited_at(source: Source, index: int) -> TaskRun | None:
    """Return the child of a map whose end is awaited along an edge, None where nothing is."""
    if not isinstance(source, Children) or source.children[index].is_final:
        return None
    return source.children[index]


class Promised(Source):
    """A child that is at work, taken for one that has succeeded."""

    __slots__ = ("_state",)

    def __init__(self, number: int) -> None:
        self._state = Success(result=PromisedValue(number))

    def state(self, index: int) -> State:
        return self._state

    def value(self, index: int) -> Any:
        return self._state.carried

    def digest(self, index: int) -> str:
        return ""

    def is_quiet(self, index: int) -> bool:
        return is_quiet(self._state)
