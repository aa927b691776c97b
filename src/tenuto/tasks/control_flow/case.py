"""`with case(task, value):` runs the tasks of its block only if the task's result equals the value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenuto._base.callsite import note_callsite, warn
from tenuto.core.building import Block
from tenuto.core.task import Task
from tenuto.tasks.control_flow.conditional import CompareValue, warn_of_plain_condition
from tenuto.triggers import not_all_skipped

if TYPE_CHECKING:
    from tenuto.core.flow import Flow

__all__ = ["case"]


class case(Block):
    """
    A branch of a flow.

    The tasks added in the block are skipped unless the result of `task` equals `value`. Tasks that are only
    used inside, parameters and constants are not part of it. Blocks nest; those that follow each other are
    independent.

    Args:
        task: the condition.
        value: anything but a task.

    Raises:
        TypeError: if the value is a task.
        ValueError: if tasks of two flows are added inside.
    """

    def __init__(self, task: Any, value: Any) -> None:
        super().__init__()
        if isinstance(value, Task):
            raise note_callsite(TypeError("`value` cannot be a task"))
        warn_of_plain_condition(task)
        self.task = task
        self.value = value

    def __enter__(self) -> None:
        self._enter()

    def close(self, flow: Flow, tasks: dict[Task, None]) -> None:
        """Put the comparison before the tasks of the block that depend on no other one of it."""
        if not tasks:
            return
        first = [task for task in tasks if not flow.upstream_tasks(task) & tasks.keys()]
        compare = CompareValue(self.value, name=f"case({self.value})").bind(value=self.task, flow=flow)
        for task in first:
            if not task.skip_on_upstream_skip and task.trigger is not not_all_skipped:
                warn(
                    f"{task!r} has `skip_on_upstream_skip=False`, so it will run also when its `case` block "
                    "is skipped."
                )
            flow.add_edge(compare, task)
