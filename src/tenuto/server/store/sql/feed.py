"""
The feed: what has changed, in one order for all runs, for those who follow.

A row tells that something has more events, not which: readers fetch those themselves. Each reader keeps the
place up to which it has read, and misses nothing: on PostgreSQL numbers are given in another order than
transactions end in, so only rows below the oldest transaction that still runs are read.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction

__all__ = ["Cursor", "Notice", "announce", "feed_begin", "feed_end", "notices", "trim"]


class Cursor(NamedTuple):
    """A place in the feed: that of a notice."""

    xid: int = 0
    id: int = 0


class Notice(NamedTuple):
    """
    Something has changed.

    Attributes:
        cursor: its place.
        topic: of what kind the thing is: `run`, `run.deleted`, `logs`, `agent`, `flow`, `schedule`.
        key: its id.
        seq_from, seq_to: numbers of the new events or log records, both included; 0 where there are none.
    """

    cursor: Cursor
    topic: str
    key: str
    seq_from: int
    seq_to: int


def announce(transaction: Transaction, topic: str, key: str, seq_from: int = 0, seq_to: int = 0) -> None:
    """Tell those who follow, once the transaction is committed."""
    values = {"topic": topic, "key": key, "seq_from": seq_from, "seq_to": seq_to, "ts": transaction.now}
    statement = _ANNOUNCE_WITH_XID if transaction.is_postgresql else _ANNOUNCE
    transaction.connection.execute(statement, values)


_ANNOUNCE = sa.insert(tables.feed)
_ANNOUNCE_WITH_XID = _ANNOUNCE.values(
    xid=sa.cast(sa.cast(sa.func.pg_current_xact_id(), sa.Text), sa.BigInteger),
    **{name: sa.bindparam(name) for name in ("topic", "key", "seq_from", "seq_to")},
    ts=sa.bindparam("ts", type_=tables.feed.c.ts.type),
)


def notices(transaction: Transaction, after: Cursor, limit: int = 1000) -> list[Notice]:
    """Return what follows a place in the feed, in order; never one before which another may still come."""
    feed = tables.feed
    query = (
        sa.select(feed.c.xid, feed.c.id, feed.c.topic, feed.c.key, feed.c.seq_from, feed.c.seq_to)
        .where(sa.tuple_(feed.c.xid, feed.c.id) > sa.tuple_(after.xid, after.id))
        .order_by(feed.c.xid, feed.c.id)
        .limit(limit)
    )
    if transaction.is_postgresql:
        oldest = sa.func.pg_snapshot_xmin(sa.func.pg_current_snapshot())
        query = query.where(feed.c.xid < sa.cast(sa.cast(oldest, sa.Text), sa.BigInteger))
    return [
        Notice(Cursor(xid, id_), topic, key, seq_from, seq_to)
        for xid, id_, topic, key, seq_from, seq_to in transaction.connection.execute(query)
    ]


def feed_end(transaction: Transaction) -> Cursor:
    """Return the place of the newest notice that can be read."""
    feed = tables.feed
    query = sa.select(feed.c.xid, feed.c.id).order_by(feed.c.xid.desc(), feed.c.id.desc()).limit(1)
    if transaction.is_postgresql:
        oldest = sa.func.pg_snapshot_xmin(sa.func.pg_current_snapshot())
        query = query.where(feed.c.xid < sa.cast(sa.cast(oldest, sa.Text), sa.BigInteger))
    row = transaction.connection.execute(query).first()
    return Cursor() if row is None else Cursor(*row)


def feed_begin(transaction: Transaction) -> Cursor:
    """Return the place of the oldest notice that is still there."""
    feed = tables.feed
    query = sa.select(feed.c.xid, feed.c.id).order_by(feed.c.xid, feed.c.id).limit(1)
    row = transaction.connection.execute(query).first()
    return Cursor() if row is None else Cursor(*row)


def trim(transaction: Transaction, before: datetime) -> int:
    """Drop notices made before a time; return how many."""
    feed = tables.feed
    return transaction.connection.execute(sa.delete(feed).where(feed.c.ts < before)).rowcount
