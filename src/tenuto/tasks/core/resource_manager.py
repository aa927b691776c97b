"""Resources of a flow: set up before the tasks that use them, cleaned up after, whatever became of these."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, ParamSpec, overload

from tenuto._base.callsite import note_callsite
from tenuto.core.building import Block, active_flow
from tenuto.core.signatures import check_run
from tenuto.core.task import Task
from tenuto.engine.signals import SKIP

if TYPE_CHECKING:
    from tenuto.core.edge import Edge
    from tenuto.core.flow import Flow
    from tenuto.engine.state import State

__all__ = [
    "ResourceCleanupTask",
    "ResourceContext",
    "ResourceInitTask",
    "ResourceManager",
    "ResourceSetupTask",
    "resource_cleanup_trigger",
    "resource_manager",
]

P = ParamSpec("P")


def resource_cleanup_trigger(upstream_states: Mapping[Edge, State]) -> bool:
    """
    Run a clean-up when everything before it has finished, unless there is nothing to clean up.

    Raises:
        SKIP: if the resource was not made or not set up.
    """
    states = {edge.key: state for edge, state in upstream_states.items()}
    for key, step in (("resource", "init"), ("handle", "setup")):
        state = states.get(key)
        if state is not None and state.is_failed():
            raise SKIP(f"Resource manager {step} failed", result=None)
        if state is not None and state.is_skipped():
            raise SKIP(f"Resource manager {step} skipped", result=None)
    return True


class ResourceInitTask(Task):
    """
    Makes the resource: its `run` is the class.

    Args:
        resource_class: called with the arguments given to the manager.
    """

    resource_role: ClassVar[str | None] = "init"

    def __init__(self, resource_class: Callable[..., Any], **kwargs: Any) -> None:
        try:
            check_run(inspect.signature(resource_class))
        except ValueError as error:
            raise note_callsite(error) from None
        self.resource_class = resource_class
        self.run = resource_class  # type: ignore[method-assign]  # it takes whatever the class takes
        super().__init__(**kwargs)


class ResourceSetupTask(Task):
    """Calls the resource's `setup`; what that returns is what the block works with."""

    resource_role: ClassVar[str | None] = "setup"

    def run(self, resource: Any) -> Any:
        return resource.setup()


class ResourceCleanupTask(Task):
    """Calls the resource's `cleanup` with what `setup` returned."""

    resource_role: ClassVar[str | None] = "cleanup"

    def run(self, resource: Any, handle: Any = None) -> None:
        resource.cleanup(handle)


class ResourceContext(Block):
    """
    The `with` block of a resource: the tasks inside run after its set-up and before its clean-up.

    Args:
        init_task, setup_task, cleanup_task: of the resource, in the flow already; there may be no set-up.
        flow: the flow of the block.
    """

    def __init__(self, init_task: Task, setup_task: Task | None, cleanup_task: Task, flow: Flow) -> None:
        super().__init__(flow)
        self.init_task = init_task
        self.setup_task = setup_task
        self.cleanup_task = cleanup_task

    def __enter__(self) -> Any:
        self._enter()
        return self.setup_task

    def close(self, flow: Flow, tasks: dict[Task, None]) -> None:
        """Put the resource's tasks round those of the block."""
        ready = self.setup_task or self.init_task
        for task in tasks:
            upstream = flow.upstream_tasks(task)
            if ready not in upstream and not upstream & tasks.keys():
                flow.add_edge(ready, task)
            if not flow.downstream_tasks(task) & tasks.keys():
                flow.add_edge(task, self.cleanup_task)


class ResourceManager(Generic[P]):
    """
    Makes the tasks of a resource each time it is called in a flow; what `@resource_manager` returns.

    Args:
        resource_class: has `cleanup(handle)`, and may have `setup()`, whose result is the handle.
        name: of the tasks `NAME`, `NAME.setup` and `NAME.cleanup`; default: the class's name.
        init_task_kwargs, setup_task_kwargs, cleanup_task_kwargs: options of these tasks, as of `Task`.

    Raises:
        TypeError: if the class has no `cleanup`.
    """

    def __init__(
        self,
        resource_class: Callable[P, Any],
        name: str | None = None,
        init_task_kwargs: Mapping[str, Any] | None = None,
        setup_task_kwargs: Mapping[str, Any] | None = None,
        cleanup_task_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        name = name or getattr(resource_class, "__name__", type(resource_class).__name__)
        if inspect.isclass(resource_class) and not hasattr(resource_class, "cleanup"):
            raise note_callsite(
                TypeError(f"The resource class {name!r} has no method `cleanup(self, handle)`.")
            )
        self.resource_class = resource_class
        self.name = name
        self.init_task_kwargs = {"name": name, **(init_task_kwargs or {})}
        self.setup_task_kwargs = {"name": f"{name}.setup", "checkpoint": False, **(setup_task_kwargs or {})}
        self.cleanup_task_kwargs = {
            "name": f"{name}.cleanup",
            "checkpoint": False,
            "trigger": resource_cleanup_trigger,
            "skip_on_upstream_skip": False,
            **(cleanup_task_kwargs or {}),
        }

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> ResourceContext: ...
    @overload
    def __call__(self, *args: Any, flow: Flow | None, **kwargs: Any) -> ResourceContext: ...
    def __call__(  # type: ignore[misc]  # no resource class takes `flow`: that is checked in ResourceInitTask
        self, *args: Any, flow: Flow | None = None, **kwargs: Any
    ) -> ResourceContext:
        """
        Add the resource's tasks to a flow and return the block for those that use it.

        Args:
            *args, **kwargs: of the class: tasks or plain values.
            flow: default: the flow whose `with` block is open.

        Raises:
            ValueError: if there is no flow.
        """
        flow = flow or active_flow()
        if flow is None:
            raise note_callsite(ValueError("Could not infer an active Flow context."))
        init_task = ResourceInitTask(self.resource_class, **self.init_task_kwargs)
        init_task.bind(*args, flow=flow, **kwargs)
        setup_task = None
        if hasattr(self.resource_class, "setup"):
            setup_task = ResourceSetupTask(**self.setup_task_kwargs).bind(init_task, flow=flow)
        cleanup_task = ResourceCleanupTask(**self.cleanup_task_kwargs)
        cleanup_task.bind(resource=init_task, handle=setup_task, flow=flow)
        return ResourceContext(init_task, setup_task, cleanup_task, flow)


@overload
def resource_manager(resource_class: Callable[P, Any]) -> ResourceManager[P]: ...
@overload
def resource_manager(
    resource_class: Callable[P, Any],
    *,
    name: str | None = ...,
    init_task_kwargs: Mapping[str, Any] | None = ...,
    setup_task_kwargs: Mapping[str, Any] | None = ...,
    cleanup_task_kwargs: Mapping[str, Any] | None = ...,
) -> ResourceManager[P]: ...
@overload
def resource_manager(
    resource_class: None = None,
    *,
    name: str | None = ...,
    init_task_kwargs: Mapping[str, Any] | None = ...,
    setup_task_kwargs: Mapping[str, Any] | None = ...,
    cleanup_task_kwargs: Mapping[str, Any] | None = ...,
) -> Callable[[Callable[P, Any]], ResourceManager[P]]: ...
def resource_manager(
    resource_class: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    init_task_kwargs: Mapping[str, Any] | None = None,
    setup_task_kwargs: Mapping[str, Any] | None = None,
    cleanup_task_kwargs: Mapping[str, Any] | None = None,
) -> Any:
    """
    Make a class a resource of flows: `with Cluster(size=3) as handle:` inside a flow.

    The clean-up runs when the block's tasks are finished, also if they failed. Used bare or with options, as
    described at `ResourceManager`.
    """

    def decorate(resource_class: Callable[..., Any]) -> ResourceManager[...]:
        return ResourceManager(resource_class, name, init_task_kwargs, setup_task_kwargs, cleanup_task_kwargs)

    return decorate if resource_class is None else decorate(resource_class)
