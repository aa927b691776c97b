"""Log lines about maps that take long: how far they are, how fast they go on, and how long it will take."""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from tenuto._base.context import context as current_context
from tenuto._base.logging import get_logger
from tenuto._base.progress import Pace, progress_parts
from tenuto._base.texts import duration_text
from tenuto.engine.state import Failed

if TYPE_CHECKING:
    from tenuto.engine.task_run import TaskNode

LOGGER_NAME = "Progress"
"""Of the lines, so that who shows progress in another way can leave them out."""

_LOOK_SECONDS = 1.0
_TELL_SECONDS = 10.0
_TELL_SECONDS_MAX = 600.0

logger = get_logger(LOGGER_NAME)


class Progress:
    """
    Follows the maps of a run, and logs a line about each that lasts, every 10 seconds and later more seldom.

    Costs a child of a map no more than a look at the clock: counting is done by the loop, and once a second
    the counts are looked at.

    Args:
        clock: gives seconds.

    Attributes:
        due: when `look` wants to be called.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._maps: dict[TaskNode, _Map] = {}
        self.due = inf

    def begin(self, node: TaskNode) -> None:
        """Follow a task that was just mapped."""
        if logger.isEnabledFor(logging.INFO):
            now = self._clock()
            self._maps[node] = _Map(node, now)
            self.due = min(self.due, now + _LOOK_SECONDS)

    def end(self, node: TaskNode) -> None:
        """A task is finished with all its children: sum up what was told about it."""
        known = self._maps.pop(node, None)
        if known is not None and known.told:
            known.tell(self._clock(), is_end=True)
        if not self._maps:
            self.due = inf

    def look(self) -> None:
        """See how far the maps are, and tell what is due."""
        now = self._clock()
        for known in self._maps.values():
            known.see(now)
            if now >= known.due:
                known.tell(now)
        self.due = now + _LOOK_SECONDS


class _Map:
    """A map in progress."""

    def __init__(self, node: TaskNode, now: float) -> None:
        self.node = node
        self.began = now
        self.due = now + _TELL_SECONDS
        self.told = 0
        self._pace = Pace(now)

    def see(self, now: float) -> None:
        self._pace.see(now, self._done, self.node.worked)

    @property
    def _done(self) -> int:
        assert self.node.children is not None
        return len(self.node.children) - self.node.unfinished

    def tell(self, now: float, *, is_end: bool = False) -> None:
        """Log a line, unless nothing has happened since the last one; decide when the next one is due."""
        lasted = now - self.began
        self.due = now + min(max(_TELL_SECONDS, lasted / 10), _TELL_SECONDS_MAX)
        node, done = self.node, self._done
        assert node.children is not None
        if done == self.told and not is_end:
            return
        self.told = done
        failed = sum(isinstance(child.state, Failed) for child in node.children)
        rate = None if is_end else self._pace.rate(now)
        parts = progress_parts(done, len(node.children), failed=failed, rate=rate)
        if is_end:
            parts.append(f"after {duration_text(lasted)}")
        token = current_context.enter(node.runner.context_for(node.run))
        try:
            logger.info("Task '%s': %s", node.task.name, ", ".join(parts))
        finally:
            current_context.leave(token)
