"""Runs whose row does not say what their events say: found and put right. There should be none."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from tenuto.journal.event import Event, Kind
from tenuto.journal.states import FINAL_STATES
from tenuto.server.domain.lifecycle import Author
from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.stream import KINDS, open_run

__all__ = ["inconsistent", "live_runs", "refold"]

_RUN, _EVENT = tables.flow_run, tables.run_event

# Events that tell the state of the run, where they tell one.
_TELLING = [KINDS[kind] for kind in (Kind.RUN_STARTED, Kind.RUN_STATE, Kind.INCOMPLETE)]
_WITH_LEASE = ("Submitted", "Queued", "Running", "Cancelling")
# What a stream without events folds to.
_FIRST = "Pending"


def live_runs(transaction: Transaction) -> list[str]:
    """Return the ids of all runs that have not ended."""
    query = sa.select(_RUN.c.id).where(_RUN.c.state.not_in(sorted(FINAL_STATES)))
    return list(transaction.connection.execute(query).scalars())


def inconsistent(transaction: Transaction, ids: Sequence[str]) -> list[str]:
    """Return which of some runs have a row that differs from their events."""
    query = sa.select(_RUN.c.id, _RUN.c.state, _RUN.c.seq).where(_RUN.c.id.in_(ids))
    rows = transaction.connection.execute(query).all()
    told = _told(transaction, ids)
    return [run_id for run_id, state, seq in rows if (state, seq) != told.get(run_id, (_FIRST, 0))]


def refold(transaction: Transaction, run_id: str) -> bool:
    """Have the row of a run say what its events say, and note it among them; return whether it had not."""
    run = open_run(transaction, run_id)
    before = (run.state, run.seq)
    now = _told(transaction, [run_id]).get(run_id, (_FIRST, 0))
    if before == now:
        return False
    state, seq = now
    transaction.connection.execute(sa.update(_RUN).where(_RUN.c.id == run_id).values(state=state, seq=seq))
    run = open_run(transaction, run_id)
    if state in FINAL_STATES:
        run.set(lease_until=None, submit_until=None, due=None)
    elif state == "Scheduled":
        run.set(due=run.row["due"] or transaction.now)
    elif state in _WITH_LEASE:
        # Where nobody holds it, it is found as lost.
        run.set(lease_until=run.row["lease_until"] or transaction.now)
    message = f"Its row said {before[0]} at event {before[1]}; its events say {state} at event {seq}."
    run.append(Event(kind=Kind.NOTE, cause="inconsistency", message=message), Author.SERVER)
    run.write()
    return True


def _told(transaction: Transaction, ids: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Return the state and the number of the last event that the events of some runs tell."""
    of_them = _EVENT.c.run_id.in_(ids)
    last = sa.select(_EVENT.c.run_id, sa.func.max(_EVENT.c.seq)).where(of_them).group_by(_EVENT.c.run_id)
    telling = (
        sa.select(_EVENT.c.run_id, _EVENT.c.payload)
        .where(of_them, _EVENT.c.kind.in_(_TELLING))
        .order_by(_EVENT.c.run_id, _EVENT.c.seq)
    )
    states: dict[str, str] = {}
    for run_id, payload in transaction.connection.execute(telling):
        states[run_id] = payload.get("state") or states.get(run_id, _FIRST)
    return {run_id: (states.get(run_id, _FIRST), seq) for run_id, seq in transaction.connection.execute(last)}
