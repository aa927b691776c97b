"""The nodes that Python's operators make of tasks."""

from __future__ import annotations

import operator
from typing import Any

from tenuto._base.callsite import note_callsite
from tenuto.core.building import active_flow
from tenuto.core.sentinel import NO_DEFAULT
from tenuto.core.task import Task

__all__ = [
    "Add",
    "And",
    "Div",
    "Equal",
    "FloorDiv",
    "GetAttr",
    "GetItem",
    "GreaterThan",
    "GreaterThanOrEqual",
    "LessThan",
    "LessThanOrEqual",
    "Mod",
    "Mul",
    "Not",
    "NotEqual",
    "Or",
    "Pow",
    "Sub",
]


class GetItem(Task):
    """
    Takes one item out of a task's result.

    Args:
        default: used where there is no such key.
    """

    def __init__(self, default: Any = NO_DEFAULT, *args: Any, **kwargs: Any) -> None:
        self.default = default
        super().__init__(*args, **kwargs)

    def run(self, task_result: Any, key: Any) -> Any:
        """Return `task_result[key]`, or the default on a KeyError."""
        try:
            return task_result[key]
        except KeyError:
            if self.default is NO_DEFAULT:
                raise
            return self.default


class GetAttr(Task):
    """
    Takes one attribute of a task's result.

    Args:
        default: used where there is no such attribute.
    """

    def __init__(self, default: Any = NO_DEFAULT, *args: Any, **kwargs: Any) -> None:
        self.default = default
        super().__init__(*args, **kwargs)

    def run(self, task_result: Any, attr: str) -> Any:
        """Return the attribute, or the default on an AttributeError."""
        try:
            return getattr(task_result, attr)
        except AttributeError:
            if self.default is NO_DEFAULT:
                raise
            return self.default


class Add(Task):
    """Computes `x + y`."""

    def run(self, x: Any, y: Any) -> Any:
        return x + y


class Sub(Task):
    """Computes `x - y`."""

    def run(self, x: Any, y: Any) -> Any:
        return x - y


class Mul(Task):
    """Computes `x * y`."""

    def run(self, x: Any, y: Any) -> Any:
        return x * y


class Div(Task):
    """Computes `x / y`."""

    def run(self, x: Any, y: Any) -> Any:
        return x / y


class FloorDiv(Task):
    """Computes `x // y`."""

    def run(self, x: Any, y: Any) -> Any:
        return x // y


class Mod(Task):
    """Computes `x % y`."""

    def run(self, x: Any, y: Any) -> Any:
        return x % y


class Pow(Task):
    """Computes `x ** y`."""

    def run(self, x: Any, y: Any) -> Any:
        return x**y


class And(Task):
    """Computes `x and y`."""

    def run(self, x: Any, y: Any) -> Any:
        return x and y


class Or(Task):
    """Computes `x or y`."""

    def run(self, x: Any, y: Any) -> Any:
        return x or y


class Not(Task):
    """Computes `not x`."""

    def run(self, x: Any) -> Any:
        return not x


class Equal(Task):
    """Computes `x == y`."""

    def run(self, x: Any, y: Any) -> Any:
        return operator.eq(x, y)


class NotEqual(Task):
    """Computes `x != y`."""

    def run(self, x: Any, y: Any) -> Any:
        return operator.ne(x, y)


class GreaterThan(Task):
    """Computes `x > y`."""

    def run(self, x: Any, y: Any) -> Any:
        return x > y


class GreaterThanOrEqual(Task):
    """Computes `x >= y`."""

    def run(self, x: Any, y: Any) -> Any:
        return x >= y


class LessThan(Task):
    """Computes `x < y`."""

    def run(self, x: Any, y: Any) -> Any:
        return x < y


class LessThanOrEqual(Task):
    """Computes `x <= y`."""

    def run(self, x: Any, y: Any) -> Any:
        return x <= y


def get_item(task: Any, key: Any) -> Any:
    """Return the node for `task[key]`, persisted as the task is, but never at the task's own location."""
    shown = key.name if isinstance(key, Task) else repr(key)
    result = task.result
    if result is not None:
        result = result.copy()
        result.set_location(None)
    return GetItem(name=f"{task.name}[{shown}]", checkpoint=task.checkpoint, result=result).bind(task, key)


def chain(upstream: Any, downstream: Any) -> Any:
    """Make one task run after another in the active flow; return the later one."""
    flow = active_flow()
    if flow is None:
        raise note_callsite(ValueError("No Flow was passed, and could not infer an active Flow context."))
    return flow.add_edge(upstream, downstream).downstream_task
