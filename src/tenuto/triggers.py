"""
Triggers: whether a task runs, given the states of what is upstream of it.

A trigger is a function `(upstream_states: dict[Edge, State]) -> bool`. A true answer lets the task run; a
falsy one makes it TriggerFailed; a raised signal sets its state. The ones here look at mapped upstreams child
by child, and leave constants out: a constant always succeeds, and would decide `any_successful` and
`all_failed` by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tenuto._base.context import context
from tenuto.engine.signals import PAUSE, SKIP, TRIGGERFAIL
from tenuto.engine.state import Mapped, State

__all__ = [
    "all_failed",
    "all_finished",
    "all_successful",
    "always_run",
    "any_failed",
    "any_successful",
    "manual_only",
    "not_all_skipped",
    "some_failed",
    "some_successful",
]

# The key is an Edge; triggers may be called with any hashable in its place, and look only at what they need.
UpstreamStates = Mapping[Any, State]
Bound = float | None


def all_successful(upstream_states: UpstreamStates) -> bool:
    """
    Run when every upstream succeeded. The default.

    Raises:
        TRIGGERFAIL: otherwise.
    """
    if not all(state.is_successful() for state in counted_states(upstream_states)):
        raise TRIGGERFAIL('Trigger was "all_successful" but some of the upstream tasks failed.')
    return True


def all_failed(upstream_states: UpstreamStates) -> bool:
    """
    Run when every upstream failed.

    Raises:
        TRIGGERFAIL: otherwise.
    """
    if not all(state.is_failed() for state in counted_states(upstream_states)):
        raise TRIGGERFAIL('Trigger was "all_failed" but some of the upstream tasks succeeded.')
    return True


def any_successful(upstream_states: UpstreamStates) -> bool:
    """
    Run when at least one upstream succeeded, or there is none.

    Raises:
        TRIGGERFAIL: otherwise.
    """
    states = counted_states(upstream_states)
    if states and not any(state.is_successful() for state in states):
        raise TRIGGERFAIL('Trigger was "any_successful" but none of the upstream tasks succeeded.')
    return True


def any_failed(upstream_states: UpstreamStates) -> bool:
    """
    Run when at least one upstream failed, or there is none.

    Raises:
        TRIGGERFAIL: otherwise.
    """
    states = counted_states(upstream_states)
    if states and not any(state.is_failed() for state in states):
        raise TRIGGERFAIL('Trigger was "any_failed" but none of the upstream tasks failed.')
    return True


def all_finished(upstream_states: UpstreamStates) -> bool:
    """
    Run when every upstream has ended, however it ended.

    Raises:
        TRIGGERFAIL: otherwise.
    """
    if not all(state.is_finished() for state in counted_states(upstream_states)):
        raise TRIGGERFAIL('Trigger was "all_finished" but some of the upstream tasks were not finished.')
    return True


always_run = all_finished


def not_all_skipped(upstream_states: UpstreamStates) -> bool:
    """
    Run when every upstream succeeded and at least one was not skipped, or there is none.

    Raises:
        SKIP: when all were skipped.
        TRIGGERFAIL: when one failed.
    """
    states = counted_states(upstream_states)
    if states and all(state.is_skipped() for state in states):
        raise SKIP("All upstreams were skipped", result=None)
    if not all(state.is_successful() for state in states):
        raise TRIGGERFAIL('Trigger was "not_all_skipped" but some of the upstream tasks failed.')
    return True


def manual_only(upstream_states: UpstreamStates) -> bool:
    """
    Run when somebody has resumed the run.

    Raises:
        PAUSE: otherwise.
    """
    if context.current().get("resume"):
        return True
    raise PAUSE('Trigger function is "manual_only"')


def some_failed(at_least: Bound = None, at_most: Bound = None) -> Callable[[UpstreamStates], bool]:
    """
    Return a trigger that runs the task when the number of failed upstreams is within bounds.

    Args:
        at_least: smallest number; a float up to 1.0 is a share of all upstream states. None for no bound.
        at_most: largest number, likewise.
    """

    def some_failed(upstream_states: UpstreamStates) -> bool:
        failed = [state.is_failed() for state in counted_states(upstream_states)]
        if not _within(failed, at_least, at_most):
            raise TRIGGERFAIL('Trigger was "some_failed" but thresholds were not met.')
        return True

    return some_failed


def some_successful(at_least: Bound = None, at_most: Bound = None) -> Callable[[UpstreamStates], bool]:
    """
    Return a trigger that runs the task when the number of successful upstreams is within bounds.

    Args:
        at_least: smallest number; a float up to 1.0 is a share of all upstream states. None for no bound.
        at_most: largest number, likewise.
    """

    def some_successful(upstream_states: UpstreamStates) -> bool:
        successful = [state.is_successful() for state in counted_states(upstream_states)]
        if not _within(successful, at_least, at_most):
            raise TRIGGERFAIL('Trigger was "some_successful" but thresholds were not met.')
        return True

    return some_successful


def counted_states(upstream_states: UpstreamStates) -> list[State]:
    """Return the states that count: of each upstream, and of each child of a mapped one."""
    states: list[State] = []
    for edge, state in upstream_states.items():
        if getattr(getattr(edge, "upstream_task", None), "auto_generated", False):
            continue
        if isinstance(state, Mapped) and not getattr(edge, "mapped", False):
            states.extend(state.map_states)
        else:
            states.append(state)
    return states


def _within(answers: list[bool], at_least: Bound, at_most: Bound) -> bool:
    count, total = sum(answers), len(answers)
    if not total:
        return True
    return (at_least is None or _measured(count, total, at_least) >= at_least) and (
        at_most is None or _measured(count, total, at_most) <= at_most
    )


def _measured(count: int, total: int, bound: float) -> float:
    """Return the count in the unit of a bound: as a share of `total` for a float up to 1.0, else as it is."""
    # Dividing, and not multiplying the bound: 7 of 10 must reach 0.7, and 0.7 * 10 is more than 7 in binary.
    return count / total if not isinstance(bound, int) and bound <= 1 else count
