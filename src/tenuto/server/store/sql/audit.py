"""Who did what: rows that are only ever added (S-25)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.pages import Page, PageRequest, read_page

__all__ = ["AuditFilter", "Entry", "list_entries", "record"]

_TABLE = tables.audit


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """
    What somebody did, or was not let do.

    Attributes:
        actor: their name; empty where nobody knows it.
        key_id: of their key; empty for that of the server's machine.
        method, route: what they asked for.
        object: the path, which names what it was about.
        outcome: `done`, or `denied`.
        address: where the request came from.
        before, after: what it was and what it is, where that is known without asking.
    """

    actor: str
    key_id: str
    method: str
    route: str
    object: str
    outcome: str
    address: str
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


def record(transaction: Transaction, entry: Entry) -> None:
    """Write down what is done in this transaction: both are stored, or neither."""
    values = {name: getattr(entry, name) for name in Entry.__dataclass_fields__}
    transaction.connection.execute(sa.insert(_TABLE).values(at=transaction.now, **values))


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which entries are wanted; what is None does not matter."""

    actor: str | None = None
    key_id: str | None = None
    route: str | None = None
    outcome: str | None = None
    since: datetime | None = None


def list_entries(transaction: Transaction, wanted: AuditFilter, request: PageRequest) -> Page:
    """Return a page of entries, the newest first."""
    query = sa.select(_TABLE)
    for name in ("actor", "key_id", "route", "outcome"):
        value = getattr(wanted, name)
        if value is not None:
            query = query.where(_TABLE.c[name] == value)
    if wanted.since is not None:
        query = query.where(_TABLE.c.at >= wanted.since)
    return read_page(transaction, query, request, {"id": [_TABLE.c.id]}, "-id")
