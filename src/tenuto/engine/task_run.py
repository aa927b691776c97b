"""
The graph of one flow run: a node per task, and a task run per node or mapped child.

A node knows how many of its upstream edges still hold it back, and, once none does, the sources of its inputs
(`engine.sources`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tenuto._base.digests import combine, digest, provenance
from tenuto.engine.result.remote import RemoteList, RemoteValue
from tenuto.engine.state import Mapped, Pending, State, Success

if TYPE_CHECKING:
    from tenuto.core.task import Task
    from tenuto.engine.sources import Sources
    from tenuto.engine.task_runner import TaskRunner
    from tenuto.journal.event import ResultRef

NO_INDEX = -1
# One for all task runs: of the children of a map, most have none at any moment. Nobody changes it.
NO_INPUTS: dict[str, str] = {}


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
        self.inputs = NO_INPUTS
        self.digest: str | None = None
        self.ref: ResultRef | None = None
        self.waiting = 0
        self.waiters: list[TaskRun] | None = None

    def wait_for(self, upstream: TaskRun) -> None:
        """Hold this run back until an upstream child is final."""
        if upstream.is_final:
            return
        self.waiting += 1
        if upstream.waiters is None:
            upstream.waiters = []
        upstream.waiters.append(self)

    @property
    def is_final(self) -> bool:
        """Whether nothing follows but what stands downstream."""
        return self.state.is_finished() and not self.state.is_looped()

    @property
    def name(self) -> str:
        """As log lines show it: `NAME`, or `NAME[INDEX]` for a mapped child."""
        name = self.node.task.name
        return name if self.index == NO_INDEX else f"{name}[{self.index}]"

    def output_digest(self) -> str:
        """Return the digest of what this run hands downstream: the value's, else that of its provenance."""
        if self.digest is None:
            state = self.state
            if isinstance(state, Success):
                self.digest = digest(state.carried) or provenance(self.node.runner.code, self.inputs)
            else:
                # What is handed on is the failure, which is not what the same code and inputs give otherwise.
                kinds = [type(state).__name__, type(state.result).__name__]
                self.digest = combine([provenance(self.node.runner.code, self.inputs), *kinds])
        return self.digest


class TaskNode:
    """
    A task in one flow run.

    Attributes:
        order: position in the topological order; ready task runs are taken up by it.
        held_by: number of upstream edges that are not released yet.
        sources: one per incoming edge, set when the node is released.
        run: the run of the task itself; of a mapped task, that of the parent.
        children: the runs of a mapped task's children, None while it is not expanded.
        unfinished, worked: of those, how many are not final, and how many are and had their body called.
    """

    __slots__ = (
        "children",
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
        "worked",
    )

    def __init__(self, task: Task, slug: str, order: int, runner: TaskRunner) -> None:
        self.task = task
        self.slug = slug
        self.order = order
        self.runner = runner
        self.held_by = 0
        self.is_mapped = False
        self.sources: Sources | None = None
        self.run = TaskRun(self, NO_INDEX, Pending("Task not run."))
        self.children: list[TaskRun] | None = None
        self.unfinished = 0
        self.worked = 0
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
        assert self.children is not None
        assert isinstance(mapped, Mapped)
        mapped.map_states = [child.state for child in self.children]
        results = [state.carried for state in mapped.map_states]
        is_remote = any(isinstance(result, RemoteValue) for result in results)
        mapped.result = RemoteList(results) if is_remote else results

    def final_states(self) -> list[State]:
        """Return the states that count for the flow run: the children's of a mapped task, else its own."""
        if self.children is None:
            return [self.run.state]
        return [child.state for child in self.children]

    def output_digest(self) -> str:
        """Return the digest of the whole output; that of a mapped task is made of its children's."""
        if self.children is None:
            return self.run.output_digest()
        if self.run.digest is None:
            self.run.digest = combine([child.output_digest() for child in self.children])
        return self.run.digest
