"""What pages show of one flow run: its artifacts, its graph, its times, and why it does not start."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tenuto.server.domain.agents import agent_status
from tenuto.server.domain.explain import AgentFacts, Reason, RunFacts, why_not_running
from tenuto.server.domain.graph import TaskProgress
from tenuto.server.domain.group_settings import GroupSettings
from tenuto.server.store.sql import tables
from tenuto.server.store.sql.agents import all_agents
from tenuto.server.store.sql.claims import runs_under_way
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.flow_runs import count_task_states, get_flow_run
from tenuto.server.store.sql.pages import Page, PageRequest, read_page

__all__ = ["TaskTimes", "explain", "graph_of", "list_artifacts", "progress_of", "times_of"]

_TASK = tables.task_run


def list_artifacts(
    transaction: Transaction, run_id: str, request: PageRequest, task_run_id: str | None = None
) -> Page:
    """
    Return a page of the artifacts of a flow run, or of one of its task runs, in the order of their making.

    Raises:
        BadQuery.
    """
    table = tables.artifact
    query = sa.select(table).where(table.c.run_id == run_id)
    if task_run_id is not None:
        query = query.where(table.c.task_run_id == task_run_id)
    return read_page(transaction, query, request, {"created": [table.c.created, table.c.id]}, "created")


def graph_of(transaction: Transaction, run_id: str) -> Any:
    """Return the serialized flow that a run is of; an empty object where nobody has told it."""
    run, flow = tables.flow_run, tables.flow
    query = sa.select(flow.c.serialized).join(run, run.c.flow_id == flow.c.id).where(run.c.id == run_id)
    return transaction.connection.execute(query).scalar()


def progress_of(transaction: Transaction, run_id: str) -> dict[str, TaskProgress]:
    """Return how far each task of a flow run is, by slug."""
    found: dict[str, TaskProgress] = {}
    for row in count_task_states(transaction, run_id):
        task = found.setdefault(row["slug"], TaskProgress())
        if row["is_child"]:
            task.children[row["state"]] = row["count"]
        else:
            task.state = row["state"]
    return found


@dataclass(slots=True)
class TaskTimes:
    """
    When a task ran, its children taken together.

    Attributes:
        start_time: of the first of them.
        end_time: of the last; None while one goes on.
        progress: how far it is.
    """

    slug: str
    start_time: datetime | None = None
    end_time: datetime | None = None
    progress: TaskProgress = field(default_factory=TaskProgress)


def times_of(transaction: Transaction, run_id: str) -> list[TaskTimes]:
    """Return when each task of a flow run ran, in the order in which they began; the others at the end."""
    progress = progress_of(transaction, run_id)
    ended = sa.func.count(_TASK.c.end_time)
    query = (
        sa.select(
            _TASK.c.slug,
            sa.func.min(_TASK.c.start_time),
            sa.case((ended == sa.func.count(), sa.func.max(_TASK.c.end_time)), else_=None),
        )
        .where(_TASK.c.run_id == run_id)
        .group_by(_TASK.c.slug)
    )
    rows = transaction.connection.execute(query)
    found = [TaskTimes(slug, start, end, progress[slug]) for slug, start, end in rows]
    found.sort(key=lambda task: (task.start_time is None, task.start_time or task.end_time or 0, task.slug))
    return found


def explain(transaction: Transaction, run_id: str) -> list[Reason]:
    """
    Return why a run is not running.

    Raises:
        UnknownRun.
    """
    run = get_flow_run(transaction, run_id)
    group = tables.flow_group
    query = sa.select(group.c.settings).where(group.c.id == run["flow_group_id"])
    settings = GroupSettings.read(transaction.connection.execute(query).scalar_one())
    facts = RunFacts(
        state=run["state"],
        due=run["due"],
        labels=run["labels"],
        owner=run["owner"],
        is_local=run["is_local"],
        runs_at_once=settings.runs_at_once,
        under_way=runs_under_way(transaction, run["flow_group_id"]) if settings.runs_at_once else (),
    )
    agents = [
        AgentFacts(
            status=agent_status(row["last_seen"], transaction.now, paused=row["paused"]),
            **{name: row[name] for name in ("name", "labels", "any_label", "run_limit", "run_count")},
        )
        for row in all_agents(transaction)
    ]
    return why_not_running(facts, agents, transaction.now)
