"""Schedules of flows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Request, Response
from pydantic import BaseModel, Field

from tenuto.schedules.schedules import Schedule
from tenuto.serialization.schedule import schedule_from_dict
from tenuto.server.api.models import Given, Time
from tenuto.server.api.problems import Problem
from tenuto.server.api.requests import PathId, StoreOf
from tenuto.server.api.routing import asks, new_router
from tenuto.server.domain.access import Permission
from tenuto.server.domain.horizon import jitters_of
from tenuto.server.store.sql import flows, schedules

__all__ = ["groups", "router"]

groups = new_router("/flow-groups/{id}/schedule", tags=["schedules"])
router = new_router("/schedules", tags=["schedules"])


class ScheduleOut(BaseModel):
    """The schedule of a flow."""

    id: str
    flow_group_id: str
    described: dict[str, Any] = Field(description="Clocks, filters and adjustments, as flows serialize them.")
    is_own: bool = Field(description="Set on the flow; else that of its registered code.")
    active: bool
    reason: str = Field(description="Why it is off, where nobody switched it off.")
    created: datetime


class ScheduleGiven(Given):
    """A schedule to be set."""

    described: dict[str, Any]
    active: bool = True


class Preview(Given):
    """Of what the next times are wanted."""

    described: dict[str, Any]
    count: Annotated[int, Field(ge=1, le=100)] = 5
    after: Time | None = None


class TimeOut(BaseModel):
    """A time of a schedule, in the zone of its clock and in UTC."""

    local: datetime
    utc: datetime
    parameter_defaults: dict[str, Any]
    labels: list[str] | None


@groups.get("", response_model=ScheduleOut, **asks(Permission.READ))
def get_schedule(store: StoreOf, id: PathId) -> Any:
    """Return the schedule of a flow."""
    return store.read(lambda tx: schedules.get_schedule(tx, id))


@groups.put("", response_model=ScheduleOut, **asks(Permission.EDIT))
def set_schedule(request: Request, store: StoreOf, id: PathId, body: ScheduleGiven) -> Any:
    """Give a flow a schedule of its own, in the place of that of its code."""
    _read(body.described)
    store.read(lambda tx: flows.get_group(tx, id))
    store.write(lambda tx: schedules.set_schedule(tx, id, body.described, is_own=True, active=body.active))
    _wake(request)
    return get_schedule(store, id)


@groups.delete("", status_code=204, response_class=Response, response_model=None, **asks(Permission.EDIT))
def remove_schedule(store: StoreOf, id: PathId) -> None:
    """Take a flow's schedule away, with the runs that it has made ahead."""
    store.write(lambda tx: schedules.remove_schedule(tx, id))


@groups.post("/activate", response_model=ScheduleOut, **asks(Permission.EDIT))
def activate(request: Request, store: StoreOf, id: PathId) -> Any:
    """Switch the schedule on."""
    store.write(lambda tx: schedules.switch_schedule(tx, id, active=True))
    _wake(request)
    return get_schedule(store, id)


@groups.post("/deactivate", response_model=ScheduleOut, **asks(Permission.EDIT))
def deactivate(store: StoreOf, id: PathId) -> Any:
    """Switch the schedule off; the runs that it has made ahead are gone."""
    store.write(lambda tx: schedules.switch_schedule(tx, id, active=False))
    return get_schedule(store, id)


@router.post("/preview", response_model=list[TimeOut], **asks(Permission.READ))
def preview(body: Preview) -> Any:
    """Return the next times of a schedule."""
    schedule = _read(body.described)
    after = body.after or datetime.now(UTC)
    try:
        events = schedule.next(body.count, after, return_events=True)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise Problem(422, "invalid-request", f"The schedule has no such times: {error}") from error
    return [
        {
            "local": event.start_time,
            "utc": event.instant,
            "parameter_defaults": event.parameter_defaults,
            "labels": event.labels,
        }
        for event in events
    ]


def _read(described: dict[str, Any]) -> Schedule:
    try:
        schedule = schedule_from_dict(described)
        jitters_of(described)
    except ValueError as error:
        raise Problem(422, "invalid-request", f"The schedule cannot be read: {error}") from error
    return schedule


def _wake(request: Request) -> None:
    for service in request.app.state.services:
        if service.name == "scheduler":
            service.wake()
