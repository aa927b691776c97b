"""A run that somebody asks for: which flow, with what, and who will take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tenuto._base.ids import new_flow_run_id
from tenuto.exceptions import PrefectException
from tenuto.server.domain.agents import agent_status
from tenuto.server.domain.labels import covers
from tenuto.server.domain.new_runs import labels_for, parameters_for, run_config_for
from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.flows import find_group, get_flow, get_group, newest_version
from tenuto.server.store.sql.runs import NewRun, create_run

__all__ = ["Archived", "BadTarget", "Made", "Wanted", "create_flow_run"]


class BadTarget(PrefectException, ValueError):
    """The request does not say which flow is to run."""

    def __init__(self) -> None:
        super().__init__("Say which flow is to run: flow_id, flow_group_id, or project and flow.")


class Archived(PrefectException, ValueError):
    """The version is not run any more; `current_id` is the one that is, if there is one."""

    def __init__(self, flow_id: str, current_id: str | None) -> None:
        self.current_id = current_id
        hint = f" The version to run is {current_id}." if current_id else ""
        super().__init__(f"Version {flow_id} of the flow is archived.{hint}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """
    A run that is asked for: of a version, of a flow, or of a flow by its names.

    Attributes:
        by: who asks.
        id: of the run.
        allow_extra: let through parameters that the flow does not have.
    """

    by: str
    id: str = field(default_factory=new_flow_run_id)
    flow_id: str | None = None
    flow_group_id: str | None = None
    project: str | None = None
    flow: str | None = None
    name: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    labels: Sequence[str] | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    run_config: Mapping[str, Any] | None = None
    scheduled_start_time: datetime | None = None
    parent_flow_run_id: str | None = None
    parent_task_run_id: str | None = None
    idempotency_key: str | None = None
    allow_extra: bool = False


@dataclass(frozen=True, slots=True)
class Made:
    """
    A run that was made.

    Attributes:
        created: whether it is new.
        healthy_matching: how many agents that were heard of lately cover its labels.
        message: what that means, for people.
    """

    id: str
    created: bool
    healthy_matching: int
    message: str


def create_flow_run(transaction: Transaction, wanted: Wanted) -> Made:
    """
    Make a run.

    Raises:
        BadTarget, NotFound, Archived, MissingParameters, UnknownParameters, IdempotencyMismatch.
    """
    flow = _version(transaction, wanted)
    group = get_group(transaction, flow["flow_group_id"])
    settings = group["settings"]
    labels = labels_for(
        wanted.labels, wanted.run_config, group["labels"], group["run_config"], flow["labels"]
    )
    given = parameters_for(
        flow["parameters"], group["default_parameters"], wanted.parameters, allow_extra=wanted.allow_extra
    )
    new = NewRun(
        id=wanted.id,
        flow_id=flow["id"],
        due=wanted.scheduled_start_time or transaction.wall,
        name=wanted.name,
        parameters=given,
        context=wanted.context,
        labels=tuple(labels),
        run_config=run_config_for(wanted.run_config, group["run_config"], flow["run_config"]),
        idempotency_key=wanted.idempotency_key,
        created_by=wanted.by,
        parent_flow_run_id=wanted.parent_flow_run_id,
        parent_task_run_id=wanted.parent_task_run_id,
        rescue=settings.get("rescue") or "on",
    )
    run_id, created = create_run(transaction, new)
    matching = _healthy_matching(transaction, labels)
    shown = ", ".join(labels) or "none"
    message = (
        f"{matching} agent{'s' if matching != 1 else ''} can take it."
        if matching
        else f"No agent is there that takes runs with these labels: {shown}. The run waits for one."
    )
    return Made(run_id, created, matching, message)


def _version(transaction: Transaction, wanted: Wanted) -> dict[str, Any]:
    if wanted.flow_id is not None:
        flow = get_flow(transaction, wanted.flow_id)
        if flow["archived"]:
            raise Archived(wanted.flow_id, _current(transaction, flow["flow_group_id"]))
        return flow
    if wanted.flow_group_id is not None:
        return newest_version(transaction, wanted.flow_group_id)
    if wanted.project is not None and wanted.flow is not None:
        return newest_version(transaction, find_group(transaction, wanted.project, wanted.flow)["id"])
    raise BadTarget


def _current(transaction: Transaction, group_id: str) -> str | None:
    flow = tables.flow
    query = sa.select(flow.c.id).where(flow.c.flow_group_id == group_id, flow.c.archived.is_(False))
    current: str | None = transaction.connection.execute(query.order_by(flow.c.version.desc())).scalar()
    return current


def _healthy_matching(transaction: Transaction, labels: Sequence[str]) -> int:
    rows = transaction.connection.execute(sa.select(tables.agent)).mappings()
    return sum(
        agent_status(row["last_seen"], transaction.now, paused=row["paused"]) == "healthy"
        and covers(row["labels"], labels, any_label=row["any_label"])
        for row in rows
    )
