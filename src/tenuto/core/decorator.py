"""The `@task` decorator."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, Unpack, overload

from tenuto.core.function import FunctionTask

if TYPE_CHECKING:
    from tenuto.core.options import TaskOptions

__all__ = ["task"]

P = ParamSpec("P")
R = TypeVar("R")


class TaskDecorator(Protocol):
    """What `@task(...)` with options returns."""

    def __call__(self, fn: Callable[P, R], /) -> FunctionTask[P, R]: ...


@overload
def task(fn: Callable[P, R], **task_init_kwargs: Unpack[TaskOptions]) -> FunctionTask[P, R]: ...
@overload
def task(fn: None = None, **task_init_kwargs: Unpack[TaskOptions]) -> TaskDecorator: ...
def task(fn: Callable[..., Any] | None = None, **task_init_kwargs: Any) -> Any:
    """
    Make a task of a function.

    Used bare (`@task`), with options (`@task(timeout=60)`), or called (`task(fn, name="x")`).

    Args:
        fn: the function; it stays reachable as `task.run`.
        **task_init_kwargs: options as of `Task`.
    """
    if fn is None:
        return lambda fn: FunctionTask(fn, **task_init_kwargs)
    return FunctionTask(fn, **task_init_kwargs)
