"""What pages show of one flow run: artifacts, graph, times, children, and why it does not start."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from tenuto.server.api.flow_runs import of_run
from tenuto.server.api.models import FlowRunOut, Listed, listed
from tenuto.server.api.requests import PageOf, PathId, StoreOf
from tenuto.server.api.routing import asks, new_router
from tenuto.server.domain.access import Permission
from tenuto.server.domain.graph import TaskProgress, edges_drawn, nodes_drawn
from tenuto.server.store.sql import flow_runs, run_views
from tenuto.server.store.sql.flow_runs import RunFilter

__all__ = ["ArtifactOut", "router"]

router = new_router("/flow-runs", tags=["flow runs"])


class ArtifactOut(BaseModel):
    """Something that a run has left for people: a link, a text, a table, a progress."""

    id: str
    flow_run_id: str
    task_run_id: str | None
    kind: str
    key: str = Field(description="One with the key of an earlier one has taken its place; may be empty.")
    body: Any
    created: datetime
    updated: datetime

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> ArtifactOut:
        """Make it of a row."""
        fields = {name: row[name] for name in cls.model_fields if name != "flow_run_id"}
        return cls(flow_run_id=row["run_id"], **fields)


class ProgressOut(BaseModel):
    """How far a task is."""

    state: str | None = Field(description="Of the task run that is no child; null before there is one.")
    children: dict[str, int] = Field(description="How many children of a mapped task are in which state.")

    @classmethod
    def of(cls, progress: TaskProgress) -> dict[str, Any]:
        """Return its fields."""
        return {"state": progress.state or None, "children": progress.children}


class NodeOut(ProgressOut):
    """A task of a graph."""

    slug: str
    name: str
    type: str = Field(description="Name of its class.")
    tags: list[str]
    mapped: bool
    auto_generated: bool


class EdgeOut(BaseModel):
    """An edge of a graph, by slugs."""

    upstream: str
    downstream: str
    key: str | None = Field(description="Name of the input; null where only an order goes along.")
    mapped: bool
    flattened: bool


class GraphOut(BaseModel):
    """The graph of a run, with how far each task is."""

    nodes: list[NodeOut]
    edges: list[EdgeOut]


class TaskTimesOut(ProgressOut):
    """When a task ran, its children taken together."""

    slug: str
    start_time: datetime | None = Field(description="Of the first of them.")
    end_time: datetime | None = Field(description="Of the last; null while one goes on.")


class TimelineOut(BaseModel):
    """When a run and its tasks ran."""

    start_time: datetime | None
    end_time: datetime | None
    tasks: list[TaskTimesOut]


class ReasonOut(BaseModel):
    """A reason."""

    code: str
    message: str
    names: list[str] = Field(description="Of the agents, or runs, that it is about.")
    missing_labels: list[str] = Field(description="What the nearest agent lacks.")


class ExplainOut(BaseModel):
    """Why a run is not running."""

    state: str
    reasons: list[ReasonOut]


@router.get("/{id}/artifacts", response_model=Listed[ArtifactOut], **asks(Permission.READ))
def list_artifacts(store: StoreOf, id: PathId, page: PageOf) -> Any:
    """List the artifacts of a flow run, in the order of their making."""
    return listed(of_run(store, id, lambda tx: run_views.list_artifacts(tx, id, page)), ArtifactOut.of)


@router.get("/{id}/graph", response_model=GraphOut, **asks(Permission.READ))
def get_graph(store: StoreOf, id: PathId) -> Any:
    """Return the graph of a flow run; children of mapped tasks are counted in their task."""
    serialized, progress = of_run(
        store, id, lambda tx: (run_views.graph_of(tx, id), run_views.progress_of(tx, id))
    )
    nodes = [
        {
            "slug": node.slug,
            "name": node.name,
            "type": node.type,
            "tags": node.tags,
            "mapped": node.is_mapped,
            "auto_generated": node.is_generated,
            **ProgressOut.of(node.progress),
        }
        for node in nodes_drawn(serialized, progress)
    ]
    return {"nodes": nodes, "edges": edges_drawn(serialized)}


@router.get("/{id}/timeline", response_model=TimelineOut, **asks(Permission.READ))
def get_timeline(store: StoreOf, id: PathId) -> Any:
    """Return when each task of a flow run ran, in the order in which they began."""
    run, tasks = store.read(lambda tx: (flow_runs.get_flow_run(tx, id), run_views.times_of(tx, id)))
    told = [
        {
            "slug": task.slug,
            "start_time": task.start_time,
            "end_time": task.end_time,
            **ProgressOut.of(task.progress),
        }
        for task in tasks
    ]
    return {"start_time": run["start_time"], "end_time": run["end_time"], "tasks": told}


@router.get("/{id}/children", response_model=Listed[FlowRunOut], **asks(Permission.READ))
def list_children(store: StoreOf, id: PathId, page: PageOf) -> Any:
    """List the flow runs that a flow run has started, the newest first."""
    wanted = RunFilter(parent_flow_run_id=id)
    return listed(of_run(store, id, lambda tx: flow_runs.list_flow_runs(tx, wanted, page)), FlowRunOut.of)


@router.get("/{id}/explain", response_model=ExplainOut, **asks(Permission.READ))
def explain(store: StoreOf, id: PathId) -> Any:
    """Say why a flow run is not running."""
    run, reasons = store.read(lambda tx: (flow_runs.get_flow_run(tx, id), run_views.explain(tx, id)))
    return {
        "state": run["state"],
        "reasons": [
            {
                "code": reason.code,
                "message": reason.message,
                "names": reason.names,
                "missing_labels": reason.missing_labels,
            }
            for reason in reasons
        ],
    }
