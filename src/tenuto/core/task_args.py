"""Options that a copy of a task has otherwise: `task_args`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenuto._base.callsite import note_callsite
from tenuto.core import options
from tenuto.triggers import all_successful

if TYPE_CHECKING:
    from tenuto.core.task import Task


def set_options(task: Task, given: dict[str, Any]) -> None:
    """Set options of a task that exists, by the rules of the constructor."""
    for name in given:
        if name != "on_failure" and not hasattr(task, name):
            raise note_callsite(AttributeError(f"{task!r} does not have {name} as an attribute"))
    if "tags" in given:
        given["tags"] = task.tags | options.tag_set(given["tags"])
    if given.keys() & {"max_retries", "retry_delay", "retry_on"}:
        # Switching retries off takes the settings with it that mean nothing without them.
        keeps = given.get("max_retries") != 0
        given.update(
            options.retries(
                given.get("max_retries", task.max_retries),
                given.get("retry_delay", task.retry_delay if keeps else None),
                given.get("retry_on", task.retry_on if keeps else None),
            )._asdict()
        )
    if "timeout" in given:
        given["timeout"] = options.timeout_seconds(given["timeout"])
    if given.keys() & {"cache_for", "cache_validator"}:
        cache_for = given.get("cache_for", task.cache_for)
        keeps = task.cache_for is not None and cache_for is not None
        given["cache_validator"] = options.validator(
            cache_for, given.get("cache_validator", task.cache_validator if keeps else None)
        )
    if given.keys() & {"state_handlers", "on_failure"}:
        given["state_handlers"] = options.handler_list(
            given.get("state_handlers", task.state_handlers), given.pop("on_failure", None)
        )
    if given.keys() & {"result", "target"}:
        given["result"] = options.result_at_target(
            given.get("result", task.result), given.get("target", task.target)
        )
    if given.get("trigger", all_successful) is None:
        given["trigger"] = all_successful
    for name, value in given.items():
        setattr(task, name, value)
