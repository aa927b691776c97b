"""What a run's record and graph say of its tasks, put together for `tenuto show`. Pure."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tenuto.cli.errors import Foreseen, NotFound

if TYPE_CHECKING:
    from tenuto.journal.event import ResultRef
    from tenuto.journal.fold import RunView, TaskView

__all__ = ["TaskGroup", "find_task", "groups", "inputs_of"]

NOT_RUN = "Pending"
NO_INDEX = -1
_CHILD = re.compile(r"(.+)\[(\d+)\]", re.DOTALL)
_CONSTANT = ".Constant"


@dataclass(slots=True)
class TaskGroup:
    """A task of the flow: its own run, and its children where it was mapped."""

    slug: str
    name: str
    view: TaskView | None = None
    children: list[TaskView] = field(default_factory=list)
    described: dict[str, Any] = field(default_factory=dict)
    """The task as the graph has it; empty where the graph is not there any more."""

    @property
    def state(self) -> str:
        """State of the task; `Pending` for one that the run never came to."""
        return self.view.state if self.view is not None and self.view.state else NOT_RUN

    @property
    def children_text(self) -> str:
        """What became of the children: `3 children: 2 Success, 1 Failed`. Empty where there are none."""
        count = (
            self.view.children
            if self.view is not None and self.view.children is not None
            else len(self.children)
        )
        if not count:
            return "no children" if self.state == "Mapped" else ""
        states = Counter(child.state or NOT_RUN for child in self.children)
        states[NOT_RUN] += max(count - len(self.children), 0)
        parts = ", ".join(f"{number} {state}" for state, number in states.most_common() if number)
        return f"{count} {'child' if count == 1 else 'children'}: {parts}"

    @property
    def seconds(self) -> float | None:
        """Duration of the last attempt; of a mapped task, from its first start to its last end."""
        if not self.children:
            return self.view.seconds if self.view is not None else None
        started = [child.started for child in self.children if child.started is not None]
        ended = [child.ended for child in self.children if child.ended is not None]
        return (max(ended) - min(started)) / 1e6 if started and ended else None


def groups(view: RunView, graph: Mapping[str, Any]) -> list[TaskGroup]:
    """Return the tasks of a run: those of the graph, constants left out, then what else was recorded."""
    found: dict[str, TaskGroup] = {}
    left_out = set()
    for task in graph.get("tasks", ()):
        if task.get("auto_generated") and str(task.get("type", "")).endswith(_CONSTANT):
            left_out.add(task["slug"])
        else:
            found[task["slug"]] = TaskGroup(task["slug"], task["name"], described=task)
    for (slug, index), task_view in view.tasks.items():
        if slug in left_out:
            continue
        group = found.setdefault(slug, TaskGroup(slug, task_view.name or slug))
        if index == NO_INDEX:
            group.view = task_view
        else:
            group.children.append(task_view)
    for group in found.values():
        group.children.sort(key=lambda child: child.index)
    return list(found.values())


def find_task(tasks: list[TaskGroup], text: str) -> tuple[TaskGroup, TaskView | None]:
    """
    Return the task that a user means: its slug or its name, for a child with `[INDEX]` behind it.

    Raises:
        NotFound: when there is no such task or child.
        Foreseen: when there are several tasks of that name.
    """
    group = _by_slug_or_name(tasks, text)
    if group is not None:
        return group, group.view
    found = _CHILD.fullmatch(text)
    group = _by_slug_or_name(tasks, found[1]) if found else None
    if group is None or found is None:
        known = [name for task in tasks for name in (task.slug, task.name)]
        near = difflib.get_close_matches(text, known, n=1)
        hint = [f"Did you mean {near[0]!r}?"] if near else []
        raise NotFound(f"This run has no task {text!r}.", *hint)
    index = int(found[2])
    for child in group.children:
        if child.index == index:
            return group, child
    last = f" It has {len(group.children)}." if group.children else ""
    raise NotFound(f"Task {group.name!r} has no child {index} in this run.{last}")


def _by_slug_or_name(tasks: list[TaskGroup], text: str) -> TaskGroup | None:
    for group in tasks:
        if group.slug == text:
            return group
    named = [group for group in tasks if group.name == text]
    if len(named) > 1:
        slugs = ", ".join(group.slug for group in named)
        raise Foreseen(f"More than one task is called {text!r}. Give one of their slugs: {slugs}")
    return named[0] if named else None


@dataclass(frozen=True, slots=True)
class Input:
    """An argument of a task run."""

    name: str
    digest: str
    source: str
    """Slug of the task whose result it was; empty for a value that stands in the flow itself."""
    mapped: bool = False
    constant: Any = None
    result: ResultRef | None = None
    """Where the value is, when the record still says so."""


def inputs_of(view: RunView, graph: Mapping[str, Any], task: TaskView) -> list[Input]:
    """Return the arguments of a task run, in the order of their names, with what the record knows of each."""
    edges = {
        edge["key"]: edge
        for edge in graph.get("edges", ())
        if edge["downstream_slug"] == task.slug and edge["key"] is not None
    }
    constants = graph.get("constants", {}).get(task.slug, {})
    found = []
    for name in sorted({*task.inputs, *edges, *constants}):
        digest = task.inputs.get(name, "")
        edge = edges.get(name)
        if edge is None:
            found.append(Input(name, digest, "", constant=constants.get(name)))
            continue
        source = edge["upstream_slug"]
        refs = [view.tasks.get((source, task.index)), view.tasks.get((source, NO_INDEX))]
        results = [one.result for one in refs if one is not None and one.result is not None]
        # A child's argument is an item of the result, unless the digests say that it is the whole.
        result = next((ref for ref in results if ref.sha256 == digest), None)
        found.append(Input(name, digest, source, mapped=bool(edge["mapped"]), result=result))
    return found
