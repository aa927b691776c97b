"""Flow runs: looked at, made, cancelled, started again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import msgspec
from fastapi import Depends, Header, Query, Request, Response
from pydantic import BaseModel, Field

from tenuto._base.ids import task_run_id
from tenuto.server.api.models import (
    EventOut,
    FlowRunOut,
    Given,
    Listed,
    Name,
    StateOut,
    TaskRunOut,
    Time,
    Uuid,
    in_utc,
    listed,
)
from tenuto.server.api.problems import Problem
from tenuto.server.api.requests import JsonLines, PageOf, PathId, Store, StoreOf, TaskRunId
from tenuto.server.api.routing import asks, new_router
from tenuto.server.domain.access import Permission
from tenuto.server.store.sql import deletion, flow_runs, logs, new_runs, pauses, restarts, run_views, runs
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.flow_runs import RunFilter
from tenuto.server.store.sql.stream import moment_of

__all__ = [
    "FilterOf",
    "LogFilter",
    "TaskStateChange",
    "Told",
    "log_lines",
    "logs_of",
    "moment",
    "of_run",
    "parts_of",
    "place_of_logs",
    "router",
]

router = new_router("/flow-runs", tags=["flow runs"])

T = TypeVar("T")
NUMBER_MAX = 2**63 - 1
_TASKS_SHOWN = 1_000
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


async def run_filter(
    request: Request,
    state: Annotated[str, Query(description="Class names, with commas between them.")] = "",
    flow_id: Uuid | None = None,
    flow_group_id: Uuid | None = None,
    flow: Annotated[str | None, Query(description="Name of the flow.")] = None,
    project_id: Uuid | None = None,
    project: Annotated[str | None, Query(description="Name of the project.")] = None,
    agent_id: Uuid | None = None,
    parent_flow_run_id: Uuid | None = None,
    label: Annotated[str, Query(description="All of these, with commas between them.")] = "",
    since: Annotated[str, Query(description="A time, or how long ago: `24h`, `7d`.")] = "",
    until: Annotated[str, Query(description="A time, or how long ago.")] = "",
    q: Annotated[str, Query(description="In the name, or the beginning of the id.")] = "",
) -> RunFilter:
    """Return the filter that a request names; `param.NAME=VALUE` asks for a parameter."""
    parameters = {
        name.removeprefix("param."): value
        for name, value in request.query_params.items()
        if name.startswith("param.")
    }
    return RunFilter(
        states=parts_of(state),
        flow_id=flow_id,
        flow_group_id=flow_group_id,
        flow_name=flow,
        project_id=project_id,
        project_name=project,
        agent_id=agent_id,
        parent_flow_run_id=parent_flow_run_id,
        labels=parts_of(label),
        since=moment(since, "since"),
        until=moment(until, "until"),
        text=q,
        parameters=parameters,
    )


FilterOf = Annotated[RunFilter, Depends(run_filter)]


class Told(Given):
    """Why something is asked for."""

    message: str = ""


class CancelRequest(Given):
    """How a run is to be cancelled."""

    message: str = ""
    force: bool = Field(False, description="Do not wait for its worker: fence it.")


Version = Annotated[
    int | None, Field(ge=0, description="`version` of the run as it was shown; else it is refused.")
]


class StateChange(Given):
    """A state to be set by hand."""

    type: str
    message: str = ""
    with_tasks: bool = Field(False, description="Task runs that have not finished get it, too.")
    expected_version: Version = None


class TaskStateChange(Given):
    """A state of a task run to be set by hand."""

    type: str
    message: str = ""
    expected_version: Version = None


class RestartRequest(Given):
    """How a run is to be restarted."""

    origin: Literal["failed", "everything"] = Field(
        "failed", alias="from", description="What did not succeed and what depends on it, or all."
    )
    message: str = ""
    dry_run: bool = Field(False, description="Change nothing: only tell what would run again.")


class RestartedTask(BaseModel):
    """A task run that runs again."""

    slug: str
    map_index: int
    state: str = Field(description="That it ended in.")


class Restarted(BaseModel):
    """What a restart takes back."""

    flow_run: FlowRunOut
    tasks: list[RestartedTask] = Field(description="The first 1,000 of those that run again.")
    again: int = Field(description="How many run again.")
    kept: int = Field(description="How many keep their state.")


class NewFlowRun(Given):
    """A flow run to be made: of a version, of a flow, or of a flow by its names."""

    flow_id: Uuid | None = None
    flow_group_id: Uuid | None = None
    project: str | None = None
    flow: str | None = None
    name: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)
    labels: list[str] | None = None
    context: dict[str, Any] = Field(default_factory=dict)
    run_config: dict[str, Any] | None = None
    scheduled_start_time: Time | None = Field(None, description="Default: now.")
    parent_flow_run_id: Uuid | None = None
    parent_task_run_id: Uuid | None = None
    allow_extra: bool = Field(False, description="Let through parameters that the flow does not have.")


class AgentsThere(BaseModel):
    """Whether somebody takes a run."""

    healthy_matching: int
    message: str


class FlowRunMade(BaseModel):
    """A flow run that was made."""

    flow_run: FlowRunOut
    url: str
    agents: AgentsThere


class RunChange(Given):
    """What is to be changed."""

    name: Name | None = None
    labels: list[str] | None = Field(None, description="Agents that cover these take it from now on.")


@router.get("", response_model=Listed[FlowRunOut], **asks(Permission.READ))
def list_flow_runs(store: StoreOf, page: PageOf, wanted: FilterOf) -> Any:
    """List flow runs, the newest first."""
    return listed(store.read(lambda tx: flow_runs.list_flow_runs(tx, wanted, page)), FlowRunOut.of)


@router.post("", response_model=FlowRunMade, status_code=201, **asks(Permission.RUN))
def create_flow_run(
    store: StoreOf,
    body: NewFlowRun,
    response: Response,
    idempotency_key: Annotated[str | None, Header(max_length=500)] = None,
) -> Any:
    """Make a flow run; the answer says whether an agent is there that takes it."""
    wanted = new_runs.Wanted(**body.model_dump(), idempotency_key=idempotency_key, by=store.principal.name)
    made = store.write(lambda tx: new_runs.create_flow_run(tx, wanted))
    if not made.created:
        response.status_code = 200
        response.headers["Idempotent-Replay"] = "true"
    return {
        "flow_run": get_flow_run(store, made.id),
        "url": store.url(f"/flow-run/{made.id}"),
        "agents": {"healthy_matching": made.healthy_matching, "message": made.message},
    }


@router.get("/{id}", response_model=FlowRunOut, **asks(Permission.READ))
def get_flow_run(store: StoreOf, id: PathId) -> Any:
    """Return a flow run."""
    return FlowRunOut.of(store.read(lambda tx: flow_runs.get_flow_run(tx, id)))


@router.patch("/{id}", response_model=FlowRunOut, **asks(Permission.RUN))
def change(store: StoreOf, id: PathId, body: RunChange) -> Any:
    """Give a flow run another name, or other labels."""
    by = store.principal.name

    def work(transaction: Transaction) -> None:
        if body.name is not None:
            runs.rename(transaction, id, body.name, by=by)
        if body.labels is not None:
            runs.relabel(transaction, id, body.labels, by=by)

    if body.name is not None or body.labels is not None:
        store.write(work, after=body.model_dump(exclude_none=True))
    return get_flow_run(store, id)


@router.delete(
    "/{id}", status_code=204, response_class=Response, response_model=None, **asks(Permission.EDIT)
)
def delete(store: StoreOf, id: PathId) -> None:
    """Delete a flow run that no worker is at, with its states, task runs, logs and artifacts."""
    store.write(lambda tx: deletion.begin_deletion(tx, id, by=store.principal.name))
    while not store.go_on(lambda tx: deletion.delete_part(tx, id)):
        pass


@router.get("/{id}/state", response_model=StateOut, **asks(Permission.READ))
def get_state(store: StoreOf, id: PathId) -> Any:
    """Return the state of a flow run."""
    return FlowRunOut.of(store.read(lambda tx: flow_runs.get_flow_run(tx, id))).state


@router.put("/{id}/state", response_model=FlowRunOut, **asks(Permission.RUN))
def set_state(store: StoreOf, id: PathId, body: StateChange) -> Any:
    """Set the state of a flow run that no worker is at."""
    store.write(
        lambda tx: runs.set_run_state(
            tx,
            id,
            body.type,
            by=store.principal.name,
            message=body.message,
            with_tasks=body.with_tasks,
            expected_version=body.expected_version,
        ),
        after={"state": body.type},
    )
    return get_flow_run(store, id)


@router.get("/{id}/states", response_model=list[EventOut], **asks(Permission.READ))
def list_states(store: StoreOf, id: PathId) -> Any:
    """List the states of a flow run, in order."""
    return [EventOut.of(row) for row in of_run(store, id, lambda tx: flow_runs.read_states(tx, id))]


@router.post("/{id}/cancel", response_model=FlowRunOut, **asks(Permission.RUN))
def cancel(store: StoreOf, id: PathId, body: CancelRequest | None = None) -> Any:
    """Cancel a flow run: one that a worker is at is asked to end."""
    asked = body or CancelRequest(message="", force=False)
    by = store.principal.name
    store.write(lambda tx: runs.cancel(tx, id, by=by, message=asked.message, force=asked.force))
    return get_flow_run(store, id)


@router.post("/{id}/restart", response_model=Restarted, **asks(Permission.RUN))
def restart(store: StoreOf, id: PathId, body: RestartRequest | None = None) -> Any:
    """Have a flow run that has finished go on from where it failed, or from its beginning."""
    asked = body or RestartRequest.model_validate({})
    found = store.write(
        lambda tx: restarts.restart(
            tx,
            id,
            by=store.principal.name,
            message=asked.message,
            everything=asked.origin == "everything",
            dry_run=asked.dry_run,
        )
    )
    return {
        "flow_run": get_flow_run(store, id),
        "tasks": [
            {"slug": task.slug, "map_index": task.map_index, "state": task.state}
            for task in found.tasks[:_TASKS_SHOWN]
        ],
        "again": len(found.tasks),
        "kept": found.kept,
    }


@router.post("/{id}/pause", response_model=FlowRunOut, **asks(Permission.RUN))
def pause(store: StoreOf, id: PathId, body: Told | None = None) -> Any:
    """Pause a flow run: one that a worker is at is asked to stop between two tasks."""
    asked, by = body or Told(message=""), store.principal.name
    store.write(lambda tx: pauses.pause(tx, id, by=by, message=asked.message))
    return get_flow_run(store, id)


@router.post("/{id}/resume", response_model=FlowRunOut, **asks(Permission.RUN))
def resume(store: StoreOf, id: PathId, body: Told | None = None) -> Any:
    """Have a paused flow run go on, with all its paused tasks."""
    asked, by = body or Told(message=""), store.principal.name
    store.write(lambda tx: pauses.resume(tx, id, by=by, message=asked.message))
    return get_flow_run(store, id)


@router.post("/{id}/start-now", response_model=FlowRunOut, **asks(Permission.RUN))
def start_now(store: StoreOf, id: PathId) -> Any:
    """Make a waiting flow run due."""
    store.write(lambda tx: runs.start_now(tx, id, by=store.principal.name))
    return get_flow_run(store, id)


@router.get("/{id}/task-runs", response_model=Listed[TaskRunOut], **asks(Permission.READ))
def list_task_runs(
    store: StoreOf,
    id: PathId,
    page: PageOf,
    state: str = "",
    slug: str | None = None,
    parents: Annotated[bool, Query(description="Leave out the children of mapped tasks.")] = False,
) -> Any:
    """List the task runs of a flow run."""
    found = of_run(
        store,
        id,
        lambda tx: flow_runs.list_task_runs(
            tx, id, page, states=parts_of(state), slug=slug, only_parents=parents
        ),
    )
    return listed(found, TaskRunOut.of)


@router.get("/{id}/task-runs/{task_run_id}/states", response_model=list[EventOut], **asks(Permission.READ))
def list_task_states(store: StoreOf, id: PathId, task_run_id: TaskRunId) -> Any:
    """List the states of a task run, in order."""
    rows = of_run(store, id, lambda tx: flow_runs.read_states(tx, id, task_run_id), task_run_id)
    return [EventOut.of(row) for row in rows]


@router.put("/{id}/task-runs/{task_run_id}/state", response_model=FlowRunOut, **asks(Permission.RUN))
def set_task_state(store: StoreOf, id: PathId, task_run_id: TaskRunId, body: TaskStateChange) -> Any:
    """Set the state of a task run of a flow run that no worker is at."""
    store.write(
        lambda tx: runs.set_task_state(
            tx,
            id,
            task_run_id,
            body.type,
            by=store.principal.name,
            message=body.message,
            expected_version=body.expected_version,
        ),
        after={"state": body.type},
    )
    return get_flow_run(store, id)


@router.get("/{id}/summary", **asks(Permission.READ))
def summary(store: StoreOf, id: PathId) -> dict[str, Any]:
    """Count the task runs of a flow run by task and state."""
    progress = of_run(store, id, lambda tx: run_views.progress_of(tx, id))
    states: Counter[str] = Counter()
    for task in progress.values():
        states.update(task.children)
        states.update([task.state] if task.state else [])
    tasks = {
        slug: {"state": task.state or None, "children": task.children} for slug, task in progress.items()
    }
    return {"states": dict(states), "tasks": tasks}


@router.get("/{id}/events", response_class=JsonLines, **asks(Permission.READ))
def list_events(
    store: StoreOf, id: PathId, after: int = 0, limit: Annotated[int, Query(ge=1, le=1000)] = 1000
) -> Response:
    """Return events of a flow run as JSON lines: `seq`, `epoch`, `event`."""
    rows = of_run(store, id, lambda tx: flow_runs.read_events(tx, id, after, limit))
    lines = [
        msgspec.json.encode({"seq": seq, "epoch": epoch, "event": msgspec.Raw(text.encode())}) + b"\n"
        for seq, epoch, text in rows
    ]
    return JsonLines(b"".join(lines))


@router.get("/{id}/logs", response_class=JsonLines, **asks(Permission.READ))
def list_logs(
    store: StoreOf,
    id: PathId,
    after: Annotated[str, Query(description="`EPOCH.LSEQ` of the last line that is known.")] = "",
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
    level: Annotated[int, Query(description="As in `logging`: 20 is INFO.")] = 0,
    slug: str | None = None,
    q: Annotated[str, Query(description="In the message.")] = "",
) -> Response:
    """Return log records of a flow run as JSON lines (shapes 5), in order."""
    return logs_of(store, id, after, limit, LogFilter(level, slug, text=q))


def logs_of(store: Store, run_id: str, after: str, limit: int, wanted: LogFilter) -> JsonLines:
    """Return those of the next log records of a run that are wanted; a header tells the place of the last."""
    place = place_of_logs(after)
    found = of_run(store, run_id, lambda tx: list(logs.read_log_lines(tx, run_id, place, limit)))
    last, lines = log_lines(run_id, found, wanted)
    following = f"{last[0]}.{last[1]}" if found else after
    return JsonLines(lines, headers={"X-Next-After": following})


def of_run(store: Store, run_id: str, work: Callable[[Transaction], T], task_run_id: str | None = None) -> T:
    """Read what belongs to a flow run, or to one of its task runs, which there must be."""

    def checked(transaction: Transaction) -> T:
        flow_runs.check_run(transaction, run_id, task_run_id)
        return work(transaction)

    return store.read(checked)


class LogFilter(NamedTuple):
    """Which log records are wanted: of a level or higher, of one task or child, with a text in them."""

    level: int = 0
    slug: str | None = None
    map_index: int | None = None
    text: str = ""

    def passes(self, record: dict[str, Any]) -> bool:
        """Say whether a record is wanted."""
        if record.get("level", 0) < self.level:
            return False
        if self.slug is not None and record.get("slug", "") != self.slug:
            return False
        if self.map_index is not None and record.get("index", -1) != self.map_index:
            return False
        return self.text.lower() in record.get("message", "").lower()


def log_lines(
    run_id: str, found: list[tuple[int, bytes]], wanted: LogFilter
) -> tuple[tuple[int, int], bytes]:
    """Return the place of the last of some stored records, and those that are wanted as JSON lines."""
    lines, place = [], (0, 0)
    for epoch, line in found:
        record = msgspec.json.decode(line)
        place = (epoch, record["lseq"])
        if wanted.passes(record):
            told = {**record, "epoch": epoch, "flow_run_id": run_id, "ts": moment_of(record.get("ts", 0))}
            if slug := record.get("slug"):
                told["task_run_id"] = task_run_id(run_id, slug, record.get("index", -1))
            lines.append(msgspec.json.encode(told) + b"\n")
    return place, b"".join(lines)


def place_of_logs(text: str) -> tuple[int, int]:
    """Return epoch and number of the last record that is known, of `EPOCH.LSEQ`."""
    epoch, _, lseq = text.partition(".")
    try:
        place = (int(epoch), int(lseq)) if text else (0, 0)
    except ValueError:
        place = (-1, -1)
    if not all(0 <= number <= NUMBER_MAX for number in place):
        raise Problem(422, "invalid-request", f"after={text!r} is no place. Write EPOCH.LSEQ.")
    return place


def parts_of(text: str) -> list[str]:
    """Return what stands between the commas of a text."""
    return [part.strip() for part in text.split(",") if part.strip()]


def moment(text: str, name: str) -> datetime | None:
    """Return the time that a text names: ISO 8601, or how long ago."""
    if not text:
        return None
    unit = _UNITS.get(text[-1])
    try:
        if unit is not None:
            return datetime.now(UTC) - timedelta(**{unit: float(text[:-1])})
        return in_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise Problem(
            422, "invalid-request", f"{name}={text!r} is no time. Write 24h, or 2026-01-31."
        ) from None
