"""The loop of one flow run: releases tasks, hands them to the executor, and takes up what comes back."""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tenuto._base.context import context as current_context
from tenuto._base.datetimes import utc_now
from tenuto._base.logging import get_logger
from tenuto.core.nodes import Constant
from tenuto.engine.agenda import Agenda
from tenuto.engine.ahead import Ahead
from tenuto.engine.attempt import Attempt, Surroundings, perform
from tenuto.engine.progress import Progress
from tenuto.engine.sources import Children, Sources, source_for
from tenuto.engine.state import Cached, Looped, Mapped, Pending, Resume, Scheduled, State, Success
from tenuto.engine.task_run import NO_INDEX, TaskNode, TaskRun
from tenuto.engine.task_runner import count_attempt, loop
from tenuto.engine.transitions import Outcome
from tenuto.exceptions import PrefectException, TaskTimeoutSignal

if TYPE_CHECKING:
    from tenuto.core.edge import Edge
    from tenuto.core.flow import Flow
    from tenuto.core.task import Task
    from tenuto.engine.flow_runner import FlowRunner
    from tenuto.executors.base import Executor


class FlowRun:
    """The loop of one flow run: releases, submits, waits, and takes up outcomes until nothing can go on."""

    # The task run whose failure stopped the flow, by name (`engine.fail_fast`).
    stopped_by = ""
    # What is submitted before its turn, on executors that go ahead.
    ahead: Ahead | None = None

    def __init__(
        self,
        runner: FlowRunner,
        task_states: Mapping[Task, State],
        handlers: Iterable[Callable[..., State | None]] | None,
        task_contexts: Mapping[Task, Mapping[str, Any]],
    ) -> None:
        self.runner = runner
        self.flow = runner.flow
        self.record = runner.record
        self.logger = runner.logger
        self.agenda = Agenda()
        self.paused: list[TaskRun] = []
        self.cached: list[TaskRun] = []
        self.in_flight = 0
        self.clock = runner.clock
        self.progress = Progress(self.clock)
        self.outcomes: queue.SimpleQueue[tuple[TaskRun, Attempt, Any]] = queue.SimpleQueue()
        self.nodes = self._make_nodes(handlers, task_contexts)
        for task, state in task_states.items():
            self._start_from(self.nodes[task], state)

    # -------------------------------------------------------------------------------------------- setting out

    def _make_nodes(
        self,
        handlers: Iterable[Callable[..., State | None]] | None,
        task_contexts: Mapping[Task, Mapping[str, Any]],
    ) -> dict[Task, TaskNode]:
        flow, runner_handlers = self.flow, list(handlers or ())
        slugs, constants, result = flow.slugs, flow.constants, flow.result
        make_runner = self.runner.task_runner_cls
        prepare = self.record.prepare if self.record is not None and self.record.is_open else None
        values = Surroundings(current_context.current())
        nodes: dict[Task, TaskNode] = {}
        for order, task in enumerate(flow.sorted_tasks()):
            runner = make_runner(task, state_handlers=runner_handlers, flow_result=result)
            slug = runner.slug = slugs[task]
            if task in constants:
                runner.constants = constants[task]
            runner.flow_context = values
            if task in task_contexts:
                runner.flow_context = Surroundings({**values, **task_contexts[task]})
            if prepare is not None:
                prepare(runner)
            node = nodes[task] = TaskNode(task, slug, order, runner)
            for edge in flow.upstream_edges(task):
                node.held_by += 1
                if edge.mapped:
                    node.is_mapped = True
        return nodes

    def _start_from(self, node: TaskNode, state: State) -> None:
        """Let a task start from a state of an earlier run (R-RUN-13)."""
        state, _ = self.runner.initialize_run(state, {})
        task = node.task
        if state.is_finished() and (task.is_secret or task.resource_role in ("setup", "cleanup")):
            state = Pending("Run again: its result is not kept.")
        if isinstance(state, Mapped):
            node.previous = [s if s is not None else Pending() for s in state.map_states]
            state = Pending()
        node.run.state = state

    def in_order(self, tasks: Iterable[Task]) -> list[Task]:
        """Return tasks in the order in which they run."""
        return sorted(tasks, key=lambda task: self.nodes[task].order)

    # ----------------------------------------------------------------------------------------------- the loop

    def work(self, executor: Executor) -> None:
        """Run all that can run; return when all is finished or, in a single pass, waits."""
        self.executor = executor
        slots = sys.maxsize if executor.slots is None else executor.slots
        self.agenda.deepest_first = executor.slots is not None
        if executor.goes_ahead and not self.flow.fail_fast:  # What has begun cannot be cancelled any more.
            self.ahead = Ahead(executor, self._placement)
        for node in self.nodes.values():
            if node.held_by == 0:
                self._admit(node.run)
        while True:
            now = utc_now() if self.agenda.next_due is not None else None
            run = self.agenda.next_ready(now) if self.in_flight < slots else None
            if run is not None:
                self._take_up(run)
                self._take_outcomes_there()
            elif self.ahead is not None and self.ahead.go_on():
                self._take_outcomes_there()
            elif self.in_flight:
                self._take_outcome(self.agenda.next_due)
            elif not self.runner.waits or not self._wait():
                return

    def _wait(self) -> bool:
        """Wait for what is due next, or ask about a paused task; return whether anything can go on."""
        self._ask_about_paused()
        due = self.agenda.next_due
        if due is None:
            return self.agenda.has_ready
        if due > utc_now():
            get_logger(self.flow.name).info("Waiting for next available Task run at %s", due)
            sleep_until(due)
        return True

    def _ask_about_paused(self) -> None:
        """Ask on a terminal whether paused tasks may go on; elsewhere they stay paused (R-PAUSE-2)."""
        paused, self.paused = self.paused, []
        for run in paused:
            answer = ask(f"{run.node.task!r} is currently Paused; enter 'y' to resume: ")
            if answer is None:
                continue
            if answer.strip().lower() == "y":
                run.state = Resume("Resumed by the user.", result=run.state.result)
                self.agenda.add(run)
            else:
                self.paused.append(run)
        if self.paused and self.agenda.next_due is None and not self.agenda.has_ready:
            self._ask_about_paused()

    # ------------------------------------------------------------------------------------------- one task run

    def _admit(self, run: TaskRun) -> None:
        """Nothing holds a task run back any more: it is ready, or waits for its time."""
        if isinstance(run.state, Scheduled):
            self._put_aside(run, run.state)
        else:
            self.agenda.add(run)

    def _put_aside(self, run: TaskRun, state: Scheduled) -> None:
        if state.start_time is None:
            self.paused.append(run)
        else:
            self.agenda.add_later(run, state.start_time)

    def _take_up(self, run: TaskRun) -> None:
        """Start a ready task run, and go on with it as far as the executor lets us."""
        node = run.node
        if isinstance(node.task, Constant):
            # Constants do not go through the pipeline: no log lines, no handlers, no events (R-CONST-6).
            run.state = Success(result=node.task.value)
            self._finished(run)
            return
        if type(run.state) is not Pending:
            if run.state.is_finished() and not isinstance(run.state, Cached):
                self._take_over(run)
                return
            count_attempt(run)
        runner = node.runner
        token = current_context.enter(runner.context_for(run))
        try:
            if node.is_mapped and run.index == NO_INDEX:
                self._map(node)
                return
            if node.sources is None:
                node.sources = self._sources_of(node)
            call = self.ahead.taken_up(run) if self.ahead is not None else None
            decision = runner.begin(run, node.sources)
            if isinstance(decision, State):
                self._settle(run, decision)
                return
            if self.record is not None:
                self.record.task_running(run)
            if call is None or self.ahead is None:
                self._submit(run, decision)
            else:
                self.ahead.claim(run, call)
                self._watch(run, decision, call)
        finally:
            current_context.leave(token)

    def _submit(self, run: TaskRun, attempt: Attempt) -> None:
        facts = self._placement(run) if self.executor.places_work else None
        handle = self.executor.submit(perform, attempt, extra_context=facts)
        if isinstance(handle, Outcome):
            self._conclude(run, attempt, handle)
            return
        self._watch(run, attempt, handle)
        if self.ahead is not None:
            self.ahead.submitted(run, handle)

    def _placement(self, run: TaskRun) -> dict[str, Any]:
        """Return the facts by which an executor may place a task run."""
        task = run.node.task
        return {
            "task_name": task.name,
            "task_tags": task.tags,
            "map_index": run.index,
            **task.executor_options,
        }

    def _take_over(self, run: TaskRun) -> None:
        """Take a final state of an earlier run as it is; the task is not even logged (R-RUN-13)."""
        if self.record is not None:
            self.record.task_state(run)
        self._finished(run)

    def _sources_of(self, node: TaskNode) -> Sources:
        """Return what arrives at a node; all edges to it are released."""
        nodes = self.nodes
        return [
            (edge, source_for(edge, nodes[edge.upstream_task]))
            for edge in self.flow.upstream_edges(node.task)
        ]

    def _watch(self, run: TaskRun, attempt: Attempt, handle: Any) -> None:
        self.in_flight += 1
        if hasattr(handle, "add_done_callback"):
            handle.add_done_callback(lambda done: self.outcomes.put((run, attempt, done)))
        else:
            self.outcomes.put((run, attempt, handle))

    def _take_outcomes_there(self) -> None:
        while self.in_flight and not self.outcomes.empty():
            self._take_outcome(None)

    def _take_outcome(self, due: datetime | None) -> None:
        timeout = None if due is None else max((due - utc_now()).total_seconds(), 0)
        try:
            run, attempt, handle = self.outcomes.get(timeout=timeout)
        except queue.Empty:
            return
        self.in_flight -= 1
        token = current_context.enter(run.node.runner.context_for(run))
        try:
            self._came_back(run, attempt, handle)
        finally:
            current_context.leave(token)

    def _came_back(self, run: TaskRun, attempt: Attempt, handle: Any) -> None:
        if self.ahead is not None and self.ahead.returned(run, handle):
            self._submit(run, attempt)
        else:
            self._conclude(run, attempt, self._outcome_of(run, handle))

    def _outcome_of(self, run: TaskRun, handle: Any) -> Outcome:
        try:
            outcome: Outcome = (
                handle.result() if hasattr(handle, "add_done_callback") else self.executor.wait(handle)
            )
        except TaskTimeoutSignal as error:  # Its worker had to be killed.
            return Outcome(error=error)
        except Exception as error:
            # The attempt itself answers with an outcome. What is raised here befell its worker, or its way
            # there and back; it fails this task, and the others go on.
            if current_context.current().get("raise_on_exception"):
                raise
            if isinstance(error, PrefectException):
                self.logger.error("Task '%s': %s", run.name, error)
            else:
                self.logger.exception("Unexpected error: %r", error)
            return Outcome(error=error, cause=getattr(error, "cause", ""))
        return outcome

    def _conclude(self, run: TaskRun, attempt: Attempt, outcome: Outcome) -> None:
        run.ref = outcome.kept
        if self.record is not None and (outcome.not_kept is not None or outcome.pid):
            self.record.take_note(run, outcome)
        self._settle(run, run.node.runner.end(run, attempt, outcome), outcome)

    def _settle(self, run: TaskRun, state: State, outcome: Outcome | None = None) -> None:
        """Record the state that a pass over a task run ended in, and see what follows from it."""
        if self.record is not None:
            self.record.task_state(run, outcome)
        if isinstance(state, Looped):
            loop(run, state)
            self.agenda.add(run)
        elif state.is_finished():
            if outcome is not None:
                run.node.worked += 1
            self._finished(run)
        else:
            self._admit(run)

    # ------------------------------------------------------------------------------------------- what follows

    def _finished(self, run: TaskRun) -> None:
        """A task run is final: release what waited for it."""
        node = run.node
        if node.task.cache_for is not None:
            self.cached.append(run)
        if run.waiters is not None:
            waiters, run.waiters = run.waiters, None
            for waiter in waiters:
                waiter.waiting -= 1
                if waiter.waiting == 0:
                    self._admit(waiter)
        if run.index == NO_INDEX:
            self._complete(node)
            return
        node.unfinished -= 1
        if node.unfinished == 0:
            self._complete(node)
        elif self.clock() >= self.progress.due:
            self.progress.look()

    def _complete(self, node: TaskNode) -> None:
        """A node is final with all its children: release the edges that waited for the whole of it."""
        node.sources = None  # What arrived here is not held longer than it is needed.
        if node.children is not None:
            self.progress.end(node)
            node.gather()
        for edge in self.flow.downstream_edges(node.task):
            if node.children is None or not follows_children(edge):
                self._release(edge)

    def _release(self, edge: Edge) -> None:
        node = self.nodes[edge.downstream_task]
        node.held_by -= 1
        if node.held_by == 0:
            self._admit(node.run)

    # ------------------------------------------------------------------------------------------------ mapping

    def _map(self, node: TaskNode) -> None:
        """Expand a mapped task into its children, or end it where that is not possible."""
        sources = node.sources = self._sources_of(node)
        state = node.runner.begin_map(node.run, sources)
        if not isinstance(state, Mapped):
            self._settle(node.run, state)
            return
        children = node.expand(state.n_map_states)
        self.progress.begin(node)
        if self.record is not None:
            self.record.task_state(node.run)
        followed = [source.children for _, source in sources if isinstance(source, Children)]
        for child in children:
            for others in followed:
                child.wait_for(others[child.index])
            if child.waiting == 0:
                self._admit(child)
            elif self.ahead is not None:
                self.ahead.consider(child)
        for edge in self.flow.downstream_edges(node.task):
            if follows_children(edge):
                self._release(edge)
        if not children:
            self._complete(node)


def check_task_states(flow: Flow, task_states: Mapping[Task, State]) -> None:
    """
    Refuse states that no task of the flow can start from: it would never run, and never finish (R-RUN-14).

    Raises:
        ValueError: naming the task and its state.
    """
    for task, state in task_states.items():
        if task not in flow.tasks:
            raise ValueError(f"`task_states` names {task!r}, which is not in the flow {flow.name!r}.")
        if not (state.is_pending() or state.is_finished() or state.is_meta_state()) or state.is_looped():
            raise ValueError(
                f"The initial state of {task!r} is {state!r}, from which a task cannot start. "
                "Pass finished or pending states in `task_states`."
            )


def follows_children(edge: Edge) -> bool:
    """Say whether a downstream task follows a mapped one child by child."""
    return edge.mapped and not edge.flattened


def ask(question: str) -> str | None:
    """Ask on the terminal; None where there is none, or where somebody ends the input (Ctrl-D)."""
    if sys.stdin is None or not sys.stdin.isatty():
        return None
    try:
        return input(question)
    except EOFError:
        return None


def sleep_until(due: datetime) -> None:
    """Sleep until an aware time, looking at the clock now and then: it may be set meanwhile."""
    while (seconds := (due - utc_now()).total_seconds()) > 0:
        time.sleep(min(seconds, 30))
