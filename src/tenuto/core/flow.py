"""Flows: graphs of tasks, built in a `with` block and run afterwards."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from tenuto._base.callsite import callsite, note_callsite, warn
from tenuto._base.context import context
from tenuto._base.logging import get_logger
from tenuto.configuration import config
from tenuto.core import options
from tenuto.core.annotations import read_annotations
from tenuto.core.building import (
    MAPPED_BODY,
    OPEN_BLOCKS,
    MappedBody,
    close_flow,
    is_open,
    note_used,
    open_flow,
    refuse_mapping_inside_body,
)
from tenuto.core.checks import check_complete
from tenuto.core.edge import Edge
from tenuto.core.flow_graph import FlowGraph
from tenuto.core.nodes import Constant, as_task, collected
from tenuto.core.parameter import Parameter
from tenuto.core.rewriting import merge_flow, replace_task
from tenuto.core.task import Task
from tenuto.exceptions import ServerRequired

if TYPE_CHECKING:
    import logging
    import os

    from tenuto.core.options import StateHandler
    from tenuto.engine.flow_runner import FlowRunner
    from tenuto.engine.result import Result
    from tenuto.engine.state import State
    from tenuto.executors.base import Executor
    from tenuto.schedules import Schedule

__all__ = ["Flow"]

_RUN_INSIDE = """\
Don't call `flow.run()` from within a `Flow` context manager. The flow is complete only after the block:

    with Flow("name") as flow:      # don't
        ...
        flow.run()

    with Flow("name") as flow:      # do
        ...
    flow.run()
"""


_REGISTER_INSIDE = """\
Don't call `flow.register()` from within a `Flow` context manager. The flow is complete only after the block:

    with Flow("name") as flow:
        ...
    flow.register(project_name="project")
"""


class Flow(FlowGraph):
    """
    A graph of tasks. Tasks that are called in its `with` block are added to it; nothing runs until `run`.

    Args:
        name: shown in logs and on the server.
        schedule: when `run` starts runs, or the server does.
        executor: where task bodies run.
        run_config: how an agent starts runs.
        storage: where the flow's code is kept.
        tasks, edges: added at once.
        reference_tasks: the tasks whose states decide that of the run.
        state_handlers: called as `handler(flow, old_state, new_state)` on each change of state.
        on_failure: called as `fn(flow, state)` when a run fails.
        validate: check each edge when it is added; default: setting `flows.eager_edge_validation`.
        result: persists the outputs of tasks that have no result of their own.
        terminal_state_handler: called as `fn(flow, state, reference_task_states)`; what it returns is final.
        fail_fast: start nothing more once a task has failed, its retries included; what is at work ends, the
            rest is cancelled, and the run fails. Resources are cleaned up.
        rescue: whether a run whose worker died is continued elsewhere.

    Raises:
        ValueError: if there is no name, or the tasks and edges cannot be in one flow.
    """

    def __init__(
        self,
        name: str,
        schedule: Schedule | None = None,
        executor: Executor | None = None,
        run_config: Any = None,
        storage: Any = None,
        tasks: Iterable[Any] | None = None,
        edges: Iterable[Edge] | None = None,
        reference_tasks: Iterable[Any] | None = None,
        state_handlers: Iterable[StateHandler] | None = None,
        on_failure: Callable[[Any, State], Any] | None = None,
        validate: bool | None = None,
        result: Result | None = None,
        terminal_state_handler: Callable[[Flow, State, set[State]], State | None] | None = None,
        *,
        environment: object = None,
        fail_fast: bool = False,
        rescue: Literal["on", "off", "only-before-start"] = "on",
    ) -> None:
        if not name:
            raise note_callsite(ValueError("A name must be provided for the flow."))
        if environment is not None:
            warn(
                "Environments are gone: `environment` is ignored; use `executor` and `run_config`.",
                DeprecationWarning,
            )
        super().__init__()
        self.name = name
        self.schedule = schedule
        self.executor = executor
        self.run_config = run_config
        self.storage = storage
        self.result = result
        self.state_handlers = options.handler_list(state_handlers, on_failure)
        self.terminal_state_handler = terminal_state_handler
        self.fail_fast = fail_fast
        self.rescue = rescue
        self.source_path = _source_path()
        self._validates = validate
        for task in tasks or ():
            self.add_task(task)
        for edge in edges or ():
            self.add_edge(edge.upstream_task, edge.downstream_task, edge.key, edge.mapped, edge.flattened)
        if reference_tasks:
            self.set_reference_tasks(reference_tasks)

    # ------------------------------------------------------------------------------------- as a Python object

    def __repr__(self) -> str:
        return f'<{type(self).__name__}: name="{self.name}">'

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Flow):
            return NotImplemented
        return (
            type(self) is type(other)
            and self.name == other.name
            and self.tasks == other.tasks
            and self.edges == other.edges
            and self.reference_tasks() == other.reference_tasks()
        )

    # By identity: flows change while they are built, and are only ever looked up as the object they are.
    __hash__ = object.__hash__

    def __iter__(self) -> Iterator[Task]:
        return iter(self.sorted_tasks())

    def __enter__(self) -> Self:
        open_flow(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        unused = close_flow()
        if kind is None and unused:
            warn(
                f"Tasks were created but not added to the flow: {', '.join(map(repr, unused))}. Call them, "
                "use them as arguments, or add them with `flow.add_task`."
            )

    def copy(self) -> Self:
        """Return a flow with the same tasks and a graph of its own."""
        new = copy.copy(self)
        vars(new).pop("logger", None)
        new._graph = self._graph.copy()
        new._reference_tasks = dict(self._reference_tasks)
        new.state_handlers = list(self.state_handlers)
        return new

    @cached_property
    def logger(self) -> logging.Logger:
        """The logger of this flow's name."""
        return get_logger(self.name)

    # ----------------------------------------------------------------------------------------------- building

    def add_task(self, task: Any) -> Any:
        """
        Add a task, unless it is there already, and return it.

        Raises:
            TypeError: if it is not a task.
            ValueError: if another task of the flow has its slug.
        """
        if not isinstance(task, Task):
            raise note_callsite(TypeError(f"Tasks must be Task instances (received {type(task)})"))
        if task in self._graph.nodes:
            return task
        self._graph.add_task(task)
        note_used(task)
        if task.joins_blocks:
            for block in OPEN_BLOCKS.get():
                block.join(task, self)
            body = MAPPED_BODY.get()
            if body is not None and body.flow is self and task not in body.arguments:
                body.made[task] = None
        return task

    def add_edge(
        self,
        upstream_task: Any,
        downstream_task: Any,
        key: str | None = None,
        mapped: bool = False,
        flattened: bool = False,
        validate: bool | None = None,
    ) -> Edge:
        """
        Make one task come before another, and add both to the flow.

        Args:
            upstream_task, downstream_task: tasks, or values that become tasks; the first may be annotated.
            key: the argument of the downstream task that gets the result; None passes no data.
            mapped: each child of the downstream task gets one item.
            flattened: one level of nesting is removed first.
            validate: check now that the task takes such an argument and that there is no cycle; default: as
                the flow was constructed, else setting `flows.eager_edge_validation`.

        Raises:
            ValueError: if the key cannot be an argument's name, another task is bound to the argument
                already, a parameter would depend on something, or (validating) there is a cycle.
            TypeError: if (validating) the task takes no such argument.
        """
        annotated = read_annotations(upstream_task)
        return self._connect(
            as_task(annotated.value, self),
            as_task(downstream_task, self),
            key,
            annotated.mapped if annotated.mapped is not None else mapped or None,
            flattened or annotated.flattened,
            validate,
        )

    def _connect(
        self,
        upstream: Task,
        downstream: Task,
        key: str | None,
        mapped: bool | None,
        flattened: bool,
        validate: bool | None,
    ) -> Edge:
        """Add an edge; `mapped` None means that nobody asked for either."""
        if isinstance(downstream, Parameter):
            raise note_callsite(
                ValueError("Parameters must be root tasks and can not have upstream dependencies.")
            )
        body = MAPPED_BODY.get()
        if body is not None and body.flow is self:
            if mapped:
                refuse_mapping_inside_body()
            if mapped is None:
                mapped, flattened = self._mapping_in_body(body, upstream, flattened)
        edge = Edge(upstream, downstream, key, bool(mapped), flattened)
        if edge in self._graph.edges:
            return edge
        self._check_unassigned(downstream, key)
        if self._should_validate(validate):
            self._check_edge(edge)
        self.add_task(upstream)
        self.add_task(downstream)
        self._graph.add_edge(edge)
        return edge

    def _mapping_in_body(self, body: MappedBody, upstream: Task, flattened: bool) -> tuple[bool, bool]:
        """Map an edge made in the function of an `apply_map` if it starts at an argument or an own task."""
        if upstream in body.arguments:
            is_mapped, is_flattened = body.arguments[upstream]
            return is_mapped, is_flattened or flattened
        is_new = upstream not in self.tasks and upstream.joins_blocks
        return is_new or upstream in body.made, flattened

    def _check_unassigned(self, task: Task, key: str | None) -> None:
        node = self._graph.nodes.get(task)
        if node is None or key is None or key not in node.inputs:
            return
        error = note_callsite(
            ValueError(
                f'Argument "{key}" for task {task!r} has already been assigned in this flow. '
                "To use the task once more with other arguments, call Task.copy() first, or call the task."
            )
        )
        known = node.inputs[key].upstream_task
        error.add_note(f"It gets the result of {known!r}, and was added at {self._graph.place(task)}")
        raise error

    def _should_validate(self, validate: bool | None) -> bool:
        if validate is None:
            validate = self._validates
        return bool(config.flows.eager_edge_validation if validate is None else validate)

    def _check_edge(self, edge: Edge) -> None:
        if edge.key is not None:
            self._check_key(edge.downstream_task, edge.key)
        if {edge.upstream_task, edge.downstream_task} <= self.tasks:
            below = self._graph.reachable([edge.downstream_task], self._graph.downstream)
            if edge.upstream_task in below:
                raise note_callsite(ValueError("Cycle found; flows must be acyclic!"))

    def _check_key(self, task: Task, key: str) -> None:
        try:
            task._run_signature.check_key(key)
        except TypeError as error:
            raise note_callsite(error) from None

    def chain(self, *tasks: Any, validate: bool | None = None) -> list[Edge]:
        """Make each task come before the next one, and return the edges."""
        return [
            self.add_edge(upstream, downstream, validate=validate) for upstream, downstream in pairwise(tasks)
        ]

    def set_dependencies(
        self,
        task: Any,
        upstream_tasks: Iterable[Any] | None = None,
        downstream_tasks: Iterable[Any] | None = None,
        keyword_tasks: Mapping[str, Any] | None = None,
        mapped: bool = False,
        validate: bool | None = None,
    ) -> None:
        """
        Add a task with edges from and to it.

        Args:
            task: a task, or a value that becomes one.
            upstream_tasks: come before it, without passing data.
            downstream_tasks: come after it.
            keyword_tasks: argument -> task or plain value.
            mapped: what is not annotated is mapped over.
            validate: as for `add_edge`.
        """
        task = as_task(task, self)
        for value in upstream_tasks or ():
            self._link(value, task, None, mapped, validate)
        for key, value in (keyword_tasks or {}).items():
            self._link(value, task, key, mapped, validate)
        self.add_task(task)
        for value in downstream_tasks or ():
            self._link(task, as_task(value, self), None, mapped, validate)

    def _link(self, value: Any, task: Task, key: str | None, mapped: bool, validate: bool | None) -> None:
        """Connect an argument of a call: by an edge if a task is needed for it, else as a constant."""
        value, wish, flattened = read_annotations(value)
        if wish is None and mapped:
            wish = True
        upstream = collected(value, self)
        if key is not None and not wish and not flattened:
            if isinstance(upstream, Constant) and upstream not in self.tasks:
                value, upstream = upstream.value, None
            if upstream is None:
                self._set_constant(task, key, value, validate)
                return
        self._connect(upstream or Constant(value), task, key, wish, flattened, validate)

    def _set_constant(self, task: Task, key: str, value: Any, validate: bool | None) -> None:
        self._check_unassigned(task, key)
        if self._should_validate(validate):
            self._check_key(task, key)
        self.add_task(task)
        self._graph.constants[task][key] = value

    def replace(self, old: Any, new: Any, validate: bool | None = True) -> None:
        """
        Put a task, or a plain value, in the place of a task.

        Its edges, its arguments and its part as a reference task follow.

        Args:
            validate: check that the new task takes the arguments, and that there is no cycle.

        Raises:
            ValueError: if `old` is not in the flow, or the new task cannot stand there.
            TypeError: if (validating) the new task does not take an argument of the old one.
        """
        replace_task(self, old, new, validate)

    def update(
        self,
        flow: Flow,
        merge_parameters: bool = False,
        validate: bool | None = None,
        merge_reference_tasks: bool = False,
    ) -> None:
        """
        Add everything that another flow holds.

        Args:
            merge_parameters: this flow's parameters give way to those of the same name.
            validate: as for `add_edge`.
            merge_reference_tasks: the reference tasks of both flows decide the state of a run.

        Raises:
            ValueError: if both have a parameter of one name and they are not to be merged.
        """
        merge_flow(self, flow, merge_parameters, validate, merge_reference_tasks)

    def validate(self) -> None:
        """
        Check the whole flow.

        Raises:
            ValueError: if it has a cycle, if a task gets no value for a required argument, or if an edge or a
                reference task is outside; notes name the tasks and where they were called.
        """
        self.sorted_tasks()
        check_complete(self)

    # ---------------------------------------------------------------------------- doors: each one late import

    def run(
        self,
        parameters: Mapping[str, Any] | None = None,
        run_on_schedule: bool | None = None,
        runner_cls: type[FlowRunner] | None = None,
        **kwargs: Any,
    ) -> State:
        """
        Run the flow in this process and return its final state.

        A flow with a schedule runs at each of its times, for ever, or until none is left.

        Args:
            parameters: name -> value.
            run_on_schedule: False: run once and now, also if the flow has a schedule; default: setting
                `flows.run_on_schedule`. A run that continues another one (`resume`) runs once and now, too.
            runner_cls: runs the flow instead of the configured class.
            **kwargs: parameters by name, or `executor`, `context`, `task_states`, `state`, `flow_run_id`,
                `flow_run_name`, `task_contexts`, `task_runner_state_handlers`, `resume`.

        Returns:
            The state; its `result` maps each task to its state. None while a file is only being loaded.

        Raises:
            RuntimeError: inside the flow's own `with` block.
            ValueError: if the flow is not valid, parameters are missing or unknown, or the schedule has no
                more times.
        """
        if is_open(self):
            raise note_callsite(RuntimeError(_RUN_INSIDE))
        if context.current().get("loading_flow"):
            warn("`flow.run()` was called while the flow's file is being loaded, and did nothing.")
            return None  # type: ignore[return-value]  # only while loading; everybody else wants a State
        from tenuto.client.shipping import shipped
        from tenuto.engine.launch import run_flow

        return run_flow(self, parameters, run_on_schedule, runner_cls, shipped, **kwargs)

    def register(
        self,
        project_name: str | None = None,
        build: bool = True,
        labels: Iterable[str] | None = None,
        set_schedule_active: bool | None = True,
        version_group_id: str | None = None,
        no_url: bool = False,
        idempotency_key: str | None = None,
        **kwargs: Any,
    ) -> str:
        """
        Register the flow with a server and return the id of this version of it.

        Args:
            project_name: the project that it belongs to.
            build: store the flow's code in its storage.
            labels: added to those of its run config and storage.
            set_schedule_active: turn the flow's schedule on or off; None leaves it as it is.
            version_group_id: make this a version of that group of flows.
            no_url: print nothing.
            idempotency_key: register no new version when the last one had the same key.
            **kwargs: options of the storage that is used when the flow has none.

        Returns:
            The id. None while a file is only being loaded.

        Raises:
            ValueError: inside the flow's own `with` block.
            ServerRequired: always, as yet.
        """
        if is_open(self):
            raise note_callsite(ValueError(_REGISTER_INSIDE))
        if context.current().get("loading_flow"):
            warn("`flow.register()` was called while the flow's file is being loaded, and did nothing.")
            return None  # type: ignore[return-value]  # only while loading; everybody else wants an id
        raise note_callsite(ServerRequired("Flow.register", "Run the flow in this process with flow.run()."))

    def run_agent(
        self,
        token: str | None = None,
        show_flow_logs: bool = False,
        log_to_cloud: bool | None = None,
        api_key: str | None = None,
    ) -> None:
        """
        Start an agent on this machine that carries out runs of the flow, and stay until it is stopped.

        Args:
            token, log_to_cloud: accepted and ignored.
            show_flow_logs: print what the runs log.
            api_key: the key for the server; default: setting `cloud.api_key`.

        Raises:
            ServerRequired: always, as yet.
        """
        if context.current().get("loading_flow"):
            warn("`flow.run_agent()` was called while the flow's file is being loaded, and did nothing.")
            return
        raise note_callsite(ServerRequired("Flow.run_agent", "Run the flow in this process with flow.run()."))

    def diagnostics(self, include_secret_names: bool = False) -> str:
        """
        Return JSON text about this flow and the surroundings it would run in, for a report of a mistake.

        Values of settings and of variables are not in it, only their names.

        Args:
            include_secret_names: also name the secrets that configuration holds.
        """
        from tenuto.diagnostics import diagnostics

        return diagnostics(self, include_secret_names=include_secret_names)

    def visualize(
        self,
        flow_state: State | None = None,
        filename: str | os.PathLike[str] | None = None,
        format: str | None = None,
        horizontal: bool = False,
    ) -> Any:
        """
        Draw the flow and return the picture, a `graphviz.Digraph`.

        Args:
            flow_state: of a run; its tasks' states give the colours.
            filename: render there; default: show it in a notebook or a viewer.
            format: of the file; default: `pdf`.
            horizontal: from left to right.

        Raises:
            ImportError: without the `viz` extra.
        """
        from tenuto.visualization import visualize

        return visualize(self, flow_state, filename=filename, format=format, horizontal=horizontal)

    def serialize(self, build: bool = False) -> dict[str, Any]:
        """
        Return the flow as plain data, for JSON.

        Raises:
            ValueError: if `build` is set and the flow has no storage.
        """
        from tenuto.serialization.flow import flow_to_dict

        if build:
            if self.storage is None:
                raise note_callsite(
                    ValueError("This flow has no storage to build; give it one, or leave `build` out.")
                )
            self.storage.build()
        return flow_to_dict(self)

    def serialized_hash(self, build: bool = False) -> str:
        """Return the SHA-256 of the serialized flow: equal for flows that are built alike."""
        from tenuto.serialization.flow import canonical_hash

        return canonical_hash(self.serialize(build))

    def save(self, fpath: str | os.PathLike[str] | None = None) -> str:
        """Pickle the flow to a file, by default in the home folder's `flows`, and return the path."""
        from tenuto.serialization.flow_file import save_flow

        return save_flow(self, fpath)

    @staticmethod
    def load(fpath: str | os.PathLike[str]) -> Flow:
        """Return a saved flow by its path or, if it was saved in the home folder, its name."""
        from tenuto.serialization.flow_file import load_flow

        return load_flow(fpath)


def _source_path() -> str | None:
    """Return the file in which a flow is being created, None where there is none (notebooks, stdin)."""
    filename, _ = callsite()
    return None if filename.startswith("<") or "ipykernel_" in filename else filename
