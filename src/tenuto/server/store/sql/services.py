"""What background services need: who of several servers runs one, and when servers were last alive."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction

__all__ = [
    "Recovered",
    "beat",
    "begin_server",
    "end_server",
    "extend_leases",
    "hold_service",
    "note_clock_jump",
    "recover",
]


def hold_service(transaction: Transaction, name: str, owner: str, lease: timedelta) -> bool:
    """
    Take or renew the right to run a service; return whether this server has it.

    The right only saves work: what services do is right when two do it at once.
    """
    table, now = tables.service_lease, transaction.now
    insert = (postgresql if transaction.is_postgresql else sqlite).insert(table)
    statement = insert.values(name=name, owner=owner, epoch=1, until=now + lease).on_conflict_do_update(
        index_elements=[table.c.name],
        set_={
            "owner": owner,
            "until": now + lease,
            "epoch": sa.case((table.c.owner == owner, table.c.epoch), else_=table.c.epoch + 1),
        },
        where=sa.or_(table.c.owner == owner, table.c.until < now),
    )
    return transaction.connection.execute(statement.returning(table.c.name)).first() is not None


def note_clock_jump(transaction: Transaction, server_id: str) -> None:
    """Note that somebody has set the clock of a server's machine."""
    transaction.connection.execute(
        sa.insert(tables.audit_event).values(
            ts=transaction.now,
            actor="server",
            action="clock-jump",
            object=server_id,
            details={"seconds_ahead": transaction.wall_ahead.total_seconds()},
        )
    )


def begin_server(transaction: Transaction) -> str:
    """Note that a server has started; return its id."""
    server_id, now = str(uuid.uuid4()), transaction.now
    transaction.connection.execute(
        sa.insert(tables.server_beat).values(id=server_id, started=now, last_beat=now, stopped=False)
    )
    return server_id


def beat(transaction: Transaction, server_id: str) -> None:
    """Note that a server is alive; what stopped long ago is forgotten."""
    table = tables.server_beat
    transaction.connection.execute(
        sa.update(table).where(table.c.id == server_id).values(last_beat=transaction.now)
    )
    old = transaction.now - timedelta(days=7)
    transaction.connection.execute(sa.delete(table).where(table.c.last_beat < old))


def end_server(transaction: Transaction, server_id: str) -> None:
    """Note that a server has stopped in order, and let others run its services."""
    table, lease = tables.server_beat, tables.service_lease
    now = transaction.now
    transaction.connection.execute(
        sa.update(table).where(table.c.id == server_id).values(last_beat=now, stopped=True)
    )
    transaction.connection.execute(
        sa.update(lease).where(lease.c.owner == server_id).values(until=now - timedelta(seconds=1))
    )


@dataclass(frozen=True, slots=True)
class Recovered:
    """
    What was found when a server started.

    Attributes:
        downtime: for how long no server was alive.
        extended: leases that were extended by it.
        slots: that nobody held any more, and are gone.
    """

    downtime: timedelta
    extended: int
    slots: int


def recover(transaction: Transaction, server_id: str, grace: timedelta) -> Recovered:
    """
    Make up for the time in which no server was alive: nobody could renew a lease then (reliability 3.10).

    In the transaction in which the server says for the first time that it is alive: done once, or not at all.
    """
    table, run, slot, now = tables.server_beat, tables.flow_run, tables.slot, transaction.now
    others = sa.select(sa.func.max(table.c.last_beat)).where(table.c.id != server_id)
    last: datetime | None = transaction.connection.execute(others).scalar()
    downtime = max(now - last, timedelta(0)) if last is not None else timedelta(0)
    extended = 0
    if downtime > timedelta(0):
        extended = extend_leases(transaction, downtime + grace)
    held = sa.select(run.c.id).where(run.c.lease_until.is_not(None))
    freed = transaction.connection.execute(sa.delete(slot).where(slot.c.run_id.not_in(held))).rowcount
    return Recovered(downtime, extended, freed)


def extend_leases(transaction: Transaction, by: timedelta) -> int:
    """Extend all live leases, after a time in which nobody could have renewed them; return how many."""
    run = tables.flow_run
    rows = transaction.connection.execute(
        sa.select(run.c.id, run.c.lease_until, run.c.submit_until)
        .where(run.c.lease_until.is_not(None))
        .with_for_update()
    ).all()
    for run_id, until, submit in rows:
        values = {"lease_until": until + by, "submit_until": None if submit is None else submit + by}
        transaction.connection.execute(sa.update(run).where(run.c.id == run_id).values(values))
    return len(rows)
