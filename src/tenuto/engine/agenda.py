"""Which task run is next: those that are ready, in graph order, and those that wait for their time."""

from __future__ import annotations

from datetime import datetime
from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tenuto.engine.task_run import TaskRun


class Agenda:
    """
    The task runs that can go on, and those that are due later.

    Ready ones come out in topological order, children of a mapped task by index: a map is run breadth first
    where one thing runs at a time. Where several run beside each other, what is deeper in the graph comes
    first, so that fewer results wait to be used (R-EXEC-5). Waiting ones hold nothing up.
    """

    def __init__(self) -> None:
        self.deepest_first = False
        self._ready: list[tuple[int, int, TaskRun]] = []
        self._waiting: list[tuple[datetime, int, int, TaskRun]] = []

    def add(self, run: TaskRun) -> None:
        """Put a task run among the ready ones."""
        order = run.node.order
        heappush(self._ready, (-order if self.deepest_first else order, run.index, run))

    def add_later(self, run: TaskRun, due: datetime) -> None:
        """Put a task run aside until `due`, an aware time."""
        heappush(self._waiting, (due, run.node.order, run.index, run))

    def next_ready(self, now: datetime | None) -> TaskRun | None:
        """Take the next ready task run, or None; `now` puts those that are due among them."""
        waiting = self._waiting
        while now is not None and waiting and waiting[0][0] <= now:
            self.add(heappop(waiting)[3])
        return heappop(self._ready)[2] if self._ready else None

    def end_waiting(self) -> None:
        """Put those that wait for their time among the ready ones."""
        waiting, self._waiting = self._waiting, []
        for *_, run in waiting:
            self.add(run)

    @property
    def has_ready(self) -> bool:
        """Whether a task run can go on now."""
        return bool(self._ready)

    @property
    def next_due(self) -> datetime | None:
        """The earliest time at which a waiting task run is due, None when none waits."""
        return self._waiting[0][0] if self._waiting else None
