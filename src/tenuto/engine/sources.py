"""
What arrives at a task along its edges: whole outputs, children of a map, items, flattened entries.

A `Source` stands for one incoming edge once it is released. It answers, for a task run of any index, with the
state, the value and the digest that arrive there. Mapping, gathering and flattening are kinds of sources;
nothing else in the engine needs to know about them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

from tenuto._base.digests import combine, digest
from tenuto._base.logging import get_logger
from tenuto.engine.result.remote import RemoteValue
from tenuto.engine.state import Skipped, State, Success
from tenuto.engine.transitions import is_mappable, is_quiet

if TYPE_CHECKING:
    from tenuto.core.edge import Edge
    from tenuto.engine.task_run import TaskNode


class Source:
    """One incoming edge, released. `index` is that of the task run that asks."""

    __slots__ = ("node",)

    def __init__(self, node: TaskNode) -> None:
        self.node = node

    def state(self, index: int) -> State:
        """Return the upstream state that the task run sees."""
        return self.node.run.state

    def value(self, index: int) -> Any:
        """Return the value that the task run gets, or where it lies (a `RemoteValue`)."""
        return self.node.run.state.carried

    def digest(self, index: int) -> str:
        """Return the digest of that value."""
        return self.node.output_digest()

    def is_quiet(self, index: int) -> bool:
        """Say whether the default trigger passes and nothing is skipped, as far as this edge goes."""
        return is_quiet(self.node.run.state)


Sources = list[tuple["Edge", Source]]
"""What arrives at a task: the edges that end in it, each with its source."""


class Whole(Source):
    """The whole output of an upstream task; that of a mapped one is the list of its children's."""

    __slots__ = ("_quiet",)

    def __init__(self, node: TaskNode) -> None:
        self.node = node
        # Decided once: every child of a mapped task may look at the same thousands of upstream children.
        if node.children is None:
            self._quiet = is_quiet(node.run.state)
        else:
            self._quiet = all(is_quiet(child.state) for child in node.children)

    def is_quiet(self, index: int) -> bool:
        return self._quiet


class Flattened(Whole):
    """The output of an upstream task with one level of nesting removed, handed over as a whole."""

    __slots__ = ("_values",)

    def __init__(self, node: TaskNode) -> None:
        super().__init__(node)
        self._values = flatten_value(node)

    def value(self, index: int) -> Any:
        return self._values

    def digest(self, index: int) -> str:
        return combine(["flatten", self.node.output_digest()])


class Children(Source):
    """A mapped upstream task, followed child by child."""

    __slots__ = ("children",)

    def __init__(self, node: TaskNode) -> None:
        super().__init__(node)
        assert node.children is not None
        self.children = node.children

    def __len__(self) -> int:
        return len(self.children)

    def state(self, index: int) -> State:
        return self.children[index].state

    def value(self, index: int) -> Any:
        return self.children[index].state.carried

    def digest(self, index: int) -> str:
        return self.children[index].output_digest()

    def is_quiet(self, index: int) -> bool:
        return is_quiet(self.children[index].state)


class Items(Source):
    """The items of an upstream sequence, one for each child."""

    __slots__ = ("values",)

    def __init__(self, node: TaskNode, values: Sequence[Any] | RemoteValue) -> None:
        super().__init__(node)
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def state(self, index: int) -> State:
        return with_result(self.node.run.state, self.values[index])

    def value(self, index: int) -> Any:
        return self.values[index]

    def digest(self, index: int) -> str:
        return digest(self.values[index]) or combine([self.node.output_digest(), str(index)])


class Unmappable(Source):
    """The output of an upstream task that is to be mapped over and cannot be."""

    __slots__ = ()


class Entries(Source):
    """The entries of a flattened mapped upstream: an item each, or the state of a child that gave none."""

    __slots__ = ("entries",)

    def __init__(self, node: TaskNode) -> None:
        super().__init__(node)
        self.entries = list(flattened_entries(node))
        assert node.children is not None
        if any(is_quiet(child.state) and not _is_nested(child.state.result) for child in node.children):
            get_logger("FlowRunner").warning(
                "Task '%s': Some of its results cannot be flattened; each is passed on as it is.",
                node.task.name,
            )

    def __len__(self) -> int:
        return len(self.entries)

    def state(self, index: int) -> State:
        state, value = self.entries[index]
        return with_result(state, value)

    def value(self, index: int) -> Any:
        return self.entries[index][1]

    def digest(self, index: int) -> str:
        return digest(self.entries[index][1]) or combine(["flatten", self.node.output_digest(), str(index)])

    def is_quiet(self, index: int) -> bool:
        return is_quiet(self.entries[index][0])


def source_for(edge: Edge, node: TaskNode) -> Source:
    """Return the source of a released edge; what failed and is mapped over is seen so by each child."""
    state = node.run.state
    if not edge.mapped:
        return Flattened(node) if edge.flattened else Whole(node)
    if node.children is not None:
        return Entries(node) if edge.flattened else Children(node)
    if not isinstance(state, Success):
        return Source(node)
    values = flatten_value(node) if edge.flattened else state.carried
    if isinstance(values, RemoteValue):
        return Unmappable(node) if values.length is None else Items(node, values)
    return Items(node, values) if is_mappable(values) else Unmappable(node)


def with_result(state: State, value: Any) -> State:
    """Return a copy of a state that carries one item of its result."""
    state = copy(state)
    state.result = value
    return state


def _is_nested(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes)


def flatten_value(node: TaskNode) -> Any:
    """Remove one level of nesting from a node's output; other than nested sequences stay as they are."""
    if node.children is not None:
        return [value for _, value in flattened_entries(node)]
    value = node.run.state.result
    if (
        isinstance(value, Sequence)
        and not isinstance(value, str | bytes)
        and all(_is_nested(item) for item in value)
    ):
        return [entry for item in value for entry in item]
    return value


def flattened_entries(node: TaskNode) -> Iterable[tuple[State, Any]]:
    """Yield what the children of a mapped node contribute when flattened: their items, or one entry each."""
    assert node.children is not None
    for child in node.children:
        state, value = child.state, child.state.result
        if isinstance(state, Success) and not isinstance(state, Skipped) and _is_nested(value):
            for item in value:
                yield state, item
        else:
            yield state, value
