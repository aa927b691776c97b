"""
The runner of a flow.

It puts the context in place, runs the loop of `engine.flow_run` and decides the flow's final state.
`engine.launch`, which `Flow.run` opens, makes a runner that waits and records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

from tenuto._base.context import context as current_context
from tenuto._base.logging import get_logger
from tenuto._base.texts import safe_repr
from tenuto.engine import caching, get_default_executor_class, get_default_task_runner_class
from tenuto.engine.fail_fast import FailFastRun
from tenuto.engine.flow_run import FlowRun, check_task_states
from tenuto.engine.run_context import flow_run_context
from tenuto.engine.runner import Runner
from tenuto.engine.signals import ENDRUN
from tenuto.engine.state import Cancelled, Failed, Pending, Running, State
from tenuto.engine.task_runner import TaskRunner
from tenuto.engine.transitions import flow_state
from tenuto.exceptions import PrefectException

if TYPE_CHECKING:
    from tenuto.core.flow import Flow
    from tenuto.core.task import Task
    from tenuto.engine.record import RunRecord
    from tenuto.executors.base import Executor

__all__ = ["FlowRunner"]


class FlowRunner(Runner):
    """
    Runs a flow.

    Args:
        flow: the flow.
        task_runner_cls: makes the runner of each task.
        state_handlers: called after the flow's own, with this runner as first argument.
    """

    logger = get_logger("FlowRunner")
    # Whether the loop waits for tasks that are due later. `Flow.run` waits; `run` by itself is a single pass.
    waits = False
    # Gives seconds; the progress of maps is measured by it.
    clock: Callable[[], float] = staticmethod(monotonic)
    # Where the run is recorded; None records nothing.
    record: RunRecord | None = None

    def __init__(
        self,
        flow: Flow,
        task_runner_cls: type[TaskRunner] | None = None,
        state_handlers: Iterable[Callable[..., State | None]] | None = None,
    ) -> None:
        super().__init__(state_handlers)
        self.flow = flow
        self.task_runner_cls = task_runner_cls or get_default_task_runner_class()

    def _target_name(self) -> str:
        return f"Flow '{self.flow.name}'"

    def call_runner_target_handlers(self, old_state: State, new_state: State) -> State:
        """Call the flow's own handlers."""
        for handler in self.flow.state_handlers:
            new_state = handler(self.flow, old_state, new_state) or new_state
        return new_state

    def run(
        self,
        state: State | None = None,
        task_states: Mapping[Task, State] | None = None,
        return_tasks: Iterable[Task] | None = None,
        parameters: Mapping[str, Any] | None = None,
        task_runner_state_handlers: Iterable[Callable[..., State | None]] | None = None,
        executor: Executor | None = None,
        context: Mapping[str, Any] | None = None,
        task_contexts: Mapping[Task, Mapping[str, Any]] | None = None,
    ) -> State:
        """
        Run the flow and return its state.

        Args:
            state: the flow's state at the start; a finished one is returned at once.
            task_states: states that tasks start from; finished ones are taken as they are.
            return_tasks: the tasks whose states are in the result.
            parameters: values of the flow's parameters.
            task_runner_state_handlers: called on each task's changes of state, after its own.
            executor: where task bodies run; default: the flow's, else that of the configuration.
            context: values added to the context of the run.
            task_contexts: values added to the context of single tasks.
        """
        wanted = set(return_tasks or ())
        if not wanted <= set(self.flow.tasks):
            raise ValueError("Some tasks provided to `return_tasks` were not found in the flow.")
        check_task_states(self.flow, task_states or {})
        state, values = self.initialize_run(state or Pending(), dict(context or {}))
        if state.is_finished():
            state.result = {task: Pending("Task not run.") for task in wanted}
            return state
        token = current_context.enter(flow_run_context(self.flow, values, parameters or {}))
        try:
            return self._run(
                state, task_states or {}, wanted, task_runner_state_handlers, executor, task_contexts or {}
            )
        finally:
            current_context.leave(token)

    def _run(
        self,
        state: State,
        task_states: Mapping[Task, State],
        wanted: set[Task],
        handlers: Iterable[Callable[..., State | None]] | None,
        executor: Executor | None,
        task_contexts: Mapping[Task, Mapping[str, Any]],
    ) -> State:
        make_run = FailFastRun if self.flow.fail_fast else FlowRun
        run = make_run(self, task_states, handlers, task_contexts)
        try:
            self.logger.info("Beginning Flow run for '%s'", self.flow.name)
            running = self.handle_state_change(state, Running("Running flow."))
            if not running.is_running():
                raise ENDRUN(running)
            if self.record is not None:
                self.record.flow_state(running)
            executor = executor or self.flow.executor or get_default_executor_class()()
            self.logger.debug("Using executor type %s", type(executor).__name__)
            with executor.start():
                run.work(executor)
            state = self.conclude(running, run)
        except ENDRUN as end:
            state = end.state
        except Exception as error:
            # The outermost boundary of a run: what is not a task's failure is reported as the flow's.
            state = Failed(f"Unexpected error: {safe_repr(error)}", result=error)
            if current_context.current().get("raise_on_exception"):
                self._record_end(state)
                raise
            if isinstance(error, PrefectException):
                get_logger(self.flow.name).error("%s", error)  # It says what to do; no traceback says more.
            else:
                get_logger(self.flow.name).exception("Unexpected error occured in FlowRunner: %r", error)
        except BaseException as error:
            # KeyboardInterrupt and SystemExit leave `flow.run` (R-RUN-17); the record says how the run ended.
            interrupted = Cancelled(f"Interrupted: {error!r}")
            interrupted.cause = "cancelled-by-user" if isinstance(error, KeyboardInterrupt) else None
            self._record_end(interrupted)
            raise
        finally:
            caching.publish(current_context.current().get("caches", {}), run.cached)
        if not isinstance(state.result, dict):
            # R-RUN-16, REC: the result is always a dict; what went wrong is beside it.
            if isinstance(state.result, BaseException):
                state.error = state.result
            state.result = {task: run.nodes[task].run.state for task in wanted}
        self._record_end(state)
        return state

    def _record_end(self, state: State) -> None:
        if self.record is not None:
            self.record.flow_end(state)

    def conclude(self, running: State, run: FlowRun) -> State:
        """Decide the flow's state when no task is left that can go on."""
        reference = [
            s for task in run.in_order(self.flow.reference_tasks()) for s in run.nodes[task].final_states()
        ]
        terminal = [
            s for task in run.in_order(self.flow.terminal_tasks()) for s in run.nodes[task].final_states()
        ]
        state, line = flow_state(running, terminal, reference, run.stopped_by)
        self.logger.info(line)
        if not state.is_finished():
            return state
        handler = self.flow.terminal_state_handler
        if handler is not None:
            state = handler(self.flow, state, set(reference)) or state
        return self.handle_state_change(running, state)
