"""
The graph of one flow run: a node per task, a task run per node or mapped child, and what flows along the
edges.

A node knows how many of its upstream edges still hold it back. A `Source` stands for one incoming edge once
it is
released: it answers, for a task run of any index, with the state, the value and the digest that arrive there.
    Mapping, gathering and flattening are kinds of sources; nothing else in the engine needs to know about
    them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

from tenuto.engine.state import Cached, Mapped, Pending, Skipped, State, Success
from tenuto.engine.transitions import is_mappable
from tenuto.journal.digests import combine, digest, provenance

if TYPE_CHECKING:
    from tenuto.core.edge import Edge
    from tenuto.core.task import Task
    from tenuto.engine.task_runner import TaskRunner
    from tenuto.journal.event import ResultRef

NO_INDEX = -1
_QUIET = frozenset({Success, Cached})  # states that neither a trigger nor a skip needs to look at twice


class TaskRun:
    """
    One run of a task, or of one child of a mapped task: what the engine knows of it now.

    Light on purpose: a map of 100,000 children makes as many of these.
    """

    __slots__ = (
        "digest",
        "index",
        "inputs",
        "loop_count",
        "loop_result",
        "node",
        "ref",
        "resumed",
        "run_count",
        "state",
        "waiters",
        "waiting",
    )

    def __init__(self, node: TaskNode, index: int, state: State) -> None:
        self.node = node
        self.index = index
        self.state = state
        self.run_count = 1
        self.loop_count = 1
        self.loop_result: object = None
        self.resumed = False
        self.inputs: dict[str, str] = {}
        self.digest: str | None = None
        self.ref: ResultRef | None = None
        self.waiting = 0
        self.waiters: list[TaskRun] | None = None

    def wait_for(self, upstream: TaskRun) -> None:
        """Hold this run back until an upstream child is final."""
        if upstream.state.is_finished() and not upstream.state.is_looped():
            return
        self.waiting += 1
        if upstream.waiters is None:
            upstream.waiters = []
        upstream.waiters.append(self)

    @property
    def name(self) -> str:
        """As log lines show it: `NAME`, or `NAME[INDEX]` for a mapped child."""
        name = self.node.task.name
        return name if self.index == NO_INDEX else f"{name}[{self.index}]"

    def output_digest(self) -> str:
        """Digest of what this run hands downstream: of the value where it has one, else of its provenance."""
        if self.digest is None:
            state = self.state
            self.digest = digest(state.result) if isinstance(state, Success) else None
            self.digest = self.digest or provenance(self.node.runner.code, self.inputs)
        return self.digest


class TaskNode:
    """
    A task in one flow run.

    Attributes:
        order: position in the topological order; ready task runs are taken up by it.
        upstream, downstream: the edges with the nodes at their other ends.
        held_by: number of upstream edges that are not released yet.
        sources: one per incoming edge, set when the node is released.
        run: the run of the task itself; of a mapped task, that of the parent.
        children: the runs of a mapped task's children, None while it is not expanded.
    """

    __slots__ = (
        "children",
        "downstream",
        "held_by",
        "is_mapped",
        "order",
        "previous",
        "run",
        "runner",
        "slug",
        "sources",
        "task",
        "unfinished",
        "upstream",
    )

    def __init__(self, task: Task, slug: str, order: int, runner: TaskRunner) -> None:
        self.task = task
        self.slug = slug
        self.order = order
        self.runner = runner
        self.upstream: list[tuple[Edge, TaskNode]] = []
        self.downstream: list[tuple[Edge, TaskNode]] = []
        self.held_by = 0
        self.is_mapped = False
        self.sources: list[tuple[Edge, Source]] | None = None
        self.run = TaskRun(self, NO_INDEX, Pending("Task not run."))
        self.children: list[TaskRun] | None = None
        self.unfinished = 0
        self.previous: Sequence[State] = ()

    def expand(self, length: int) -> list[TaskRun]:
        """Make the children of a mapped task; those of an earlier run bring their states along."""
        previous = self.previous
        self.children = [
            TaskRun(self, index, previous[index] if index < len(previous) else Pending())
            for index in range(length)
        ]
        self.unfinished = length
        return self.children

    def gather(self) -> None:
        """Complete the `Mapped` state of an expanded node from its children's states."""
        mapped = self.run.state
        assert self.children is not None and isinstance(mapped, Mapped)
        mapped.map_states = [child.state for child in self.children]
        mapped.result = [state.result for state in mapped.map_states]

    def final_states(self) -> list[State]:
        """Return the states that count for the flow run: the children's of a mapped task, else its own."""
        if self.children is None:
            return [self.run.state]
        return [child.state for child in self.children]

    def output_digest(self) -> str:
        """Digest of the whole output: of a mapped task, of the digests of its children."""
        if self.children is None:
            return self.run.output_digest()
        if self.run.digest is None:
            self.run.digest = combine([child.output_digest() for child in self.children])
        return self.run.digest


def is_quiet(state: State) -> bool:
    """Say whether a state satisfies the default trigger and skips nothing."""
    return type(state) in _QUIET or (isinstance(state, Success) and not isinstance(state, Skipped | Mapped))


class Source:
    """One incoming edge, released. `index` is that of the task run that asks."""

    __slots__ = ("node",)

    def __init__(self, node: TaskNode) -> None:
        self.node = node

    def state(self, index: int) -> State:
        """Return the upstream state that the task run sees."""
        return self.node.run.state

    def value(self, index: int) -> Any:
        """Return the value that the task run gets."""
        return self.node.run.state.result

    def digest(self, index: int) -> str:
        """Return the digest of that value."""
        return self.node.output_digest()

    def is_quiet(self, index: int) -> bool:
        """Say whether the default trigger passes and nothing is skipped, as far as this edge goes."""
        return is_quiet(self.node.run.state)


class Whole(Source):
    """The whole output of an upstream task; that of a mapped one is the list of its children's."""

    __slots__ = ("_quiet",)

    def __init__(self, node: TaskNode) -> None:
        super().__init__(node)
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
        return self.children[index].state.result

    def digest(self, index: int) -> str:
        return self.children[index].output_digest()

    def is_quiet(self, index: int) -> bool:
        return is_quiet(self.children[index].state)


class Items(Source):
    """The items of an upstream sequence, one for each child."""

    __slots__ = ("values",)

    def __init__(self, node: TaskNode, values: Sequence[Any]) -> None:
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


class Entries(Source):
    """
    The entries of a flattened mapped upstream task: an item each, or the state of a child that gave none.
    """

    __slots__ = ("entries",)

    def __init__(self, node: TaskNode) -> None:
        super().__init__(node)
        self.entries = list(flattened_entries(node))

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


def source_for(edge: Edge, node: TaskNode) -> Source | None:
    """
    Return the source of an edge whose upstream node has been released to it, None when it cannot be mapped
    over.

    A failed or skipped upstream of a mapped edge is seen as it is by every child.
    """
    state = node.run.state
    if not edge.mapped:
        return Flattened(node) if edge.flattened else Whole(node)
    if node.children is not None:
        return Entries(node) if edge.flattened else Children(node)
    if not isinstance(state, Success) or isinstance(state, Skipped):
        return Source(node)
    values = flatten_value(node) if edge.flattened else state.result
    return Items(node, values) if is_mappable(values) else None


def released(node: TaskNode) -> list[tuple[Edge, Source]]:
    """Return the sources of a node whose incoming edges are all released."""
    sources = []
    for edge, upstream in node.upstream:
        source = source_for(edge, upstream)
        if source is not None:
            sources.append((edge, source))
    return sources


def with_result(state: State, value: Any) -> State:
    """Return a copy of a state that carries one item of its result."""
    state = copy(state)
    state.result = value
    return state


def _is_nested(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes)


def flatten_value(node: TaskNode) -> Any:
    """
    Remove one level of nesting from a node's output; what is not a sequence of iterables stays as it is.
    """
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
