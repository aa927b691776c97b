"""
What runs again when a finished run is restarted: pure (R-BE-126 to R-BE-128).

From where it failed: what did not succeed, what comes after that, and what comes before it and left no value
to be read. A task run that succeeded and whose value is stored never runs again (reliability I-1).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tenuto.journal.states import SUCCESSFUL_STATES

__all__ = ["FlowEdge", "TaskFacts", "edges_of", "runs_again"]


class TaskFacts(NamedTuple):
    """A task run as it ended; `has_value`: where its value is stored is known."""

    slug: str
    map_index: int
    state: str
    has_value: bool


@dataclass(frozen=True, slots=True)
class FlowEdge:
    """
    An edge of the graph.

    Attributes:
        has_value: a value goes along it; else only an order.
        is_mapped: each child goes to the child of its number.
    """

    upstream: str
    downstream: str
    has_value: bool
    is_mapped: bool


def edges_of(serialized: object) -> list[FlowEdge]:
    """Return the edges of a serialized flow; what is none is left out: anybody may register anything."""
    edges = serialized.get("edges") if isinstance(serialized, dict) else None
    return [
        FlowEdge(
            upstream=str(edge.get("upstream_slug")),
            downstream=str(edge.get("downstream_slug")),
            has_value=edge.get("key") is not None,
            is_mapped=edge.get("mapped") is True and edge.get("flattened") is not True,
        )
        for edge in (edges if isinstance(edges, list) else ())
        if isinstance(edge, dict)
    ]


def runs_again(tasks: Iterable[TaskFacts], edges: Iterable[FlowEdge], *, everything: bool) -> list[TaskFacts]:
    """
    Return the task runs that a restart takes back, in the order in which they were given.

    Args:
        tasks: all task runs of the run.
        edges: of its graph.
        everything: all of them, whatever became of them.
    """
    known = list(tasks)
    if everything:
        return known
    return _Search(known, list(edges)).found()


class _Search:
    """Follows the graph from what failed, down and up."""

    def __init__(self, tasks: list[TaskFacts], edges: list[FlowEdge]) -> None:
        self._tasks = tasks
        self._of_slug: dict[str, dict[int, TaskFacts]] = defaultdict(dict)
        for task in tasks:
            self._of_slug[task.slug][task.map_index] = task
        self._after: dict[str, list[FlowEdge]] = defaultdict(list)
        self._before: dict[str, list[FlowEdge]] = defaultdict(list)
        for edge in edges:
            self._after[edge.upstream].append(edge)
            self._before[edge.downstream].append(edge)
        # Maps are wide: what holds for all children of one is followed once.
        self._whole: set[tuple[str, bool]] = set()

    def found(self) -> list[TaskFacts]:
        again = {task for task in self._tasks if task.state not in SUCCESSFUL_STATES}
        waiting = list(again)
        while waiting:
            for other in self._reached(waiting.pop()):
                if other not in again:
                    again.add(other)
                    waiting.append(other)
        return [task for task in self._tasks if task in again]

    def _reached(self, task: TaskFacts) -> Iterator[TaskFacts]:
        for edge in self._after[task.slug]:
            # What succeeded and is stored stays, also where it comes after what failed.
            reached = self._across(edge.downstream, task.map_index, edge, is_down=True)
            yield from (other for other in reached if not _is_kept(other))
        for edge in self._before[task.slug]:
            if edge.has_value:
                reached = self._across(edge.upstream, task.map_index, edge, is_down=False)
                yield from (other for other in reached if _lacks_value(other))

    def _across(self, slug: str, index: int, edge: FlowEdge, *, is_down: bool) -> Iterable[TaskFacts]:
        """Return the task runs at the other end of an edge: of one child that of its number, else all."""
        others = self._of_slug[slug]
        if edge.is_mapped and index >= 0 and index in others:
            return [others[index]]
        if (slug, is_down) in self._whole:
            return ()
        self._whole.add((slug, is_down))
        return list(others.values())


def _is_kept(task: TaskFacts) -> bool:
    return task.state in SUCCESSFUL_STATES and task.has_value


def _lacks_value(task: TaskFacts) -> bool:
    # A map has no value of its own, and that of what was skipped is known to be none.
    return task.state in ("Success", "Cached") and not task.has_value
