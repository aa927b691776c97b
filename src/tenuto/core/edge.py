"""Edges: what comes before what in a flow, and which argument it becomes."""

from __future__ import annotations

import keyword
from typing import TYPE_CHECKING, Any

from tenuto._base.callsite import note_callsite
from tenuto.core.annotations import read_annotations
from tenuto.core.nodes import as_task
from tenuto.core.task import Task

if TYPE_CHECKING:
    from tenuto.core.flow import Flow

__all__ = ["Edge"]


class Edge:
    """
    A dependency between two tasks. A value object: equal edges are the same edge.

    Args:
        upstream_task, downstream_task: tasks, or values that become tasks; the first one may be annotated.
        key: the argument of the downstream task that gets the result; None passes no data.
        mapped: each child of the downstream task gets one item.
        flattened: one level of nesting is removed first.
        flow: where collectors of tasks are added, if the upstream one is a collection.

    Raises:
        ValueError: if the key cannot be an argument's name, or both ends are the same task.
    """

    __slots__ = ("_hash", "downstream_task", "flattened", "key", "mapped", "upstream_task")

    upstream_task: Task
    downstream_task: Task
    key: str | None
    mapped: bool
    flattened: bool

    def __init__(
        self,
        upstream_task: Any,
        downstream_task: Any,
        key: str | None = None,
        mapped: bool | None = None,
        flattened: bool | None = None,
        flow: Flow | None = None,
    ) -> None:
        if not isinstance(upstream_task, Task):
            annotated = read_annotations(upstream_task)
            mapped = bool(annotated.mapped) if mapped is None else mapped
            flattened = annotated.flattened if flattened is None else flattened
            upstream_task = as_task(annotated.value, flow)
        self.upstream_task = upstream_task
        self.downstream_task = as_task(downstream_task, flow)
        self.key = key
        self.mapped = bool(mapped)
        self.flattened = bool(flattened)
        self._hash = hash((self.upstream_task, self.downstream_task, key, self.mapped, self.flattened))
        if key is not None and (not str(key).isidentifier() or keyword.iskeyword(key)):
            raise note_callsite(ValueError(f'Key must be a valid identifier (received "{key}")'))
        if self.upstream_task is self.downstream_task:
            raise note_callsite(ValueError("Edges can not connect a task to itself."))

    @property
    def tasks(self) -> set[Task]:
        """Both ends."""
        return {self.upstream_task, self.downstream_task}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Edge):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return (
            f"<Edge(key={self.key}, mapped={self.mapped}, flattened={self.flattened}): "
            f"{self.upstream_task.name} to {self.downstream_task.name}>"
        )

    def __reduce__(self) -> tuple[type[Edge], tuple[Any, ...]]:
        # Made anew: the hash is that of the tasks' identities, which copies and other processes change.
        return Edge, self._values()

    def _values(self) -> tuple[Task, Task, str | None, bool, bool]:
        return self.upstream_task, self.downstream_task, self.key, self.mapped, self.flattened

    def serialize(self) -> dict[str, Any]:
        """Return the edge as plain data, its ends by their own slugs."""
        return {
            "upstream_task": self.upstream_task.slug,
            "downstream_task": self.downstream_task.slug,
            "key": self.key,
            "mapped": self.mapped,
            "flattened": self.flattened,
        }
