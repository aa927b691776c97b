"""A task that leaves out items of a list, such as the failures of a mapped task."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tenuto.core.task import Task
from tenuto.exceptions import PrefectSignal
from tenuto.triggers import all_finished

__all__ = ["FilterTask"]


class FilterTask(Task):
    """
    Keeps those items of a list for which a function is true. Runs also if some of what is before it failed.

    Args:
        filter_func: default: drop None, exceptions and signals, as failed and skipped children leave them.
        log_func: gets the filtered list; the text that it returns is logged.
        **kwargs: options as of `Task`.
    """

    def __init__(
        self,
        filter_func: Callable[[Any], bool] | None = None,
        log_func: Callable[[list[Any]], str] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("skip_on_upstream_skip", False)
        kwargs.setdefault("trigger", all_finished)
        self.filter_func = filter_func or is_result
        self.log_func = log_func
        super().__init__(**kwargs)

    def run(self, task_results: Iterable[Any]) -> list[Any]:
        """Return the items that are kept, in their order."""
        kept = [item for item in task_results if self.filter_func(item)]
        if self.log_func is not None:
            self.logger.info(self.log_func(kept))
        return kept


def is_result(item: Any) -> bool:
    """Say whether an item is a result: neither None nor the trace of a failure or a skip."""
    return item is not None and not isinstance(item, Exception | PrefectSignal)
