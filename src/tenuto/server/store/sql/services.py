"""What background services need: who of several servers runs one, and when servers were last alive."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from tenuto.exceptions import PrefectException
from tenuto.server.domain.timings import Timings
from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction

__all__ = [
    "DatabaseDamaged",
    "Recovered",
    "beat",
    "begin_server",
    "check_pages",
    "end_server",
    "extend_leases",
    "has_stopped_in_order",
    "hold_service",
    "recover",
]


class DatabaseDamaged(PrefectException, RuntimeError):
    """The file of the database cannot be trusted."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"The database is damaged ({found}). Put a backup in its place, and tell us how it came about."
        )


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


def recover(transaction: Transaction, server_id: str, timings: Timings) -> Recovered:
    """
    Make up for the time in which no server was alive: nobody could renew a lease then (reliability 3.10).

    In the transaction in which the server says for the first time that it is alive: done once, or not at all.
    A server that has missed no beat yet may be alive. Where the clock was set back meanwhile, nobody knows
    for how long there was none.
    """
    table, run, slot, now = tables.server_beat, tables.flow_run, tables.slot, transaction.now
    others = sa.select(sa.func.max(table.c.last_beat)).where(table.c.id != server_id)
    last: datetime | None = transaction.connection.execute(others).scalar()
    gap = now - last if last is not None else timedelta(0)
    downtime, extended = timedelta(0), 0
    if abs(gap) >= 2 * timings.schedule:
        downtime = max(gap, timedelta(0))
        extended = extend_leases(transaction, downtime + timings.grace, timings)
    held = sa.select(run.c.id).where(run.c.lease_until.is_not(None))
    freed = transaction.connection.execute(sa.delete(slot).where(slot.c.run_id.not_in(held))).rowcount
    return Recovered(downtime, extended, freed)


def has_stopped_in_order(transaction: Transaction) -> bool:
    """Say whether the server that was alive last has stopped in order, or there was none."""
    table = tables.server_beat
    query = sa.select(table.c.stopped).order_by(table.c.last_beat.desc()).limit(1)
    return transaction.connection.execute(query).scalar() is not False


def check_pages(transaction: Transaction) -> None:
    """
    Look whether a database file is whole; PostgreSQL sees to that itself.

    Raises:
        DatabaseDamaged: if it is not.
    """
    if transaction.is_postgresql:
        return
    try:
        found = transaction.connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    except sa.exc.DatabaseError as error:
        raise DatabaseDamaged(str(error.orig)) from error
    if found != "ok":
        raise DatabaseDamaged(" ".join(found.split()))


def extend_leases(transaction: Transaction, by: timedelta, timings: Timings) -> int:
    """
    Extend all live leases, after a time in which nobody could have renewed them; return how many.

    None beyond what one has that was renewed just now, and the grace: also where clocks were set, a lost
    worker is noticed no later than that.
    """
    run, now = tables.flow_run, transaction.now
    rows = transaction.connection.execute(
        sa.select(run.c.id, run.c.lease_until, run.c.submit_until)
        .where(run.c.lease_until.is_not(None))
        .order_by(run.c.id)
        .with_for_update()
    ).all()
    for run_id, until, submit in rows:
        values = {
            "lease_until": min(until + by, now + timings.lease + timings.grace),
            "submit_until": None if submit is None else min(submit + by, now + timings.submit),
        }
        transaction.connection.execute(sa.update(run).where(run.c.id == run_id).values(values))
    return len(rows)
