"""
The runner of one task: the steps from a released task run to its next state.

What a task needs is worked out once, when its runner is made: a task without handlers, templates, cache or
retries pays for none of them. `begin` goes up to the call of `run`, `end` takes over from there; between them
stands the executor.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sized
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tenuto._base.context import context as current_context
from tenuto._base.datetimes import utc_now
from tenuto._base.ids import task_run_id
from tenuto._base.logging import child_logger, get_logger
from tenuto._base.templates import TemplateError, field_names, fill
from tenuto._base.texts import safe_repr
from tenuto.configuration import config
from tenuto.core.edge import Edge
from tenuto.core.nodes import Constant
from tenuto.engine import caching
from tenuto.engine.attempt import Attempt, Body, is_coroutine_function, perform, template_values
from tenuto.engine.result import Result, ResultNotImplementedError
from tenuto.engine.result.remote import RemoteValue, ValuePromised, fetched
from tenuto.engine.runner import Runner
from tenuto.engine.signals import ENDRUN
from tenuto.engine.sources import Source, Sources, Unmappable
from tenuto.engine.state import (
    Cached,
    Failed,
    Looped,
    Mapped,
    Paused,
    Pending,
    Resume,
    Retrying,
    Running,
    Scheduled,
    State,
    Success,
)
from tenuto.engine.task_run import NO_INDEX, NO_INPUTS, TaskNode, TaskRun
from tenuto.engine.transitions import (
    NOTHING_TO_MAP,
    UNMAPPABLE,
    Outcome,
    check_for_retry,
    check_trigger,
    check_upstream_skipped,
    state_of,
)
from tenuto.journal.event import ResultRef
from tenuto.triggers import all_successful

if TYPE_CHECKING:
    from pathlib import Path

    from tenuto.core.task import Task
    from tenuto.engine.resume import Continuation
    from tenuto.journal.cache_index import CacheIndex
    from tenuto.journal.home import Home
    from tenuto.journal.values import NotKept

__all__ = ["TaskRunner"]

# What differs between the children of a mapped task, beside their arguments.
_OF_A_CHILD = frozenset({"map_index", "task_full_name", "task_run_id", "task_run_name"})


class TaskRunner(Runner):
    """
    Runs one task, and the children of a mapped one.

    Args:
        task: the task.
        state_handlers: called after the task's own, with this runner as first argument.
        flow_result: the flow's Result, used where the task has none.
    """

    logger = get_logger("TaskRunner")
    # What a flow run hands to the runners of its tasks; by itself, a runner records and continues nothing.
    flow_context: Mapping[str, Any] = {}
    code = ""
    constants: Mapping[str, Any] = {}
    constant_digests: Mapping[str, str] = {}
    keep: Callable[[str, int, object], ResultRef | NotKept | None] | None = None
    tell_not_kept: Callable[[str, NotKept], None] | None = None
    records_inputs = False
    record_name: Callable[[str, int, str], None] | None = None
    continuation: Continuation | None = None
    home: Home | None = None
    link: Callable[[ResultRef, Path, str, int], ResultRef | None] | None = None
    # What `caching` has looked up, for the many children of a map.
    cache_index: CacheIndex | None = None
    cached_by_inputs: tuple[list[Cached], dict[frozenset[tuple[str, str]], list[Cached]]] | None = None
    _constant_states: dict[Edge, State] | None = None
    _body: Body | None = None

    def __init__(
        self,
        task: Task,
        state_handlers: Iterable[Callable[..., State | None]] | None = None,
        flow_result: Result | None = None,
    ) -> None:
        super().__init__(state_handlers)
        self.task = task
        self.result = task.result or (flow_result.copy() if flow_result is not None else None)
        if task.target and task.result is None and self.result is not None:
            self.result = self.result.copy()
            self.result.set_location(task.target)
        overridden = type(self).call_runner_target_handlers is not TaskRunner.call_runner_target_handlers
        # At DEBUG each change of state is told, so that each goes the way of those with handlers.
        told = self.logger.isEnabledFor(logging.DEBUG)
        self.has_handlers = bool(task.state_handlers or self.state_handlers or overridden or told)
        self.has_plain_trigger = task.trigger is all_successful
        self.has_extras = bool(self.result or task.target or task.task_run_name or task.cache_for)
        self.ends_plainly = not (self.has_handlers or self.has_extras)
        self.slug = task.slug or task.name
        self.task_logger = get_logger(task.name)

    def _target_name(self) -> str:
        return f"Task '{current_context.current().get('task_full_name', self.task.name)}'"

    def call_runner_target_handlers(self, old_state: State, new_state: State) -> State:
        """Call the task's own handlers."""
        for handler in self.task.state_handlers:
            new_state = handler(self.task, old_state, new_state) or new_state
        return new_state

    # -------------------------------------------------------------------------------------- one run by itself

    def run(
        self,
        state: State | None = None,
        upstream_states: Mapping[Edge, State] | None = None,
        context: dict[str, Any] | None = None,
        is_mapped_parent: bool = False,
    ) -> State:
        """
        Run the task once, outside of a flow run, and return its state.

        Args:
            state: what it starts from; a finished state is returned as it is.
            upstream_states: edge to state, as triggers see them; keyed edges give the inputs.
            context: values for the run's context.
            is_mapped_parent: stop where a mapped task would be expanded.
        """
        state, values = self.initialize_run(state, dict(context or {}))
        node = TaskNode(self.task, self.slug, 0, self)
        run = TaskRun(
            node,
            values.get("map_index", NO_INDEX) if values.get("map_index") is not None else NO_INDEX,
            state,
        )
        sources: Sources = [(edge, _Given(given)) for edge, given in (upstream_states or {}).items()]
        self.flow_context = {**current_context.current(), **values}
        with current_context(self.context_for(run)):
            while True:
                if not all(given.is_finished() for given in (upstream_states or {}).values()):
                    return state
                if not is_startable(run.state, utc_now()):
                    return run.state
                count_attempt(run)
                if is_mapped_parent:
                    return self.finish(run, self.change(run, Mapped("Ready to proceed with mapping.")))
                decision = self.begin(run, sources)
                if isinstance(decision, State):
                    return decision
                decision = self.end(run, decision, perform(decision))
                if not decision.is_looped():
                    return decision
                current_context.update(self.context_for(run))

    # ------------------------------------------------------------------------------------------------ context

    def context_for(self, run: TaskRun) -> dict[str, Any]:
        """Return the context of one task run (R-CTX-3); each run has a dict of its own."""
        task, slug = self.task, self.slug
        values = dict(self.flow_context)
        values["task_name"] = values["task_full_name"] = task.name
        values["task_slug"] = values["task_id"] = slug
        values["task_tags"] = task.tags
        values["task_run_id"] = task_run_id(values.get("flow_run_id", ""), slug, run.index)
        values["task_run_count"] = run.run_count
        values["logger"] = self.task_logger
        values["map_index"] = None
        if run.index != NO_INDEX:
            values["map_index"] = run.index
            values["task_full_name"] = run.name
            values["logger"] = child_logger(self.task_logger, run.name)
        if run.loop_count > 1:
            values["task_loop_count"] = run.loop_count
            values["task_loop_result"] = run.loop_result
        if run.resumed:
            values["resume"] = True
        return values

    # -------------------------------------------------------------------------------- up to the call of `run`

    def begin(self, run: TaskRun, sources: Sources) -> State | Attempt:
        """
        Take a released task run up to the call of `run`; return what to call, or the state that it ends in.

        The context of the run is entered.
        """
        if run.loop_count == 1 and self.logger.isEnabledFor(logging.INFO):
            self.logger.info("Task '%s': Starting task run...", run.name)
        try:
            decision = self._begin(run, sources)
        except ENDRUN as end:
            decision = end.state
        return self.finish(run, decision) if isinstance(decision, State) else decision

    def begin_ahead(self, run: TaskRun, sources: Sources) -> Attempt | None:
        """
        Return what would be called if what is promised among the sources came; None where that is not sure.

        Only for tasks that may go ahead (`engine.ahead`): nothing is told, and `begin` follows in any case.
        """
        try:
            decision = self._begin(run, sources)
        except ValuePromised:
            return None
        finally:
            run.inputs = NO_INPUTS  # Of what is promised, nobody knows the digest.
        return decision if isinstance(decision, Attempt) else None

    def _begin(self, run: TaskRun, sources: Sources) -> State | Attempt:
        index = run.index
        inputs, digests = dict(self.constants), dict(self.constant_digests)
        quiet = True
        for edge, source in sources:
            if quiet and not source.is_quiet(index):
                quiet = False
            if edge.key is not None:
                inputs[edge.key] = source.value(index)
                if self.records_inputs:
                    digests[edge.key] = source.digest(index)
        if not quiet:
            skipped = check_upstream_skipped(
                self.task,
                self._upstream_states(sources, index),
                failed_over_skipped=config.flows.failed_over_skipped,
            )
            if skipped is not None:
                return self.change(run, skipped)
        run.inputs = digests
        values: dict[str, Any] = {}
        cached = None
        if self.has_extras or run.state.is_cached():
            inputs = self._with_fetched(inputs)
            values = template_values(current_context.current(), inputs)
            if self.task.task_run_name is not None:
                self._set_run_name(run, values)
            cached = self._find_result(run, inputs, values)
        if not quiet or not self.has_plain_trigger:
            refused = self._check_trigger(sources, index)
            if refused is not None:
                return self.change(run, refused)
        if cached is not None:
            return self.change(run, cached)
        if self.continuation is not None and run.run_count == run.loop_count == 1:
            reused = self.continuation.reuse(run)
            if reused is not None:
                return self.change(run, reused)
        if self.has_handlers:
            state = self.change(run, Running("Starting task run."))
            if not state.is_running():
                return state
            self.logger.debug("Task '%s': Calling task.run() method...", run.name)
        write_to = None if self.result is None else self._written_result()
        body = self._body
        if body is None:
            task = self.task
            special = bool(task.timeout or task.log_stdout or is_coroutine_function(task.run))
            body = self._body = Body(task, self.slug, special, self.keep, self.flow_context)
        return Attempt(body, index, inputs, current_context.current(), write_to)

    def _with_fetched(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return the inputs; those that templates name, or the cache is looked up by, are brought here."""
        if not any(isinstance(value, RemoteValue) for value in inputs.values()):
            return inputs
        task = self.task
        location = self.result.location if self.result is not None else None
        templates = [template for template in (task.task_run_name, task.target, location) if template]
        if task.cache_for is not None or not all(isinstance(template, str) for template in templates):
            return {name: fetched(value) for name, value in inputs.items()}
        named = {name for template in templates for name in _names_in(str(template))}
        return {name: fetched(value) if name in named else value for name, value in inputs.items()}

    def _written_result(self) -> Result | None:
        """Return the Result that the value is to be written to, None if it is not (R-CKPT-1, R-CKPT-3)."""
        if self.result is None or type(self.result) is Result:
            return None
        writes = self.task.checkpoint is not False and current_context.current().get("checkpointing")
        return self.result if writes else None

    def _upstream_states(self, sources: Sources, index: int) -> dict[Edge, State]:
        return {edge: source.state(index) for edge, source in sources}

    def _check_trigger(self, sources: Sources, index: int) -> State | None:
        if self._constant_states is None:
            self._constant_states = _constant_states(self.task, self.constants)
        upstream = self._upstream_states(sources, index) | self._constant_states
        raising = current_context.current().get("raise_on_exception")
        refused, error = check_trigger(self.task, upstream)
        if error is not None:
            if raising:
                raise error
            self.logger.error("%s", refused.message if refused else error, exc_info=error)
        return refused

    def _set_run_name(self, run: TaskRun, values: dict[str, Any]) -> None:
        name = self.task.task_run_name
        try:
            text = name(**values) if callable(name) else fill(str(name), values, as_path=False)
        except Exception as error:
            # A user's template or callable: the task fails with the reason, before anything of it ran.
            message = f"{self._target_name()}: Unexpected error while running task: {safe_repr(error)}"
            raise ENDRUN(self._unexpected(error, message)) from error
        current_context["task_run_name"] = text
        self.logger.debug("%s: Run name is %r", self._target_name(), text)
        if self.record_name is not None:
            self.record_name(self.slug, run.index, text)

    def _find_result(self, run: TaskRun, inputs: Mapping[str, Any], values: dict[str, Any]) -> State | None:
        """Look for a result that makes the call unnecessary: at the target, else in the cache."""
        if self.task.target:
            return self._check_target(run, values)
        if self.task.cache_for is not None or run.state.is_cached():
            return caching.find(self, run, inputs)
        return None

    def _check_target(self, run: TaskRun, values: dict[str, Any]) -> State | None:
        result = self.result if self.result is not None else Result()
        try:
            location = result.absolute_location(result.format(**values).location or "")
            if not result.exists(location):
                self._warn_unwritten_target()
                return None
        except ResultNotImplementedError:
            self.logger.warning(
                "%s: A target needs a result that can be read and written, such as LocalResult(dir=...). "
                "The task runs, and its target is ignored.",
                self._target_name(),
            )
            return None
        except Exception as error:
            # Formatting runs user code, existence asks a store: what fails there fails the task, for good.
            raise ENDRUN(self._unexpected(error, f"Unexpected error: {safe_repr(error)}")) from error
        found = self._read_target(result, location)
        if found is None:
            return None
        if found._written is None and self.keep is not None:
            # A Result that knows no checksum: downstream goes by that of a kept copy, as after the call.
            kept = self.keep(self.slug, run.index, found.value)
            if kept is None or isinstance(kept, ResultRef):
                run.ref = kept
            elif self.tell_not_kept is not None:
                self.tell_not_kept(run.name, kept)
        return Cached(f"Result found at task target {location}", result=found)

    def _read_target(self, result: Result, location: str) -> Result | None:
        try:
            return result.read(location)
        except Exception as error:  # noqa: BLE001  # see below
            # An unreadable target is no result: say so and compute it again (reliability 3.6).
            self.logger.warning(
                "%s: The target %s exists but cannot be read (%r); the task runs and writes it anew.",
                self._target_name(),
                location,
                error,
            )
            return None

    def _warn_unwritten_target(self) -> None:
        if self.task.checkpoint is not False and not current_context.current().get("checkpointing"):
            self.logger.warning(
                "%s: Nothing will be written to its target because checkpointing is off. "
                "Switch it on with TENUTO__FLOWS__CHECKPOINTING=true.",
                self._target_name(),
            )

    def _unexpected(self, error: Exception, message: str) -> State:
        if current_context.current().get("raise_on_exception"):
            raise error
        self.logger.error("%s", message, exc_info=error)
        return Failed(message, result=error)

    # -------------------------------------------------------------------------------- after the call of `run`

    def end(self, run: TaskRun, attempt: Attempt, outcome: Outcome) -> State:
        """Decide what an attempt's outcome makes of a task run. The context of the run is entered."""
        try:
            state = self._end(run, attempt, outcome)
        except ENDRUN as end:
            state = end.state
        if state.is_looped():
            run.state = state
            return state
        return self.finish(run, state)

    def _end(self, run: TaskRun, attempt: Attempt, outcome: Outcome) -> State:
        task = self.task
        state = state_of(outcome)
        if self.ends_plainly and outcome.error is None:
            return state
        if isinstance(outcome.error, ENDRUN):
            return state
        if (
            self.result is not None
            and outcome.result is None
            and outcome.error is None
            and outcome.write_error is None
        ):
            state.result = self.result.from_value(outcome.value)
        if self.has_handlers:
            state = self.change(run, state, Running("Starting task run."))
        if task.cache_for is not None and caching.is_cacheable(state):
            state = self.change(run, caching.cached_state(task, state, attempt.inputs), state)
        if state.is_failed() and task.max_retries:
            decision = check_for_retry(task, state, run.run_count, utc_now())
            if decision.mismatch is not None:
                self.logger.info(
                    "%s: Skipping retry. Exception of type '%s' is not an instance of the retry on exception "
                    "types.",
                    self._target_name(),
                    decision.mismatch,
                )
            elif decision.state is not None:
                state = self.change(run, decision.state, state)
        return state

    def change(self, run: TaskRun, new_state: State, old_state: State | None = None) -> State:
        """Let the handlers see a change of state; return the state that they leave."""
        if not self.has_handlers:
            return new_state
        return self.handle_state_change(old_state or run.state, new_state)

    def cancel(self, run: TaskRun, state: State) -> State:
        """
        End a task run that is not to be started. The context of the run is entered.

        Handlers see it and may set another final state, but none with which the task would go on.
        """
        try:
            left = self.change(run, state)
        except ENDRUN as end:
            left = end.state
        # No log line: of a map, thousands may be cancelled at once.
        run.state = left if left.is_finished() and not left.is_looped() else state
        return run.state

    def finish(self, run: TaskRun, state: State) -> State:
        """Set the state in which this pass over the task run ends, and log it."""
        run.state = state
        if self.logger.isEnabledFor(logging.INFO):
            self.logger.info(
                "Task '%s': Finished task run for task with final state: '%s'", run.name, type(state).__name__
            )
        return state

    # ------------------------------------------------------------------------------------------------ mapping

    def begin_map(self, run: TaskRun, sources: Sources) -> State:
        """Decide whether a mapped task is expanded: `Mapped` with the number of children, or its end."""
        self.logger.info("Task '%s': Starting task run...", run.name)
        try:
            state = self.change(run, self._map_state(sources))
        except ENDRUN as end:
            state = end.state
        return self.finish(run, state)

    def _map_state(self, sources: Sources) -> State:
        upstream = {edge: source.node.run.state for edge, source in sources}
        skipped = check_upstream_skipped(
            self.task, upstream, failed_over_skipped=config.flows.failed_over_skipped
        )
        if skipped is not None:
            return skipped
        mapped = [(edge, source) for edge, source in sources if edge.mapped]
        if any(isinstance(source, Unmappable) for _, source in mapped):
            return Failed(UNMAPPABLE)
        lengths = {edge: len(source) for edge, source in mapped if isinstance(source, Sized)}
        if not lengths:
            return Failed(NOTHING_TO_MAP)
        if len(set(lengths.values())) > 1:
            self.logger.warning(
                "%s: Mapped arguments have different lengths (%s); the shortest one counts.",
                self._target_name(),
                ", ".join(
                    f"{edge.key or edge.upstream_task.name}: {length}" for edge, length in lengths.items()
                ),
            )
        self._warn_shared_location(edge.key for edge, _ in mapped if edge.key is not None)
        return Mapped("Ready to proceed with mapping.", n_map_states=min(lengths.values()))

    def _warn_shared_location(self, arguments: Iterable[str]) -> None:
        """Warn when a template gives all children one location: each would replace the others' (R-CKPT-8)."""
        template = self.task.target or (self.result.location if self.result is not None else None)
        if not isinstance(template, str) or (not self.task.target and self._written_result() is None):
            return
        try:
            names = field_names(template)
        except TemplateError:
            return  # each child fails with it
        if names.isdisjoint({*_OF_A_CHILD, *arguments}):
            self.logger.warning(
                "%s: All children have the result location %r and replace each other's. "
                "Put {map_index} or an argument into it.",
                self._target_name(),
                template,
            )


def _names_in(template: str) -> Iterable[str]:
    try:
        return field_names(template)
    except TemplateError:
        return ()  # The task fails with it where it is filled.


class _Given(Source):
    """A state that was handed over as such, outside of a flow run."""

    __slots__ = ("given",)

    def __init__(self, state: State) -> None:
        self.given = state

    def state(self, index: int) -> State:
        return self.given

    def value(self, index: int) -> Any:
        return self.given.result

    def is_quiet(self, index: int) -> bool:
        return False


def is_startable(state: State, now: datetime) -> bool:
    """Say whether a task run in this state may be taken up now (steps 3 and 4 of the pipeline)."""
    if isinstance(state, Scheduled):
        return state.start_time is not None and state.start_time <= now
    return state.is_pending() or state.is_cached() or state.is_mapped()


def count_attempt(run: TaskRun) -> None:
    """Set what the attempt that is about to start takes over from a state that waited."""
    state = run.state
    if isinstance(state, Retrying):
        run.run_count = state.run_count + 1
    elif isinstance(state, Paused):
        run.state = Resume("Its time has come.", result=state.result)
        run.resumed = True
    elif isinstance(state, Resume):
        run.resumed = True


def loop(run: TaskRun, state: Looped) -> None:
    """Turn a task run that looped back into a pending one, at its next loop index."""
    run.loop_count = state.loop_count + 1
    run.loop_result = state.result
    run.run_count = 1  # counted for each loop index by itself (R-LOOP-6)
    run.state = Pending(f"Looping task (on loop index {run.loop_count})")


def _constant_states(task: Task, constants: Mapping[str, Any]) -> dict[Edge, State]:
    """Return constants as a trigger sees them: successful upstreams with their own edges (R-TRIG-6)."""
    return {
        Edge(Constant(value), task, key=key): Success("Auto-generated constant value", result=value)
        for key, value in constants.items()
    }
