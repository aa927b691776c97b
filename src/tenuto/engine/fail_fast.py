"""
The loop of a run of a flow with `fail_fast=True`: after the first failure nothing more is started.

What is at work ends by itself and is recorded. The rest goes through the loop as always, so that maps and
what waits for them come to their end, and is cancelled where it would start. Flows without the option run in
`FlowRun`, and pay nothing for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenuto._base.context import context as current_context
from tenuto.core.nodes import Constant
from tenuto.engine.flow_run import FlowRun
from tenuto.engine.task_run import NO_INDEX
from tenuto.engine.transitions import check_fail_fast, stops_run

if TYPE_CHECKING:
    from tenuto.core.edge import Edge
    from tenuto.engine.attempt import Attempt
    from tenuto.engine.state import Scheduled, State
    from tenuto.engine.task_run import TaskRun
    from tenuto.executors.base import Executor


class FailFastRun(FlowRun):
    """The loop of one flow run that stops at the first failure."""

    cancelled = 0

    def work(self, executor: Executor) -> None:
        """Run all that can run, up to the first failure."""
        super().work(executor)
        if self.cancelled:
            runs = "1 task run was" if self.cancelled == 1 else f"{self.cancelled} task runs were"
            self.logger.info("%s cancelled, because task '%s' failed.", runs, self.stopped_by)

    def _finished(self, run: TaskRun) -> None:
        if not self.stopped_by and stops_run(run.state):
            self._stop(run)
        super()._finished(run)

    def _stop(self, failed: TaskRun) -> None:
        self.stopped_by = failed.name
        self.logger.info("Task '%s' failed: nothing else is started (fail_fast).", failed.name)
        self.agenda.end_waiting()
        paused, self.paused = self.paused, []
        for run in paused:
            self.agenda.add(run)
        if self.in_flight:
            self.executor.withdraw()

    def _put_aside(self, run: TaskRun, state: Scheduled) -> None:
        if self.stopped_by:
            self.agenda.add(run)
        else:
            super()._put_aside(run, state)

    def _take_up(self, run: TaskRun) -> None:
        if not self.stopped_by or isinstance(run.node.task, Constant) or not self._cancel(run):
            super()._take_up(run)

    def _placement(self, run: TaskRun) -> dict[str, Any]:
        return {**super()._placement(run), "may_be_withdrawn": run.node.task.resource_role != "cleanup"}

    def _came_back(self, run: TaskRun, attempt: Attempt, handle: Any) -> None:
        # Withdrawn: it had been handed over, and no worker had begun it.
        if not (self.stopped_by and is_cancelled(handle) and self._cancel(run)):
            super()._came_back(run, attempt, handle)

    def _cancel(self, run: TaskRun) -> bool:
        """Cancel a task run where that is what becomes of it; say whether it was."""
        state = check_fail_fast(run.node.task, run.state, self._needed_by(run), self.stopped_by)
        if state is None:
            return False
        self.cancelled += 1
        runner = run.node.runner
        token = current_context.enter(runner.context_for(run))
        try:
            self._settle(run, runner.cancel(run, state))
        finally:
            current_context.leave(token)
        return True

    def _needed_by(self, run: TaskRun) -> dict[Edge, State]:
        """Return the upstream states of a clean-up, as the task run sees them; of other tasks, none."""
        if run.node.task.resource_role != "cleanup":
            return {}
        sources = self._sources_of(run.node)
        if run.index == NO_INDEX:
            return {edge: source.node.run.state for edge, source in sources}
        return {edge: source.state(run.index) for edge, source in sources}


def is_cancelled(handle: Any) -> bool:
    """Say whether a future was cancelled; those of others may not know of that."""
    return hasattr(handle, "cancelled") and bool(handle.cancelled())
