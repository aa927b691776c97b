"""Branches by value, and the task that brings branches together again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tenuto._base.callsite import note_callsite, warn
from tenuto.core.authoring import tags
from tenuto.core.building import active_flow
from tenuto.core.decorator import task
from tenuto.core.nodes import as_task, in_order
from tenuto.core.task import Task
from tenuto.engine.signals import SKIP
from tenuto.exceptions import PrefectSignal
from tenuto.triggers import not_all_skipped

if TYPE_CHECKING:
    from tenuto.core.flow import Flow

__all__ = ["CompareValue", "Merge", "ifelse", "merge", "switch"]


class CompareValue(Task):
    """
    Succeeds if it gets a certain value, and is skipped otherwise.

    Args:
        value: compared with `==`.
    """

    def __init__(self, value: Any, **kwargs: Any) -> None:
        self.value = value
        super().__init__(**{"name": f'CompareValue: "{value}"', **kwargs})

    def run(self, value: Any) -> None:
        """
        Compare.

        Raises:
            SKIP: if the values differ.
        """
        try:
            matches = bool(value == self.value)
        except (TypeError, ValueError) as error:
            # Arrays and frames compare item by item, which is no answer. The very same object is equal.
            if value is not self.value:
                raise SKIP(
                    f'Provided value of type {type(value).__name__} did not match "{self.value}": they '
                    f"cannot be compared as a whole ({error}). Make a plain value of it in a task before.",
                    result=None,
                ) from error
            matches = True
        if not matches:
            raise SKIP(f'Provided value "{value}" did not match "{self.value}"', result=None)


class Merge(Task):
    """Brings branches together: its result is the first one that is there."""

    def __init__(self, **kwargs: Any) -> None:
        if kwargs.setdefault("skip_on_upstream_skip", False):
            raise note_callsite(ValueError("Merge tasks must have `skip_on_upstream_skip=False`."))
        kwargs.setdefault("trigger", not_all_skipped)
        super().__init__(**kwargs)

    def run(self, **task_results: Any) -> Any:
        """Return the first argument, by number, that is neither None nor the signal of a skipped task."""
        for value in in_order(task_results):
            if value is not None and not isinstance(value, PrefectSignal):
                return value
        return None


def switch(condition: Any, cases: Mapping[Any, Any], mapped: bool = False) -> None:
    """
    Run of several tasks the one whose key equals the result of `condition`; the others are skipped.

    Only the given tasks are guarded: what they depend on runs anyway. `with case(...)` guards whole branches.

    Args:
        condition: a task.
        cases: value -> task.
        mapped: decide for each item of the condition, for the child of the same index of each task.
    """
    warn_of_plain_condition(condition)
    condition = as_task(condition)
    for value, branch in cases.items():
        branch = as_task(branch)
        _warn_of_unguarded(branch, condition)
        with tags("switch"):
            compare = CompareValue(value).bind(value=condition, mapped=mapped)
        branch.set_dependencies(upstream_tasks=[compare], mapped=mapped)


def ifelse(condition: Any, true_task: Any, false_task: Any, mapped: bool = False) -> None:
    """
    Run one of two tasks, by whether the result of `condition` is true; the other one is skipped.

    Args:
        condition: a task.
        true_task, false_task: either may be None.
        mapped: decide for each item of the condition, for the child of the same index of each task.
    """
    warn_of_plain_condition(condition)
    cases = {
        value: branch for value, branch in ((True, true_task), (False, false_task)) if branch is not None
    }
    switch(as_bool(condition, mapped=mapped), cases, mapped=mapped)


def merge(*tasks: Any, flow: Flow | None = None, mapped: bool = False, **kwargs: Any) -> Any:
    """
    Return a task whose result is the first result of several branches that is there.

    It runs unless all of them were skipped. A branch that returned None is passed over.

    Args:
        *tasks: the branches, in order of precedence.
        flow: default: the flow whose `with` block is open.
        mapped: merge the children of mapped tasks index by index.
        **kwargs: options as of `Task`.

    Raises:
        ValueError: if `skip_on_upstream_skip` is True.
    """
    named = {f"task_{number}": branch for number, branch in enumerate(tasks, start=1)}
    return Merge(**kwargs).bind(mapped=mapped, flow=flow, **named)


@task
def as_bool(x: Any) -> bool:
    """Return the truth of a value."""
    return bool(x)


def warn_of_plain_condition(condition: Any) -> None:
    """Warn when a condition is decided already: mostly it was `task == value`, which compares objects."""
    if isinstance(condition, bool):
        warn(
            f"The condition is the plain value {condition}: the branch is decided now and not at run time. "
            "`task == value` compares task objects; write `task.is_equal(value)`, or `case(task, value)`."
        )


def _warn_of_unguarded(branch: Task, condition: Task) -> None:
    """Warn when a branch has work before it that is done whether the branch is taken or not."""
    flow = active_flow()
    if flow is None or branch not in flow.tasks:
        return
    before = {task for task in flow.upstream_tasks(branch) if task.joins_blocks and task is not condition}
    if not before:
        return
    done_anyway = flow.all_upstream_tasks(condition) if condition in flow.tasks else set()
    unguarded = [task for task in before if task not in done_anyway and not isinstance(task, CompareValue)]
    if unguarded:
        warn(
            f"Only {branch!r} itself depends on the condition; what is before it will run in any case: "
            f"{', '.join(sorted(map(repr, unguarded)))}. Use `with case(...)` to guard the whole branch."
        )
