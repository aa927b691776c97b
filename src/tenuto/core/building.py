"""
What is open while a flow is built: flows, blocks that tasks join, and the body of an `apply_map`.

All of it lives in context variables, so that threads build flows independently of each other.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from tenuto._base.callsite import note_callsite
from tenuto._base.context import context

if TYPE_CHECKING:
    from tenuto.core.flow import Flow
    from tenuto.core.task import Task


@dataclass(slots=True, eq=False)
class OpenFlow:
    """A flow whose `with` block is open, with the tasks constructed inside that have not been used yet."""

    flow: Flow
    unused: dict[Task, None] = field(default_factory=dict)
    outer_context: Any = None
    outer_blocks: tuple[Block, ...] = ()


@dataclass(slots=True, eq=False)
class MappedBody:
    """
    The body of an `apply_map` while it is executed.

    Attributes:
        flow: the flow that the body adds tasks to.
        arguments: task -> (mapped, flattened) of each argument.
        made: the tasks that the body has added.
    """

    flow: Flow
    arguments: dict[Task, tuple[bool, bool]]
    made: dict[Task, None] = field(default_factory=dict)


OPEN_FLOWS: ContextVar[tuple[OpenFlow, ...]] = ContextVar("tenuto.open_flows", default=())
OPEN_BLOCKS: ContextVar[tuple[Block, ...]] = ContextVar("tenuto.open_blocks", default=())
MAPPED_BODY: ContextVar[MappedBody | None] = ContextVar("tenuto.mapped_body", default=None)


class Block:
    """
    A `with` block that the tasks added meanwhile join; a subclass says in `close` what becomes of them.

    Raises:
        ValueError: if tasks of two flows are added inside.
    """

    def __init__(self, flow: Flow | None = None) -> None:
        self._flow = flow
        self._tasks: dict[Task, None] = {}
        self._outer: list[tuple[Block, ...]] = []

    def close(self, flow: Flow, tasks: dict[Task, None]) -> None:
        """Connect the tasks that were added inside; not called when the body failed."""
        raise NotImplementedError

    def join(self, task: Task, flow: Flow) -> None:
        """Take a task in that was just added to a flow."""
        if self._flow is None:
            self._flow = flow
        elif self._flow is not flow:
            raise note_callsite(
                ValueError(
                    f"A block belongs to one flow: {task!r} was added to {flow!r} inside a "
                    f"{type(self).__name__} block of {self._flow!r}."
                )
            )
        self._tasks[task] = None

    def _enter(self) -> None:
        outer = OPEN_BLOCKS.get()
        self._outer.append(outer)
        OPEN_BLOCKS.set((*outer, self))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The outer blocks are open again when `close` runs: what it adds belongs to them.
        OPEN_BLOCKS.set(self._outer.pop())
        tasks, self._tasks = self._tasks, {}
        if kind is None and self._flow is not None:
            self.close(self._flow, tasks)


def active_flow() -> Flow | None:
    """Return the flow whose `with` block is open here, None outside of all."""
    flow: Flow | None = context.current().get("flow")
    return flow


def active_tags() -> set[str]:
    """Return the tags of the surrounding `tags(...)` blocks."""
    return context.current().get("tags") or set()


def is_open(flow: Flow) -> bool:
    """Say whether the flow's own `with` block is open."""
    return any(opened.flow is flow for opened in OPEN_FLOWS.get())


def open_flow(flow: Flow) -> None:
    """Make `flow` the active one. Blocks that are open outside stay closed to its tasks."""
    opened = OpenFlow(flow, outer_context=context(flow=flow), outer_blocks=OPEN_BLOCKS.get())
    opened.outer_context.__enter__()
    OPEN_FLOWS.set((*OPEN_FLOWS.get(), opened))
    OPEN_BLOCKS.set(())


def close_flow() -> dict[Task, None]:
    """Undo the last `open_flow`; return the tasks that were constructed meanwhile and not used."""
    *outer, opened = OPEN_FLOWS.get()
    OPEN_FLOWS.set(tuple(outer))
    OPEN_BLOCKS.set(opened.outer_blocks)
    opened.outer_context.__exit__(None, None, None)
    return opened.unused


def note_constructed(task: Task) -> None:
    """Remember a task that was constructed in a flow's block, until it is used."""
    opened = OPEN_FLOWS.get()
    # A flow that runs while another one is built constructs tasks in its own name: then no flow is active.
    if opened and not task.auto_generated and opened[-1].flow is active_flow():
        opened[-1].unused[task] = None


def note_used(task: Task) -> None:
    """Forget a task that was added, called or copied."""
    for opened in OPEN_FLOWS.get():
        opened.unused.pop(task, None)


def refuse_mapping_inside_body() -> NoReturn:
    """Raise the error for mapping inside the function given to `apply_map`."""
    raise note_callsite(ValueError("Cannot set `mapped=True` when running from inside a mapped context"))
