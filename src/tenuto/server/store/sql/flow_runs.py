"""Flow runs and their task runs, as people look at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.flows import NotFound
from tenuto.server.store.sql.pages import Page, PageRequest, read_page
from tenuto.server.store.sql.stream import UnknownRun

__all__ = [
    "RunFilter",
    "TaskFilter",
    "check_run",
    "count_by_state",
    "count_task_states",
    "get_flow_run",
    "get_task_run",
    "list_flow_runs",
    "list_task_runs",
    "read_events",
    "read_states",
    "restricted",
    "search_task_runs",
]

_FLOW_COLUMNS = (
    tables.flow.c.flow_group_id,
    tables.flow.c.version.label("flow_version"),
    tables.flow_group.c.name.label("flow_name"),
    tables.project.c.id.label("project_id"),
    tables.project.c.name.label("project_name"),
)
_RUN = tables.flow_run
_SORTS: Mapping[str, Sequence[Any]] = {
    # Ids of runs sort by age.
    "created": [_RUN.c.id],
    "name": [_RUN.c.name, _RUN.c.id],
    "state_time": [sa.func.coalesce(_RUN.c.state_time, _RUN.c.created), _RUN.c.id],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """
    Which flow runs are wanted; what is empty or None does not matter.

    Attributes:
        states: class names.
        ids: of the runs.
        labels: all of them must be there.
        since, until: bounds of when the run was made.
        text: in the name of the run, or its id begins with it.
        parameters: values that the run's parameters have.
    """

    states: Sequence[str] = ()
    flow_id: str | None = None
    flow_group_id: str | None = None
    flow_name: str | None = None
    project_id: str | None = None
    project_name: str | None = None
    agent_id: str | None = None
    parent_flow_run_id: str | None = None
    ids: Sequence[str] = ()
    schedule_id: str | None = None
    labels: Sequence[str] = ()
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""
    auto_scheduled: bool | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


def list_flow_runs(transaction: Transaction, wanted: RunFilter, request: PageRequest) -> Page:
    """
    Return a page of flow runs, the newest first.

    Raises:
        BadQuery.
    """
    query = sa.select(_RUN.c.id).select_from(_RUN)
    query = restricted(transaction, query, wanted)
    page = read_page(transaction, query, request, _SORTS, "-created")
    page.rows = _full(transaction, [row["id"] for row in page.rows])
    return page


def count_by_state(transaction: Transaction, wanted: RunFilter) -> dict[str, int]:
    """Return how many flow runs are in which state."""
    query = restricted(transaction, sa.select(_RUN.c.state, sa.func.count().label("number")), wanted)
    rows = transaction.connection.execute(query.group_by(_RUN.c.state).order_by(_RUN.c.state))
    return {row.state: row.number for row in rows}


def get_flow_run(transaction: Transaction, run_id: str) -> dict[str, Any]:
    """
    Return one flow run.

    Raises:
        UnknownRun.
    """
    found = _full(transaction, [run_id])
    if not found:
        raise UnknownRun(run_id)
    return found[0]


def check_run(transaction: Transaction, run_id: str, task_run_id: str | None = None) -> None:
    """
    Let through ids of a flow run, and of one of its task runs, that there are.

    Raises:
        UnknownRun.
        NotFound: when the run has no such task run.
    """
    if transaction.connection.execute(sa.select(_RUN.c.id).where(_RUN.c.id == run_id)).first() is None:
        raise UnknownRun(run_id)
    if task_run_id is None:
        return
    query = sa.select(_TASK.c.slug).where(_TASK.c.run_id == run_id, _TASK.c.task_run_id == task_run_id)
    if transaction.connection.execute(query).first() is None:
        raise NotFound("task run", task_run_id)


def _full(transaction: Transaction, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return the runs of these ids, in their order, with what they are of."""
    query = (
        sa.select(_RUN, *_FLOW_COLUMNS)
        .join(tables.flow, tables.flow.c.id == _RUN.c.flow_id)
        .join(tables.flow_group, tables.flow_group.c.id == tables.flow.c.flow_group_id)
        .join(tables.project, tables.project.c.id == tables.flow_group.c.project_id)
        .where(_RUN.c.id.in_(ids))
    )
    found = {row["id"]: dict(row) for row in transaction.connection.execute(query).mappings()}
    return [found[run_id] for run_id in ids if run_id in found]


def restricted(transaction: Transaction, query: sa.Select[Any], wanted: RunFilter) -> sa.Select[Any]:
    """Return a query of flow runs with the conditions of a filter."""
    equal = {
        _RUN.c.flow_id: wanted.flow_id,
        _RUN.c.agent_id: wanted.agent_id,
        _RUN.c.parent_flow_run_id: wanted.parent_flow_run_id,
        _RUN.c.schedule_id: wanted.schedule_id,
        _RUN.c.auto_scheduled: wanted.auto_scheduled,
    }
    for column, value in equal.items():
        if value is not None:
            query = query.where(column == value)
    if wanted.states:
        query = query.where(_RUN.c.state.in_(wanted.states))
    if wanted.ids:
        query = query.where(_RUN.c.id.in_(wanted.ids))
    if wanted.since is not None:
        query = query.where(_RUN.c.created >= wanted.since)
    if wanted.until is not None:
        query = query.where(_RUN.c.created < wanted.until)
    if wanted.text:
        query = query.where(
            sa.or_(
                _RUN.c.name.icontains(wanted.text, autoescape=True),
                sa.cast(_RUN.c.id, sa.Text).startswith(wanted.text.lower(), autoescape=True),
            )
        )
    for label in wanted.labels:
        query = query.where(_has_label(transaction, label))
    for name, value in wanted.parameters.items():
        query = query.where(_RUN.c.parameters[name].as_string() == str(value))
    return _of_flows(query, wanted)


def _of_flows(query: sa.Select[Any], wanted: RunFilter) -> sa.Select[Any]:
    """Restrict to the flows that are wanted, found first: there are few of them, and many runs."""
    by_group = (wanted.flow_group_id, wanted.flow_name, wanted.project_id, wanted.project_name)
    if all(value is None for value in by_group):
        return query
    flow, group, project = tables.flow, tables.flow_group, tables.project
    flows = (
        sa.select(flow.c.id)
        .join(group, group.c.id == flow.c.flow_group_id)
        .join(project, project.c.id == group.c.project_id)
    )
    columns = (group.c.id, group.c.name, project.c.id, project.c.name)
    for column, value in zip(columns, by_group, strict=True):
        if value is not None:
            flows = flows.where(column == value)
    return query.where(_RUN.c.flow_id.in_(flows))


def _has_label(transaction: Transaction, label: str) -> Any:
    if transaction.is_postgresql:
        return _RUN.c.labels.contains([label])
    each = sa.func.json_each(_RUN.c.labels).table_valued("value")
    return sa.exists(sa.select(1).select_from(each).where(each.c.value == label))


# -------------------------------------------------------------------------------------------------- task runs

_TASK = tables.task_run
_TASK_SORTS: Mapping[str, Sequence[Any]] = {
    "id": [_TASK.c.task_run_id],
    "name": [_TASK.c.slug, _TASK.c.map_index],
    # In the order in which they last changed.
    "seq": [_TASK.c.seq],
}


def list_task_runs(
    transaction: Transaction,
    run_id: str,
    request: PageRequest,
    *,
    states: Sequence[str] = (),
    slug: str | None = None,
    only_parents: bool = False,
    only_children: bool = False,
) -> Page:
    """
    Return a page of the task runs of a flow run, by slug and map index.

    Args:
        states: class names.
        slug: of one task.
        only_parents: leave out the children of mapped tasks.
        only_children: leave out all others.

    Raises:
        BadQuery.
    """
    query = sa.select(_TASK).where(_TASK.c.run_id == run_id)
    query = _of_tasks(query, states, slug, only_parents=only_parents)
    if only_children:
        query = query.where(_TASK.c.map_index >= 0)
    return read_page(transaction, query, request, _TASK_SORTS, "name")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """
    Which task runs are wanted; what is empty or None does not matter.

    Attributes:
        states: class names, of the task runs.
        slug: of one task.
        only_parents: leave out the children of mapped tasks.
        runs: which flow runs they are of.
    """

    states: Sequence[str] = ()
    slug: str | None = None
    only_parents: bool = False
    runs: RunFilter = RunFilter()


def search_task_runs(transaction: Transaction, wanted: TaskFilter, request: PageRequest) -> Page:
    """
    Return a page of task runs of any flow runs, those of the newest flow run first.

    Raises:
        BadQuery.
    """
    query = sa.select(_TASK).join(_RUN, _RUN.c.id == _TASK.c.run_id)
    query = restricted(transaction, query, wanted.runs)
    query = _of_tasks(query, wanted.states, wanted.slug, only_parents=wanted.only_parents)
    sorts = {"flow_run": [_TASK.c.run_id, _TASK.c.task_run_id]}
    return read_page(transaction, query, request, sorts, "-flow_run")


def _of_tasks(
    query: sa.Select[Any], states: Sequence[str], slug: str | None, *, only_parents: bool
) -> sa.Select[Any]:
    """Return a query of task runs with conditions."""
    if states:
        query = query.where(_TASK.c.state.in_(states))
    if slug is not None:
        query = query.where(_TASK.c.slug == slug)
    if only_parents:
        query = query.where(_TASK.c.map_index < 0)
    return query


def get_task_run(transaction: Transaction, task_run_id: str) -> dict[str, Any]:
    """
    Return one task run.

    Raises:
        NotFound.
    """
    query = sa.select(_TASK).where(_TASK.c.task_run_id == task_run_id)
    found = transaction.connection.execute(query).mappings().first()
    if found is None:
        raise NotFound("task run", task_run_id)
    return dict(found)


def count_task_states(transaction: Transaction, run_id: str) -> list[dict[str, Any]]:
    """Return how many task runs of a flow run are in which state, by task, children apart."""
    is_child = sa.case((_TASK.c.map_index >= 0, 1), else_=0)
    query = (
        sa.select(_TASK.c.slug, is_child.label("is_child"), _TASK.c.state, sa.func.count().label("count"))
        .where(_TASK.c.run_id == run_id)
        .group_by(_TASK.c.slug, is_child, _TASK.c.state)
        .order_by(_TASK.c.slug)
    )
    return [dict(row) for row in transaction.connection.execute(query).mappings()]


# ----------------------------------------------------------------------------------------------------- events


def read_events(
    transaction: Transaction, run_id: str, after: int = 0, limit: int = 1_000
) -> list[tuple[int, int, str]]:
    """Return events of a run in order: number in the stream, epoch, JSON as it was reported."""
    event = tables.run_event
    query = (
        sa.select(event.c.seq, event.c.epoch, sa.cast(event.c.payload, sa.Text))
        .where(event.c.run_id == run_id, event.c.seq > after)
        .order_by(event.c.seq)
        .limit(limit)
    )
    return [(seq, epoch, text) for seq, epoch, text in transaction.connection.execute(query)]


def read_states(
    transaction: Transaction, run_id: str, task_run_id: str | None = None
) -> list[dict[str, Any]]:
    """Return the states of a flow run, or of one of its task runs, in order."""
    event = tables.run_event
    query = (
        sa.select(event.c.seq, event.c.epoch, event.c.ts, event.c.recv_ts, event.c.payload)
        .where(event.c.run_id == run_id, event.c.task_run_id == task_run_id)
        .order_by(event.c.seq)
    )
    rows = transaction.connection.execute(query).mappings()
    return [dict(row) for row in rows if row["payload"].get("state")]
