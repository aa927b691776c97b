"""What `Flow.run` does for a flow with a schedule: wait, run, and so on until there are no more times."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tenuto._base.datetimes import utc_now
from tenuto.engine.given_parameters import check_known, check_required
from tenuto.engine.state import Scheduled, State
from tenuto.exceptions import PrefectException

if TYPE_CHECKING:
    from tenuto.core.flow import Flow
    from tenuto.schedules.clocks import ClockEvent
    from tenuto.schedules.schedules import Schedule

__all__ = ["NoMoreRuns", "run_on_schedule"]

# What is meant for one run, and would be wrong for the next.
_OF_ONE_RUN = ["flow_run_id", "flow_run_name", "state", "task_states"]
# Slept at most at once: the clock of the machine may be set, and a laptop may sleep meanwhile.
_STEP = timedelta(seconds=30)


class NoMoreRuns(PrefectException, ValueError):
    """The schedule has no time from now on."""

    def __init__(self, schedule: Schedule, after: datetime) -> None:
        super().__init__("Flow has no more scheduled runs.")
        self.add_note(f"{schedule.why_none(after)} To run it once, now: flow.run(run_on_schedule=False)")


def run_on_schedule(
    flow: Flow,
    given: dict[str, Any],
    options: dict[str, Any],
    run_once: Callable[[Flow, dict[str, Any], dict[str, Any]], State],
    *,
    now: Callable[[], datetime] = utc_now,
    sleep: Callable[[float], None] = time.sleep,
) -> State:
    """
    Run a flow at each time of its schedule, and return the state of the last run when no time is left.

    The next time is asked for when a run has ended: those that fall into a run are missed.

    Args:
        flow: the flow; it has a schedule.
        given: values of parameters; they win over those of the clocks (decision D-5).
        options: those of `Flow.run` that are not parameters. Ids, names and states are for the first run.
        run_once: called for each run with the flow, its parameters and its options.
        now, sleep: the clock to go by.

    Raises:
        NoMoreRuns: before anything runs.
        MissingParameters, UnexpectedParameters: before anything runs.
    """
    schedule = flow.schedule
    assert schedule is not None
    check_parameters(flow, schedule, given)
    after = now()
    event = _next_event(schedule, after)
    if event is None:
        raise NoMoreRuns(schedule, after)
    while True:
        flow.logger.info("Waiting for next scheduled run at %s", event.start_time)
        _wait_until(event.instant, now, sleep)
        state = run_once(flow, {**event.parameter_defaults, **given}, _options_at(event, options))
        for name in _OF_ONE_RUN:
            options.pop(name, None)
        event = _next_event(schedule, now())
        if event is None:
            return state


def check_parameters(flow: Flow, schedule: Schedule, given: dict[str, Any]) -> None:
    """
    Refuse values of parameters, and defaults of clocks, with which not every scheduled run could start.

    A required parameter must be given unless all clocks have a default for it.

    Raises:
        UnexpectedParameters, MissingParameters: as for a run without a schedule.
        ValueError: if a clock has a default for a parameter that the flow does not have.
    """
    check_known(flow, given)
    names = {parameter.name for parameter in flow.parameters()}
    if not schedule.clocks:
        check_required(flow, given)
    for clock in schedule.clocks:
        unknown = sorted(set(clock.parameter_defaults) - names)
        if unknown:
            raise ValueError(
                f"A {type(clock).__name__} of the flow's schedule has defaults for parameters that the flow "
                f"does not have: {', '.join(unknown)}. Known are: {', '.join(sorted(names)) or 'none'}."
            )
        check_required(flow, {**clock.parameter_defaults, **given})


def _next_event(schedule: Schedule, after: datetime) -> ClockEvent | None:
    return next(iter(schedule.next(1, after=after, return_events=True)), None)


def _options_at(event: ClockEvent, options: dict[str, Any]) -> dict[str, Any]:
    context = {**(options.get("context") or {}), "scheduled_start_time": event.start_time}
    return {"state": Scheduled(start_time=event.start_time), **options, "context": context}


def _wait_until(moment: datetime, now: Callable[[], datetime], sleep: Callable[[float], None]) -> None:
    while (left := moment - now()) > timedelta(0):
        sleep(min(left, _STEP).total_seconds())
