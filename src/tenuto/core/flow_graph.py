"""What a flow can be asked about its graph."""

from __future__ import annotations

from collections.abc import Iterable, KeysView
from typing import Any

from tenuto._base.callsite import note_callsite
from tenuto.core.edge import Edge
from tenuto.core.graph import Graph
from tenuto.core.parameter import Parameter
from tenuto.core.task import Task


class FlowGraph:
    """
    The part of a flow that looks at its graph; `Flow` adds building and running.

    Tasks are taken as `Any` wherever users pass them: to a type checker, the call of a task is what its
    function returns.
    """

    def __init__(self) -> None:
        self._graph = Graph()
        self._reference_tasks: dict[Task, None] = {}

    @property
    def tasks(self) -> KeysView[Task]:
        """The tasks in the order in which they were added; a set to compare and combine with."""
        return self._graph.nodes.keys()

    @property
    def edges(self) -> KeysView[Edge]:
        """The edges in the order in which they were added; a set to compare and combine with."""
        return self._graph.edges.keys()

    @property
    def slugs(self) -> dict[Task, str]:
        """Task -> its slug in this flow."""
        return self._graph.slugs

    @property
    def constants(self) -> dict[Task, dict[str, Any]]:
        """Task -> argument -> the plain value it gets."""
        return self._graph.constants

    def upstream_edges(self, task: Task) -> tuple[Edge, ...]:
        """Return the edges that end in a task, in the order in which they were added."""
        return tuple(self._graph.nodes[task].upstream)

    def downstream_edges(self, task: Task) -> tuple[Edge, ...]:
        """Return the edges that start from a task, in the order in which they were added."""
        return tuple(self._graph.nodes[task].downstream)

    def has_edges(self, task: Task) -> bool:
        """Say whether a task is in this flow and connected to another one."""
        node = self._graph.nodes.get(task)
        return node is not None and bool(node.upstream or node.downstream)

    def edges_to(self, task: Any) -> set[Edge]:
        """Return the edges that end in a task; ValueError if it is not in the flow."""
        return set(self.upstream_edges(self._own(task)))

    def edges_from(self, task: Any) -> set[Edge]:
        """Return the edges that start from a task; ValueError if it is not in the flow."""
        return set(self.downstream_edges(self._own(task)))

    def upstream_tasks(self, task: Any) -> set[Task]:
        """Return the tasks that a task depends on directly; ValueError if it is not in the flow."""
        return set(self._graph.upstream(self._own(task)))

    def all_upstream_tasks(self, task: Task) -> set[Task]:
        """Return the tasks that a task depends on, directly or not; ValueError if it is not in the flow."""
        return set(self._graph.reachable([self._own(task)], self._graph.upstream)) - {task}

    def downstream_tasks(self, task: Any) -> set[Task]:
        """Return the tasks that depend on a task directly; ValueError if it is not in the flow."""
        return set(self._graph.downstream(self._own(task)))

    def all_upstream_edges(self) -> dict[Task, set[Edge]]:
        """Return each task with the edges that end in it."""
        return {task: set(node.upstream) for task, node in self._graph.nodes.items()}

    def all_downstream_edges(self) -> dict[Task, set[Edge]]:
        """Return each task with the edges that start from it."""
        return {task: set(node.downstream) for task, node in self._graph.nodes.items()}

    def root_tasks(self) -> set[Task]:
        """Return the tasks that depend on nothing."""
        return {task for task, node in self._graph.nodes.items() if not node.upstream}

    def terminal_tasks(self) -> set[Task]:
        """Return the tasks that nothing depends on."""
        return {task for task, node in self._graph.nodes.items() if not node.downstream}

    def parameters(self) -> set[Parameter]:
        """Return the flow's parameters."""
        return {task for task in self.tasks if isinstance(task, Parameter)}

    def sorted_tasks(self, root_tasks: Iterable[Any] | None = None) -> tuple[Task, ...]:
        """
        Return the tasks so that each comes after those that it depends on.

        Of the tasks that may come next, parameters come first, then the one that was added first.

        Args:
            root_tasks: only these and all that depend on them.

        Raises:
            ValueError: if the flow has a cycle, or a root task is not in it.
        """
        among = None
        if root_tasks is not None:
            among = self._graph.reachable([self._own(task) for task in root_tasks], self._graph.downstream)
        return tuple(self._graph.sort(among))

    def get_tasks(
        self,
        name: str | None = None,
        slug: str | None = None,
        tags: Iterable[str] | None = None,
        task_type: type[Task] | None = None,
    ) -> list[Task]:
        """
        Return the tasks for which everything that is given holds.

        Args:
            slug: the task's own, or the one that this flow gave it.
            tags: a task must have all of them.
        """
        found: Iterable[Task] = self.tasks
        if slug is not None:
            task = self._graph.task_of_slug(slug)
            found = [] if task is None else [task]
        wanted = set(tags or ())
        return [
            task
            for task in found
            if (name is None or task.name == name)
            and wanted <= task.tags
            and (task_type is None or isinstance(task, task_type))
        ]

    def reference_tasks(self) -> set[Task]:
        """
        Return the tasks whose states decide that of a run.

        By default those that nothing depends on; the clean-up of a resource counts neither as one of them nor
        as something that depends on the tasks before it.
        """
        if self._reference_tasks:
            return set(self._reference_tasks)
        # Over edges and tasks once each: a look at every task's own edges takes four times as long.
        needed = {
            edge.upstream_task for edge in self.edges if edge.downstream_task.resource_role != "cleanup"
        }
        return {
            task
            for task in self.tasks
            if task not in needed and task.resource_role not in ("init", "cleanup")
        }

    def set_reference_tasks(self, tasks: Iterable[Any]) -> None:
        """
        Let these tasks decide the state of a run; none of them restores the default.

        Raises:
            ValueError: if one of them is not in the flow.
        """
        chosen = dict.fromkeys(tasks)
        if not chosen.keys() <= self.tasks:
            raise note_callsite(ValueError("reference tasks must be part of the flow."))
        self._reference_tasks = chosen

    def _own(self, task: Any) -> Task:
        if not isinstance(task, Task) or task not in self._graph.nodes:
            raise note_callsite(ValueError(f"Task {task!r} was not found in Flow {self!r}"))
        return task
