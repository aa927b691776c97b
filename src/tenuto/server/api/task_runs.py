"""Task runs of any flow runs: looked at, and their states set."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Response

from tenuto.server.api.flow_runs import LogFilter, TaskStateChange, Told, logs_of, moment, parts_of
from tenuto.server.api.models import EventOut, Listed, TaskRunOut, Uuid, listed
from tenuto.server.api.requests import JsonLines, PageOf, PathId, Store, StoreOf
from tenuto.server.api.routing import asks, new_router
from tenuto.server.api.run_views import ArtifactOut
from tenuto.server.domain.access import Permission
from tenuto.server.store.sql import flow_runs, pauses, run_views, runs
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.flow_runs import RunFilter, TaskFilter, get_task_run

__all__ = ["router"]

router = new_router("/task-runs", tags=["task runs"])


@router.get("", response_model=Listed[TaskRunOut], **asks(Permission.READ))
def list_task_runs(
    store: StoreOf,
    page: PageOf,
    state: Annotated[str, Query(description="Class names, with commas between them.")] = "",
    slug: str | None = None,
    parents: Annotated[bool, Query(description="Leave out the children of mapped tasks.")] = False,
    flow_run_id: Uuid | None = None,
    flow_id: Uuid | None = None,
    flow_group_id: Uuid | None = None,
    flow: Annotated[str | None, Query(description="Name of the flow.")] = None,
    project: Annotated[str | None, Query(description="Name of the project.")] = None,
    since: Annotated[str, Query(description="When the flow run was made: a time, or how long ago.")] = "",
    until: Annotated[str, Query(description="When the flow run was made: a time, or how long ago.")] = "",
) -> Any:
    """List task runs, those of the newest flow run first."""
    of_runs = RunFilter(
        ids=[] if flow_run_id is None else [flow_run_id],
        flow_id=flow_id,
        flow_group_id=flow_group_id,
        flow_name=flow,
        project_name=project,
        since=moment(since, "since"),
        until=moment(until, "until"),
    )
    wanted = TaskFilter(states=parts_of(state), slug=slug, only_parents=parents, runs=of_runs)
    return listed(store.read(lambda tx: flow_runs.search_task_runs(tx, wanted, page)), TaskRunOut.of)


@router.get("/{id}", response_model=TaskRunOut, **asks(Permission.READ))
def get(store: StoreOf, id: PathId) -> Any:
    """Return a task run."""
    return TaskRunOut.of(store.read(lambda tx: get_task_run(tx, id)))


@router.get("/{id}/states", response_model=list[EventOut], **asks(Permission.READ))
def list_states(store: StoreOf, id: PathId) -> Any:
    """List the states of a task run, in order."""
    rows = store.read(lambda tx: flow_runs.read_states(tx, get_task_run(tx, id)["run_id"], id))
    return [EventOut.of(row) for row in rows]


@router.put("/{id}/state", response_model=TaskRunOut, **asks(Permission.RUN))
def set_state(store: StoreOf, id: PathId, body: TaskStateChange) -> Any:
    """Set the state of a task run of a flow run that no worker is at."""

    def work(transaction: Transaction) -> None:
        runs.set_task_state(
            transaction,
            get_task_run(transaction, id)["run_id"],
            id,
            body.type,
            by=store.principal.name,
            message=body.message,
            expected_version=body.expected_version,
        )

    store.write(work, after={"state": body.type})
    return get(store, id)


@router.post("/{id}/approve", response_model=TaskRunOut, **asks(Permission.RUN))
def approve(store: StoreOf, id: PathId, body: Told | None = None) -> Any:
    """Have a paused task run; its flow run goes on."""
    return _answer(store, id, body, approved=True)


@router.post("/{id}/reject", response_model=TaskRunOut, **asks(Permission.RUN))
def reject(store: StoreOf, id: PathId, body: Told | None = None) -> Any:
    """Have a paused task fail; its flow run goes on."""
    return _answer(store, id, body, approved=False)


def _answer(store: Store, task_run_id: str, body: Told | None, *, approved: bool) -> Any:
    by, message = store.principal.name, "" if body is None else body.message
    store.write(
        lambda tx: pauses.answer(tx, task_run_id, approved=approved, by=by, message=message),
        after={"approved": approved},
    )
    return get(store, task_run_id)


@router.get("/{id}/logs", response_class=JsonLines, **asks(Permission.READ))
def list_logs(
    store: StoreOf,
    id: PathId,
    after: Annotated[str, Query(description="`EPOCH.LSEQ` of the last line that is known.")] = "",
    limit: Annotated[int, Query(ge=1, le=10_000, description="Records that are looked at.")] = 1_000,
    level: Annotated[int, Query(description="As in `logging`: 20 is INFO.")] = 0,
    q: Annotated[str, Query(description="In the message.")] = "",
) -> Response:
    """Return log records of a task run as JSON lines, in order; `X-Next-After` is where the next begin."""
    task = store.read(lambda tx: get_task_run(tx, id))
    wanted = LogFilter(level, task["slug"], task["map_index"], q)
    return logs_of(store, task["run_id"], after, limit, wanted)


@router.get("/{id}/artifacts", response_model=Listed[ArtifactOut], **asks(Permission.READ))
def list_artifacts(store: StoreOf, id: PathId, page: PageOf) -> Any:
    """List the artifacts of a task run, in the order of their making."""
    found = store.read(
        lambda tx: run_views.list_artifacts(tx, get_task_run(tx, id)["run_id"], page, task_run_id=id)
    )
    return listed(found, ArtifactOut.of)


@router.get("/{id}/mapped", response_model=Listed[TaskRunOut], **asks(Permission.READ))
def list_mapped(
    store: StoreOf,
    id: PathId,
    page: PageOf,
    state: Annotated[str, Query(description="Class names, with commas between them.")] = "",
) -> Any:
    """List the children of a mapped task, by their index."""

    def work(transaction: Transaction) -> Any:
        task = get_task_run(transaction, id)
        return flow_runs.list_task_runs(
            transaction, task["run_id"], page, states=parts_of(state), slug=task["slug"], only_children=True
        )

    return listed(store.read(work), TaskRunOut.of)
