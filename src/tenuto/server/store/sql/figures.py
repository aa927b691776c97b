"""Figures of the store, for those who watch over the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.feed import Cursor

__all__ = ["StoreFigures", "store_figures"]


@dataclass(frozen=True, slots=True)
class StoreFigures:
    """
    What the store holds now.

    Attributes:
        runs: flow runs by state.
        due: runs that wait for an agent although their time has come, by queue.
        late_seconds: for how long the one that is due longest has been.
        leases: that somebody holds.
        feed_lag_seconds: for how long the oldest notice has waited for the reader of the feed.
        oldest_xmin: age, in transactions, of the oldest one that still runs; None on SQLite. What it sees
            cannot be cleaned up, and followers wait for its end.
    """

    runs: dict[str, int]
    due: dict[str, int]
    late_seconds: float
    leases: int
    feed_lag_seconds: float
    oldest_xmin: int | None


def store_figures(transaction: Transaction, place: Cursor) -> StoreFigures:
    """
    Return the figures of the store.

    Args:
        transaction: to read in.
        place: up to where the feed was read.
    """
    run, feed, now = tables.flow_run, tables.feed, transaction.now
    is_due = sa.and_(run.c.state == "Scheduled", run.c.due <= now)
    waits = sa.tuple_(feed.c.xid, feed.c.id) > sa.tuple_(place.xid, place.id)
    oldest_due = _value(transaction, sa.select(sa.func.min(run.c.due)).where(is_due))
    oldest_notice = _value(
        transaction, sa.select(feed.c.ts).where(waits).order_by(feed.c.xid, feed.c.id).limit(1)
    )
    return StoreFigures(
        runs=_counts(transaction, sa.select(run.c.state, sa.func.count()).group_by(run.c.state)),
        due=_counts(transaction, sa.select(run.c.queue, sa.func.count()).where(is_due).group_by(run.c.queue)),
        late_seconds=0.0 if oldest_due is None else (now - oldest_due).total_seconds(),
        leases=_value(transaction, sa.select(sa.func.count()).where(run.c.lease_until.is_not(None))),
        feed_lag_seconds=0.0 if oldest_notice is None else max((now - oldest_notice).total_seconds(), 0.0),
        oldest_xmin=_oldest_xmin(transaction),
    )


def _counts(transaction: Transaction, query: Any) -> dict[str, int]:
    return dict(transaction.connection.execute(query).tuples().all())


def _value(transaction: Transaction, query: Any) -> Any:
    return transaction.connection.execute(query).scalar()


def _oldest_xmin(transaction: Transaction) -> int | None:
    if not transaction.is_postgresql:
        return None
    text = "SELECT coalesce(max(age(backend_xmin)), 0) FROM pg_stat_activity"
    age: int = transaction.connection.execute(sa.text(text)).scalar_one()
    return age
