"""Tasks made of functions."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeAlias, TypeVar, Unpack, overload

from tenuto._base.callsite import note_callsite
from tenuto.core.signatures import check_run
from tenuto.core.task import Task

if TYPE_CHECKING:
    from tenuto.core.flow import Flow
    from tenuto.core.options import FunctionTaskOptions

__all__ = ["FunctionTask"]

P = ParamSpec("P")
R = TypeVar("R", covariant=True)
T = TypeVar("T")

if TYPE_CHECKING:
    Async: TypeAlias = "FunctionTask[P, Coroutine[Any, Any, T]]"
    Upstream: TypeAlias = Iterable[Any] | None
    TaskArgs: TypeAlias = Mapping[str, Any] | None


class FunctionTask(Task, Generic[P, R]):
    """
    A task whose `run` is a function; what `@task` makes.

    Args:
        fn: the function.
        name: default: the function's name.
        **kwargs: options as of `Task`.

    Raises:
        TypeError: if `fn` is not callable.
        ValueError: if its arguments cannot be found out, or cannot be those of a task.
    """

    def __init__(
        self, fn: Callable[P, R], name: str | None = None, **kwargs: Unpack[FunctionTaskOptions]
    ) -> None:
        if not callable(fn):
            raise note_callsite(TypeError("`fn` must be callable"))
        try:
            check_run(inspect.signature(fn))
        except ValueError as error:
            raise note_callsite(_not_a_task(fn, error)) from None
        self.run = fn  # type: ignore[method-assign]  # the function, without `self`
        super().__init__(name=name or getattr(fn, "__name__", type(fn).__name__), **kwargs)
        functools.update_wrapper(self, fn, updated=())

    if TYPE_CHECKING:

        def run(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    # To a type checker, a call gives what the function returns, and of an `async def` what that is awaited
    # for. A call with none of the reserved keywords is checked against the function. ParamSpec has no way to
    # add keywords to a signature, so the other overloads need one of these and check nothing else.
    @overload  # type: ignore[override]  # what a function takes is narrower than what any task may take
    def __call__(self: Async[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(self: Async[P, T], *args: Any, upstream_tasks: Upstream, **kwargs: Any) -> T: ...
    @overload
    def __call__(self, *args: Any, upstream_tasks: Upstream, **kwargs: Any) -> R: ...
    @overload
    def __call__(self: Async[P, T], *args: Any, task_args: TaskArgs, **kwargs: Any) -> T: ...
    @overload
    def __call__(self, *args: Any, task_args: TaskArgs, **kwargs: Any) -> R: ...
    @overload
    def __call__(self: Async[P, T], *args: Any, flow: Flow | None, **kwargs: Any) -> T: ...
    @overload
    def __call__(self, *args: Any, flow: Flow | None, **kwargs: Any) -> R: ...
    @overload
    def __call__(self: Async[P, T], *args: Any, mapped: bool, **kwargs: Any) -> T: ...
    @overload
    def __call__(self, *args: Any, mapped: bool, **kwargs: Any) -> R: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Put a copy of this task into a flow; see `Task.__call__`."""
        return super().__call__(*args, **kwargs)

    if TYPE_CHECKING:

        @overload
        def map(self: Async[P, T], *args: Any, **kwargs: Any) -> list[T]: ...
        @overload
        def map(self, *args: Any, **kwargs: Any) -> list[R]: ...
        def map(self, *args: Any, **kwargs: Any) -> Any: ...

    def _name_in_code(self) -> str:
        return self.name


def _not_a_task(fn: Callable[..., Any], error: ValueError) -> ValueError:
    if not inspect.isbuiltin(fn) and not inspect.isclass(fn):
        return error
    name = getattr(fn, "__name__", repr(fn))
    return ValueError(
        f"The arguments of {name!r} cannot be inspected; wrap it in a Python function to make it a task."
    )
