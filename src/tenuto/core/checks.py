"""Checks of a whole flow, made before it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenuto._base.callsite import note_callsite

if TYPE_CHECKING:
    from tenuto.core.flow import Flow
    from tenuto.core.task import Task


def check_complete(flow: Flow) -> None:
    """
    Check that nothing a flow refers to is missing.

    Raises:
        ValueError: if an edge or reference task is outside, or a task gets no value for a required argument.
    """
    if any(not edge.tasks <= flow.tasks for edge in flow.edges):
        raise note_callsite(ValueError("Some edges refer to tasks not contained in this flow."))
    if not flow._reference_tasks.keys() <= flow.tasks:
        raise note_callsite(ValueError("Some reference tasks are not contained in this flow."))
    unbound = {task: missing for task in flow.tasks if (missing := missing_arguments(flow, task))}
    if unbound:
        which = "; ".join(f"{task!r}: {', '.join(names)}" for task, names in unbound.items())
        error = note_callsite(
            ValueError(
                f"Some tasks of {flow!r} get no value for a required argument: {which}. Call them with it."
            )
        )
        flow._graph.note_places(error, list(unbound))
        raise error


def missing_arguments(flow: Flow, task: Task) -> list[str]:
    """Return the required arguments of a task that neither an edge nor a constant brings."""
    required = task._run_signature.required
    if not required:
        return []
    brought = flow._graph.nodes[task].inputs.keys() | flow.constants.get(task, {}).keys()
    return [name for name in required if name not in brought]
