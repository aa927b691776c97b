"""What a flow's author calls besides tasks and flows: tags, conversions, mapped functions."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from tenuto._base.callsite import note_callsite
from tenuto._base.context import context
from tenuto._base.datetimes import utc_now
from tenuto.core.annotations import EdgeAnnotation, read_annotations
from tenuto.core.building import MAPPED_BODY, MappedBody, active_flow, active_tags, refuse_mapping_inside_body
from tenuto.core.decorator import task
from tenuto.core.nodes import Constant, as_task
from tenuto.core.task import Task
from tenuto.engine.signals import PAUSE

if TYPE_CHECKING:
    from tenuto.core.flow import Flow

__all__ = ["apply_map", "as_task", "defaults_from_attrs", "pause_task", "tags", "task"]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


@contextmanager
def tags(*tags: str) -> Iterator[None]:
    """Add tags to all tasks that are constructed, copied or bound in the block; blocks nest by union."""
    with context(tags=active_tags() | set(tags)):
        yield


def defaults_from_attrs(*attr_args: str) -> Callable[[F], F]:
    """
    Decorate a `run` so that arguments that are not passed come from the task's attributes of the same names.

    An explicit None is passed as it is.
    """

    def decorate(run: F) -> F:
        positional = list(inspect.signature(run).parameters)[1:]

        @functools.wraps(run)
        def with_defaults(self: Task, *args: Any, **kwargs: Any) -> Any:
            given = {*positional[: len(args)], *kwargs}
            for name in attr_args:
                if name not in given:
                    kwargs[name] = getattr(self, name)
            return run(self, *args, **kwargs)

        return with_defaults  # type: ignore[return-value]  # called like `run`, whatever its arguments are

    return decorate


def pause_task(message: str | None = None, duration: timedelta | None = None) -> None:
    """
    Pause the task that calls this, unless it has been resumed.

    After resuming, all of its `run` is executed again.

    Args:
        duration: resume by itself after this time; default: wait until somebody resumes it.

    Raises:
        PAUSE: to pause.
    """
    if context.current().get("resume"):
        return
    message = message or "Pause signal raised during task execution."
    if duration is None:
        raise PAUSE(message)
    raise PAUSE(message, start_time=utc_now() + duration)


def apply_map(func: Callable[..., T], *args: Any, flow: Flow | None = None, **kwargs: Any) -> T:
    """
    Map a function that adds several tasks to a flow.

    Args:
        func: called once, now, with tasks in place of the arguments; each task that it adds runs once for
            each item of the arguments. It may use `case` and `merge`. It must take `flow` if that is given.
        *args, **kwargs: tasks or sequences; those wrapped in `unmapped` are handed over whole.
        flow: default: the flow whose `with` block is open.

    Returns:
        What `func` returns.

    Raises:
        TypeError: if an argument cannot be mapped over.
        ValueError: if there is no flow, or something is mapped inside `func`.
    """
    target = flow or active_flow()
    if target is None:
        raise note_callsite(ValueError("Couldn't infer a flow in the current context"))
    outer = MAPPED_BODY.get()
    if outer is not None and outer.flow is target:
        refuse_mapping_inside_body()
    body = MappedBody(target, {})
    arguments = [_argument(value, body) for value in args]
    keywords: dict[str, Any] = {name: _argument(value, body) for name, value in kwargs.items()}
    if flow is not None:
        keywords["flow"] = flow
    token = MAPPED_BODY.set(body)
    try:
        made = func(*arguments, **keywords)
    finally:
        MAPPED_BODY.reset(token)
    _map_over_arguments(body)
    return made


def _argument(value: Any, body: MappedBody) -> Task:
    """Return the task that stands for an argument, and note how it is mapped."""
    plain, mapped, flattened = read_annotations(value)
    if not isinstance(value, EdgeAnnotation | Task) and (
        not hasattr(plain, "__getitem__") or isinstance(plain, Mapping)
    ):
        raise note_callsite(
            TypeError(f"Cannot map over non-sequence object of type `{type(plain).__name__}`")
        )
    wish = (mapped is not False, flattened)
    source = as_task(plain, body.flow)
    if body.arguments.get(source, wish) != wish:
        # The same task twice, once mapped and once whole: the second one gets a node of its own.
        source = Same(name=source.name).bind(source, flow=body.flow)
    if wish != (False, False) or not isinstance(source, Constant):
        body.flow.add_task(source)  # a constant that is no node would be taken for its value, as a whole
    body.arguments[source] = wish
    return source


def _map_over_arguments(body: MappedBody) -> None:
    """Make all tasks of the body depend on all mapped arguments, so that each has a child for each item."""
    flow = body.flow
    for first in body.made:
        edges = flow.upstream_edges(first)
        if any(edge.upstream_task in body.made for edge in edges):
            continue
        followed = {edge.upstream_task for edge in edges if edge.mapped}
        for source, (mapped, flattened) in body.arguments.items():
            if mapped and source not in followed:
                flow.add_edge(source, first, mapped=True, flattened=flattened)


class Same(Task):
    """Hands on what it gets."""

    def run(self, value: Any) -> Any:
        return value
