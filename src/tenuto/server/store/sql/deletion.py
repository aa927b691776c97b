"""Deleting runs with all that belongs to them, in small steps: nobody waits for a long one (R-BE-22)."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.feed import announce
from tenuto.server.store.sql.runs import LeaseHeld, cancel
from tenuto.server.store.sql.stream import open_run

__all__ = ["begin_deletion", "delete_part"]

_ROWS = 2_000
_LOG_CHUNKS = 50
# With the columns that, beside the run, tell their rows apart. The rest goes with the run's own row.
_LARGE = (
    (tables.run_event, (tables.run_event.c.seq,), _ROWS),
    (tables.task_run, (tables.task_run.c.task_run_id,), _ROWS),
    (tables.log_chunk, (tables.log_chunk.c.epoch, tables.log_chunk.c.lseq_from), _LOG_CHUNKS),
)


def begin_deletion(transaction: Transaction, run_id: str, *, by: str) -> None:
    """
    Have a run be one that nobody takes any more: what has not ended is cancelled.

    Raises:
        UnknownRun.
        LeaseHeld: while a worker is at it.
    """
    if open_run(transaction, run_id).row["lease_until"] is not None:
        raise LeaseHeld(run_id)
    cancel(transaction, run_id, by=by, message=f"Deleted by {by}.")


def delete_part(transaction: Transaction, run_id: str) -> bool:
    """
    Delete some of what belongs to a run, and at last the run; return whether it is gone.

    Raises:
        LeaseHeld: when it was restarted meanwhile, and a worker is at it.
    """
    run = tables.flow_run
    query = sa.select(run.c.lease_until).where(run.c.id == run_id).with_for_update()
    found = transaction.connection.execute(query).first()
    if found is None:
        return True
    if found.lease_until is not None:
        raise LeaseHeld(run_id)
    for table, key, limit in _LARGE:
        if not _delete_some(transaction, table, key, run_id, limit):
            return False
    transaction.connection.execute(sa.delete(run).where(run.c.id == run_id))
    announce(transaction, "run.deleted", run_id)
    return True


def _delete_some(
    transaction: Transaction, table: sa.Table, key: tuple[sa.Column[Any], ...], run_id: str, limit: int
) -> bool:
    """Delete the first rows of a table that belong to a run; return whether these were all."""
    first = sa.select(*key).where(table.c.run_id == run_id).order_by(*key).limit(limit)
    deleted = transaction.connection.execute(
        sa.delete(table).where(table.c.run_id == run_id, sa.tuple_(*key).in_(first))
    )
    return deleted.rowcount < limit
