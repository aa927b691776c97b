"""Searches over everything, and counts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tenuto._base.datetimes import from_microseconds
from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.flow_runs import RunFilter, restricted

__all__ = ["count_runs", "search"]

_RUN, _GROUP, _PROJECT = tables.flow_run, tables.flow_group, tables.project
_BUCKETS_MAX = 1_000


def search(transaction: Transaction, text: str, limit: int) -> dict[str, list[dict[str, Any]]]:
    """Return projects, flows and flow runs whose names have a text in them, or whose ids begin with it."""

    def found(table: sa.Table, *columns: Any) -> list[dict[str, Any]]:
        is_named = table.c.name.icontains(text, autoescape=True)
        has_id = sa.cast(table.c.id, sa.Text).startswith(text.lower(), autoescape=True)
        query = (
            sa.select(table.c.id, table.c.name, *columns)
            .where(sa.or_(is_named, has_id))
            .order_by(table.c.id.desc())
            .limit(limit)
        )
        return [dict(row) for row in transaction.connection.execute(query).mappings()]

    return {
        "projects": found(_PROJECT),
        "flows": found(_GROUP, _GROUP.c.project_id),
        "flow_runs": found(_RUN, _RUN.c.state, _RUN.c.created),
    }


def count_runs(transaction: Transaction, wanted: RunFilter, step: timedelta) -> dict[str, Any]:
    """
    Return how many of some flow runs are in which state.

    Returns:
        `states`: all; `buckets`: in steps of time by when the runs were made, the newest last, at most 1,000.
    """
    states = restricted(transaction, sa.select(_RUN.c.state, sa.func.count()).group_by(_RUN.c.state), wanted)
    number = _bucket_number(transaction, step)
    steps = restricted(
        transaction,
        sa.select(number.label("number"), _RUN.c.state, sa.func.count()).group_by("number", _RUN.c.state),
        wanted,
    ).order_by(sa.desc("number"))
    buckets: dict[int, dict[str, int]] = {}
    for at, state, count in transaction.connection.execute(steps.limit(_BUCKETS_MAX)):
        buckets.setdefault(int(at), {})[state] = count
    return {
        "states": dict(transaction.connection.execute(states).tuples().all()),
        "buckets": [
            {"start": _bucket_start(at, step), "states": counts} for at, counts in sorted(buckets.items())
        ],
    }


def _bucket_number(transaction: Transaction, step: timedelta) -> Any:
    seconds = int(step.total_seconds())
    if transaction.is_postgresql:
        return sa.func.floor(sa.extract("epoch", _RUN.c.created) / seconds)
    return sa.type_coerce(_RUN.c.created, sa.BigInteger).op("/")(seconds * 1_000_000)


def _bucket_start(number: int, step: timedelta) -> datetime:
    return from_microseconds(number * int(step.total_seconds()) * 1_000_000)
