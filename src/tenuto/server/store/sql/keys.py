"""API keys: shown once, kept as digests."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import uuid
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tenuto.server.domain.access import Principal, Role
from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.pages import Page, PageRequest, read_page

__all__ = ["change_role", "create_key", "find_key", "has_keys", "list_keys", "note_use", "revoke_key"]

_PREFIX = "tnt"


def create_key(
    transaction: Transaction, name: str, role: Role, expires_at: datetime | None = None
) -> tuple[str, str]:
    """Make a key; return its id and the key itself, which nobody can find out again."""
    key_id, secret = str(uuid.uuid4()), secrets.token_urlsafe(32)
    now = transaction.now
    transaction.connection.execute(
        sa.insert(tables.api_key).values(
            id=key_id,
            name=name,
            role=str(role),
            digest=_digest(secret),
            expires_at=expires_at,
            created=now,
            updated=now,
        )
    )
    return key_id, f"{_PREFIX}_{uuid.UUID(key_id).hex}_{secret}"


def find_key(transaction: Transaction, key: str) -> Principal | None:
    """Return whose key this is; None if it is wrong, was revoked, or has expired."""
    prefix, _, rest = key.partition("_")
    id_text, _, secret = rest.partition("_")
    try:
        key_id = str(uuid.UUID(id_text))
    except ValueError:
        return None
    table = tables.api_key
    row = transaction.connection.execute(sa.select(table).where(table.c.id == key_id)).mappings().first()
    # Compared also where there is no such key: the time it takes tells nothing.
    known = bytes(32) if row is None else bytes(row["digest"])
    is_right = hmac.compare_digest(known, _digest(secret)) and prefix == _PREFIX
    if row is None or not is_right or row["revoked_at"] is not None:
        return None
    if row["expires_at"] is not None and row["expires_at"] <= transaction.now:
        return None
    return Principal(row["name"], Role(row["role"]), key_id)


def note_use(transaction: Transaction, key_id: str) -> None:
    """Write down that a key was used just now."""
    table = tables.api_key
    transaction.connection.execute(
        sa.update(table).where(table.c.id == key_id).values(last_used=transaction.now)
    )


def revoke_key(transaction: Transaction, key_id: str) -> bool:
    """Make a key worthless from now on; return whether there is one of this id."""
    table = tables.api_key
    return (
        transaction.connection.execute(
            sa.update(table).where(table.c.id == key_id).values(revoked_at=transaction.now)
        ).rowcount
        > 0
    )


def change_role(transaction: Transaction, key_id: str, role: Role) -> dict[str, Any] | None:
    """Have a key open something else from now on; return its row as it was, None if there is none."""
    table = tables.api_key
    query = sa.select(*_shown()).where(table.c.id == key_id).with_for_update()
    before = transaction.connection.execute(query).mappings().first()
    transaction.connection.execute(
        sa.update(table).where(table.c.id == key_id).values(role=str(role), updated=transaction.now)
    )
    return None if before is None else dict(before)


def _shown() -> list[sa.Column[Any]]:
    """Return the columns of keys without what opens anything."""
    return [column for column in tables.api_key.columns if column.name != "digest"]


def list_keys(transaction: Transaction, request: PageRequest) -> Page:
    """Return a page of keys, the newest first."""
    table = tables.api_key
    sorts = {"created": [table.c.created, table.c.id], "name": [table.c.name, table.c.id]}
    return read_page(transaction, sa.select(*_shown()), request, sorts, "-created")


def has_keys(transaction: Transaction) -> bool:
    """Say whether there is a key that works."""
    table = tables.api_key
    query = sa.select(sa.literal(1)).where(table.c.revoked_at.is_(None)).limit(1)
    return transaction.connection.execute(query).first() is not None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
