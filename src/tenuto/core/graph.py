"""The tasks and edges of a flow, kept so that adding one and looking at neighbours takes constant time."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tenuto._base.callsite import callsite, note_callsite
from tenuto.core.parameter import Parameter

if TYPE_CHECKING:
    from tenuto.core.edge import Edge
    from tenuto.core.task import Task

_PLACES_MAX = 20


@dataclass(slots=True, eq=False)
class Node:
    """
    A task's place in a graph.

    Attributes:
        called_at: file and line of the user's code that added it.
        upstream, downstream: edges in the order in which they were added; the values mean nothing.
        inputs: argument -> the edge that brings it.
    """

    called_at: tuple[str, int]
    upstream: dict[Edge, None] = field(default_factory=dict)
    downstream: dict[Edge, None] = field(default_factory=dict)
    inputs: dict[str, Edge] = field(default_factory=dict)

    def copy(self) -> Node:
        """Return a node of its own with the same edges."""
        return Node(self.called_at, dict(self.upstream), dict(self.downstream), dict(self.inputs))


class Graph:
    """
    A directed graph of tasks, in the order in which they were added, with slugs and constant arguments.

    It may hold cycles while it is built; `sort` finds them.
    """

    def __init__(self) -> None:
        self.nodes: dict[Task, Node] = {}
        self.edges: dict[Edge, None] = {}
        self.slugs: dict[Task, str] = {}
        self.constants: defaultdict[Task, dict[str, Any]] = defaultdict(dict)
        self._tasks_by_slug: dict[str, Task] = {}
        self._counters: dict[str, int] = {}
        self._sorted: list[Task] | None = None

    def copy(self) -> Graph:
        """Return a graph of its own that shares the tasks and edges."""
        new = Graph()
        new.nodes = {task: node.copy() for task, node in self.nodes.items()}
        new.edges = dict(self.edges)
        new.slugs = dict(self.slugs)
        for task, values in self.constants.items():
            new.constants[task] = dict(values)
        new._tasks_by_slug = dict(self._tasks_by_slug)
        new._counters = dict(self._counters)
        return new

    # ------------------------------------------------------------------------------------------------- change

    def add_task(self, task: Task) -> None:
        """
        Add a task that is not there yet.

        Raises:
            ValueError: if another task has its slug.
        """
        slug = task.slug
        if slug is None:
            slug = self._new_slug(task)
        elif slug in self._tasks_by_slug:
            raise self._slug_taken(slug)
        self._sorted = None
        self.nodes[task] = Node(callsite())
        self.slugs[task] = slug
        self._tasks_by_slug[slug] = task

    def _new_slug(self, task: Task) -> str:
        prefix = "-".join([task.name, *sorted(task.tags)])
        number = self._counters.get(prefix, 0) + 1
        while (slug := f"{prefix}-{number}") in self._tasks_by_slug:
            number += 1
        self._counters[prefix] = number
        return slug

    def _slug_taken(self, slug: str) -> ValueError:
        other = self._tasks_by_slug[slug]
        message = f'A task with the slug "{slug}" already exists in this flow.'
        if isinstance(other, Parameter):
            message += (
                f' It is the parameter "{slug}": parameters of one flow need different names. '
                "Use the same Parameter object wherever its value is needed."
            )
        error = note_callsite(ValueError(message))
        self.note_places(error, [other])
        return error

    def remove_task(self, task: Task) -> None:
        """Remove a task with its edges and constants."""
        node = self.nodes[task]
        for edge in [*node.upstream, *node.downstream]:
            self.remove_edge(edge)
        self._sorted = None
        del self.nodes[task]
        del self._tasks_by_slug[self.slugs.pop(task)]
        self.constants.pop(task, None)

    def move(self, task: Task, position: int) -> None:
        """Give a task another place in the order of adding, counted from 0."""
        self._sorted = None
        order = [other for other in self.nodes if other is not task]
        order.insert(position, task)
        self.nodes = {other: self.nodes[other] for other in order}

    def add_edge(self, edge: Edge) -> None:
        """Add an edge between two tasks that are there."""
        self._sorted = None
        self.edges[edge] = None
        downstream = self.nodes[edge.downstream_task]
        downstream.upstream[edge] = None
        self.nodes[edge.upstream_task].downstream[edge] = None
        if edge.key is not None:
            downstream.inputs[edge.key] = edge
            # An edge takes over from a constant that was given for the same argument before.
            if edge.downstream_task in self.constants:
                self.constants[edge.downstream_task].pop(edge.key, None)

    def remove_edge(self, edge: Edge) -> None:
        """Remove an edge that is there."""
        self._sorted = None
        del self.edges[edge]
        downstream = self.nodes[edge.downstream_task]
        del downstream.upstream[edge]
        del self.nodes[edge.upstream_task].downstream[edge]
        if edge.key is not None:
            downstream.inputs.pop(edge.key, None)

    # --------------------------------------------------------------------------------------------------- look

    def task_of_slug(self, slug: str) -> Task | None:
        """Return the task of a slug, None if there is none."""
        return self._tasks_by_slug.get(slug)

    def place(self, task: Task) -> str:
        """Return FILE:LINE of the call that added a task."""
        filename, line = self.nodes[task].called_at
        return f"{filename}:{line}"

    def upstream(self, task: Task) -> Iterable[Task]:
        """Yield the tasks at the upper ends of a task's edges."""
        return (edge.upstream_task for edge in self.nodes[task].upstream)

    def downstream(self, task: Task) -> Iterable[Task]:
        """Yield the tasks at the lower ends of a task's edges."""
        return (edge.downstream_task for edge in self.nodes[task].downstream)

    def reachable(
        self, tasks: Iterable[Task], neighbours: Callable[[Task], Iterable[Task]]
    ) -> dict[Task, None]:
        """Return tasks and all that can be reached from them; `neighbours`: `upstream` or `downstream`."""
        found: dict[Task, None] = {}
        ahead = list(tasks)
        while ahead:
            task = ahead.pop()
            if task not in found:
                found[task] = None
                ahead.extend(neighbours(task))
        return found

    def sort(self, among: Iterable[Task] | None = None) -> list[Task]:
        """
        Return tasks so that each comes after those that it depends on.

        Of the tasks that may come next, parameters come first, and then the task that was added first.

        Args:
            among: only these, and only the edges between them; default: all.

        Raises:
            ValueError: if there is a cycle; notes name its tasks and where they were called.
        """
        if among is None:
            # A run asks more than once: to check the flow, and for the order of its tasks.
            if self._sorted is None:
                self._sorted = self._sort(self.nodes)
            return list(self._sorted)
        return self._sort(set(among))

    def _sort(self, chosen: Container[Task]) -> list[Task]:
        ranks = {
            task: (not isinstance(task, Parameter), position)
            for position, task in enumerate(self.nodes)
            if task in chosen
        }
        held_by = {task: sum(other in ranks for other in self.upstream(task)) for task in ranks}
        ready = [(rank, task) for task, rank in ranks.items() if not held_by[task]]
        heapq.heapify(ready)  # ranks differ, so tasks are never compared
        ordered: list[Task] = []
        while ready:
            _, task = heapq.heappop(ready)
            ordered.append(task)
            for other in self.downstream(task):
                if other in ranks:
                    held_by[other] -= 1
                    if not held_by[other]:
                        heapq.heappush(ready, (ranks[other], other))
        if len(ordered) < len(ranks):
            raise self._cycle(ranks.keys() - set(ordered))
        return ordered

    def _cycle(self, held: set[Task]) -> ValueError:
        """Return the error for tasks that hold each other back."""
        task = self._first_added(held)
        walked: dict[Task, None] = {}
        while task not in walked:
            walked[task] = None
            task = next(other for other in self.upstream(task) if other in held)
        way = list(walked)
        cycle = way[way.index(task) :][::-1]
        first = cycle.index(self._first_added(cycle))
        cycle = cycle[first:] + cycle[:first]
        error = note_callsite(ValueError("Cycle found; flows must be acyclic!"))
        error.add_note("Cycle: " + " -> ".join(self.slugs[task] for task in [*cycle, cycle[0]]))
        self.note_places(error, cycle)
        return error

    def _first_added(self, tasks: Iterable[Task]) -> Task:
        among = set(tasks)
        return next(task for task in self.nodes if task in among)

    def note_places(self, error: Exception, tasks: Sequence[Task]) -> None:
        """Add to an error where tasks were called; of very many, the first ones will do."""
        for task in tasks[:_PLACES_MAX]:
            error.add_note(f"{task!r} was added at {self.place(task)}")
        if len(tasks) > _PLACES_MAX:
            error.add_note(f"... and {len(tasks) - _PLACES_MAX} more tasks")
