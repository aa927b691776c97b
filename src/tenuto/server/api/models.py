"""
What people's routes take and give, as the OpenAPI document shows it (shapes 8).

Unknown fields of a request are refused; those of a response must be ignored by clients (R-API-35).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tenuto.server.store.sql.pages import Page

__all__ = [
    "EventOut",
    "FlowGroupOut",
    "FlowOut",
    "FlowRunOut",
    "Listed",
    "ProjectOut",
    "RegisteredOut",
    "StateOut",
    "TaskRunOut",
    "Time",
    "Uuid",
    "in_utc",
    "listed",
]

T = TypeVar("T")


class Given(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(extra="forbid")


class Listed(BaseModel, Generic[T]):
    """A page of a list."""

    items: list[T]
    next_cursor: str | None = Field(None, description="`cursor` of the page that follows; null at the end.")
    total: int | None = Field(None, description="Of all rows, where `count` asked for it.")


def listed(page: Page, make: Callable[[Mapping[str, Any]], Any]) -> dict[str, Any]:
    """Return the body of a page."""
    return {"items": [make(row) for row in page.rows], "next_cursor": page.next_cursor, "total": page.total}


class StateOut(BaseModel):
    """A state."""

    type: str = Field(description="Class name, such as `TriggerFailed`.")
    message: str = ""
    cause: str = Field("", description="What went wrong in infrastructure, such as `crashed`.")
    timestamp: datetime | None = None
    start_time: datetime | None = Field(None, description="When a waiting one goes on.")


class FlowRunOut(BaseModel):
    """A flow run."""

    id: str
    name: str
    flow_id: str
    flow_group_id: str
    flow_name: str
    flow_version: int
    project_id: str
    project_name: str
    state: StateOut
    parameters: dict[str, Any]
    labels: list[str]
    context: dict[str, Any]
    run_config: dict[str, Any] | None = None
    scheduled_start_time: datetime | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    duration_seconds: float | None = None
    attempt: int = Field(description="How often it was handed out.")
    version: int = Field(description="Number of its last event.")
    epoch: int
    auto_scheduled: bool
    created: datetime
    created_by: str
    agent_id: str | None = None
    owner: str = Field("", description="Name of the agent or machine that has it.")
    parent_flow_run_id: str | None = None
    parent_task_run_id: str | None = None
    resumed_from: str | None = None
    is_local: bool = Field(False, description="Whether it was begun without the server.")

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> FlowRunOut:
        """Make it of a row."""
        return cls(
            state=StateOut(
                type=row["state"],
                message=row["message"],
                cause=row["cause"],
                timestamp=row["state_time"],
                start_time=row["due"],
            ),
            duration_seconds=_seconds(row["start_time"], row["end_time"]),
            version=row["seq"],
            **{name: row[name] for name in _RUN_FIELDS},
        )


_RUN_FIELDS = [
    name for name in FlowRunOut.model_fields if name not in ("state", "duration_seconds", "version")
]


class TaskRunOut(BaseModel):
    """A task run."""

    id: str
    flow_run_id: str
    slug: str
    map_index: int = Field(description="-1: no child of a mapped task.")
    name: str
    state: StateOut
    run_count: int
    attempt: int
    start_time: datetime | None = None
    end_time: datetime | None = None
    duration_seconds: float | None = Field(None, description="Of its last attempt.")
    children: int | None = Field(None, description="How many a mapped task has.")
    version: int = Field(description="Number of its last event in the run.")

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> TaskRunOut:
        """Make it of a row."""
        return cls(
            id=row["task_run_id"],
            flow_run_id=row["run_id"],
            slug=row["slug"],
            map_index=row["map_index"],
            name=row["name"] or _task_name(row["slug"], row["map_index"]),
            state=StateOut(
                type=row["state"],
                message=row["message"],
                cause=row["cause"],
                timestamp=row["state_time"],
                start_time=row["due"],
            ),
            run_count=row["run_count"],
            attempt=row["attempt"],
            start_time=row["start_time"],
            end_time=row["end_time"],
            duration_seconds=row["seconds"],
            children=row["children"],
            version=row["seq"],
        )


class EventOut(BaseModel):
    """A state in the history of a run."""

    version: int
    epoch: int
    state: StateOut
    actor: str = ""
    received: datetime

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> EventOut:
        """Make it of a row."""
        payload = row["payload"]
        return cls(
            version=row["seq"],
            epoch=row["epoch"],
            state=StateOut(
                type=payload["state"],
                message=payload.get("message", ""),
                cause=payload.get("cause", ""),
                timestamp=row["ts"],
                start_time=None,
            ),
            actor=payload.get("actor", ""),
            received=row["recv_ts"],
        )


class ProjectOut(BaseModel):
    """A project."""

    id: str
    name: str
    description: str
    created: datetime
    updated: datetime
    flow_count: int | None = None


class FlowGroupOut(BaseModel):
    """A flow, with its newest version."""

    id: str
    name: str
    project_id: str
    project_name: str
    description: str
    default_parameters: dict[str, Any]
    labels: list[str] | None
    run_config: dict[str, Any] | None
    settings: dict[str, Any]
    flow_id: str | None
    version: int | None
    archived: bool | None
    version_created: datetime | None
    schedule_active: bool | None
    schedule_reason: str | None
    created: datetime
    updated: datetime


class FlowOut(BaseModel):
    """A version of a flow."""

    id: str
    flow_group_id: str
    flow_name: str
    project_id: str
    project_name: str
    version: int
    archived: bool
    digest: str
    storage: dict[str, Any] | None
    run_config: dict[str, Any] | None
    labels: list[str]
    parameters: list[dict[str, Any]]
    source_path: str
    source_sha256: str
    core_version: str
    python_version: str
    registered_by: str
    created: datetime
    serialized: dict[str, Any] | None = Field(None, description="The graph; of a single version only.")


class RegisteredOut(BaseModel):
    """What came of a registration."""

    id: str
    flow_group_id: str
    version: int
    created: bool
    archived_ids: list[str]
    schedule_active: bool
    schedule_reason: str = Field("", description="Why the schedule is off, where nobody switched it off.")
    url: str


def _uuid(text: str) -> str:
    """Return an id in its one form."""
    return str(uuid.UUID(text))


def in_utc(time: datetime) -> datetime:
    """
    Return a time in UTC; one without a zone is in UTC already.

    Raises:
        ValueError: if it lies beyond all times there.
    """
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{time} is before or after all times in UTC") from None


Time = Annotated[datetime, AfterValidator(in_utc)]
Uuid = Annotated[str, AfterValidator(_uuid), Field(json_schema_extra={"format": "uuid"})]
Name = Annotated[str, Field(min_length=1, max_length=500)]


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else (end - start).total_seconds()


def _task_name(slug: str, index: int) -> str:
    return slug if index < 0 else f"{slug}[{index}]"
