"""Changes to a flow that exists: a task in the place of another one, one flow added to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenuto.core.nodes import Constant, collected

if TYPE_CHECKING:
    from tenuto.core.flow import Flow
    from tenuto.core.task import Task


def replace_task(flow: Flow, old: Any, new: Any, validate: bool | None) -> None:
    """Put a task or a plain value in the place of a task; see `Flow.replace`."""
    old = flow._own(old)
    before = flow._graph, flow._reference_tasks
    # All or nothing: a replacement that is refused half-way must not leave half of it behind.
    flow._graph = flow._graph.copy()
    try:
        _replace(flow, old, collected(new, flow), new, validate)
    except (TypeError, ValueError):
        flow._graph, flow._reference_tasks = before
        raise


def _replace(flow: Flow, old: Task, task: Task | None, value: Any, validate: bool | None) -> None:
    """Replace `old` by `task`, or by `value` where there is no task."""
    if task is old:
        return
    upstream, downstream = flow.upstream_edges(old), flow.downstream_edges(old)
    constants = flow.constants.pop(old, {})
    position = list(flow.tasks).index(old)
    flow._graph.remove_task(old)
    if task is not None:
        if task not in flow.tasks:
            flow.add_task(task)
            flow._graph.move(task, position)
        for edge in upstream:
            flow._connect(edge.upstream_task, task, edge.key, edge.mapped, edge.flattened, validate)
        for key, constant in constants.items():
            flow._set_constant(task, key, constant, validate)
    for edge in downstream:
        if task is None and edge.key is not None and not edge.mapped and not edge.flattened:
            flow._set_constant(edge.downstream_task, edge.key, value, validate)
        else:
            new = Constant(value) if task is None else task
            flow._connect(new, edge.downstream_task, edge.key, edge.mapped, edge.flattened, validate)
    chosen = [task if known is old else known for known in flow._reference_tasks]
    flow._reference_tasks = {known: None for known in chosen if known is not None}


def merge_flow(
    flow: Flow, other: Flow, merge_parameters: bool, validate: bool | None, merge_reference_tasks: bool
) -> None:
    """Add everything that `other` holds to `flow`; see `Flow.update`."""
    reference = [*flow.reference_tasks(), *other.reference_tasks()]
    if merge_parameters:
        own = {parameter.name: parameter for parameter in flow.parameters()}
        for parameter in other.parameters():
            known = own.get(parameter.name)
            if known is not None and known is not parameter:
                flow.replace(known, parameter, validate=False)
                reference = [parameter if task is known else task for task in reference]
    for task in other.tasks:
        flow.add_task(task)
    for edge in other.edges:
        flow._connect(
            edge.upstream_task, edge.downstream_task, edge.key, edge.mapped, edge.flattened, validate
        )
    for task, values in other.constants.items():
        flow.constants[task] = dict(values)
    if merge_reference_tasks:
        flow.set_reference_tasks(reference)
