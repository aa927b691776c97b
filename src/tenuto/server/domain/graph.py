"""The graph of a run, as pages draw it: its tasks, with how far each is, and its edges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Node", "TaskProgress", "edges_drawn", "nodes_drawn"]


@dataclass(slots=True)
class TaskProgress:
    """
    How far a task is.

    Attributes:
        state: of the task run that is no child; empty where there is none yet.
        children: how many children of a mapped task are in which state.
    """

    state: str = ""
    children: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """
    A task.

    Attributes:
        type: name of its class.
        progress: how far it is.
    """

    slug: str
    name: str
    type: str
    tags: list[str]
    is_mapped: bool
    is_generated: bool
    progress: TaskProgress


def nodes_drawn(serialized: object, progress: Mapping[str, TaskProgress]) -> list[Node]:
    """
    Return the tasks of a serialized flow, and those that a run has told of and the flow does not know.

    What is none is left out: anybody may register anything.
    """
    nodes = []
    for task in _listed(serialized, "tasks"):
        slug, tags = str(task.get("slug", "")), task.get("tags")
        node = Node(
            slug=slug,
            name=str(task.get("name") or slug),
            type=str(task.get("type", "")).rpartition(".")[2],
            tags=[str(tag) for tag in tags] if isinstance(tags, list) else [],
            is_mapped=task.get("mapped") is True,
            is_generated=task.get("auto_generated") is True,
            progress=progress.get(slug, TaskProgress()),
        )
        nodes.append(node)
    known = {node.slug for node in nodes}
    for slug in sorted(set(progress) - known):
        told = progress[slug]
        mapped = bool(told.children)
        node = Node(
            slug=slug, name=slug, type="", tags=[], is_mapped=mapped, is_generated=False, progress=told
        )
        nodes.append(node)
    return nodes


def edges_drawn(serialized: object) -> list[dict[str, Any]]:
    """Return the edges of a serialized flow; `key` is None where only an order goes along."""
    return [
        {
            "upstream": str(edge.get("upstream_slug", "")),
            "downstream": str(edge.get("downstream_slug", "")),
            "key": None if edge.get("key") is None else str(edge["key"]),
            "mapped": edge.get("mapped") is True,
            "flattened": edge.get("flattened") is True,
        }
        for edge in _listed(serialized, "edges")
    ]


def _listed(serialized: object, name: str) -> list[dict[str, Any]]:
    found = serialized.get(name) if isinstance(serialized, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
