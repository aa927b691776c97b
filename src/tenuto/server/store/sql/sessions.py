"""Sessions of browsers, and the tickets that open them: of both the store keeps digests only."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tenuto.server.domain.access import Principal, Role
from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction

__all__ = [
    "SESSION_AGE",
    "TICKET_AGE",
    "create_ticket",
    "end_session",
    "find_session",
    "is_current",
    "open_session",
    "use_ticket",
]

TICKET_AGE = timedelta(seconds=30)
SESSION_AGE = timedelta(days=7)


def create_ticket(transaction: Transaction, key_id: str, machine: bytes = b"") -> str:
    """
    Make a ticket, with which one session is opened, within 30 seconds.

    Args:
        transaction: to make it in.
        key_id: of whose key; empty for that of the server's machine.
        machine: digest of that key.
    """
    _forget_old(transaction)
    return _insert(transaction, tables.ticket, key_id, machine, TICKET_AGE)


def use_ticket(transaction: Transaction, ticket: str) -> str | None:
    """Return the token of a new session; None where the ticket is wrong, was used, or is too old."""
    table = tables.ticket
    query = sa.delete(table).where(table.c.digest == _digest(ticket))
    row = transaction.connection.execute(query.returning(*table.columns)).mappings().first()
    if row is None or row["expires_at"] <= transaction.now:
        return None
    return open_session(transaction, row["key_id"] or "", bytes(row["machine"]))


def open_session(transaction: Transaction, key_id: str, machine: bytes = b"") -> str:
    """Open a session of a key, or of the server's machine; return its token."""
    return _insert(transaction, tables.session, key_id, machine, SESSION_AGE)


def find_session(transaction: Transaction, token: str, machine: bytes) -> Principal | None:
    """
    Return whose session it is; None if it has ended, or its key is not valid any more.

    Args:
        transaction: to read in.
        token: of the session.
        machine: digest of the key that the server's machine has now.
    """
    return _find(transaction, _digest(token), machine)


def end_session(transaction: Transaction, token: str) -> None:
    """End a session."""
    table = tables.session
    transaction.connection.execute(sa.delete(table).where(table.c.digest == _digest(token)))


def is_current(transaction: Transaction, principal: Principal, machine: bytes) -> bool:
    """Say whether somebody whose request was let in would still be, as who they were then."""
    if principal.session:
        return _find(transaction, principal.session, machine) == principal
    if principal.key_id:
        row = _key(transaction, principal.key_id)
        return row is not None and row["role"] == principal.role
    return True


def _find(transaction: Transaction, digest: bytes, machine: bytes) -> Principal | None:
    table = tables.session
    query = sa.select(table).where(table.c.digest == digest, table.c.expires_at > transaction.now)
    row = transaction.connection.execute(query).mappings().first()
    if row is None:
        return None
    if row["key_id"] is None:
        is_of_machine = machine and bytes(row["machine"]) == machine
        return Principal("this machine", Role.ADMIN, session=digest) if is_of_machine else None
    key = _key(transaction, row["key_id"])
    return None if key is None else Principal(key["name"], Role(key["role"]), key["id"], digest)


def _key(transaction: Transaction, key_id: str) -> sa.RowMapping | None:
    """Return the row of a key that is valid."""
    table, now = tables.api_key, transaction.now
    query = sa.select(table).where(
        table.c.id == key_id,
        table.c.revoked_at.is_(None),
        sa.or_(table.c.expires_at.is_(None), table.c.expires_at > now),
    )
    return transaction.connection.execute(query).mappings().first()


def _insert(transaction: Transaction, table: Any, key_id: str, machine: bytes, age: timedelta) -> str:
    token = secrets.token_urlsafe(32)
    expires: datetime = transaction.now + age
    transaction.connection.execute(
        sa.insert(table).values(
            digest=_digest(token),
            key_id=key_id or None,
            machine=machine,
            created=transaction.now,
            expires_at=expires,
        )
    )
    return token


def _forget_old(transaction: Transaction) -> None:
    for table in (tables.ticket, tables.session):
        transaction.connection.execute(sa.delete(table).where(table.c.expires_at <= transaction.now))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
