"""What is written down of requests: changes that people make, sessions that they open, and refusals."""

from __future__ import annotations

import logging

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from tenuto.server.api.access import Access
from tenuto.server.domain.access import Permission, Principal
from tenuto.server.store.sql.audit import Entry, record
from tenuto.server.store.sql.database import StoreUnavailable
from tenuto.server.store.sql.keys import note_use

__all__ = ["entry_of", "is_audited", "record_denial", "record_use"]

logger = logging.getLogger("tenuto.server")

_READS = ("GET", "HEAD", "OPTIONS")
# What agents and workers do is told by the streams of the runs.
_OF_PROGRAMS = (Permission.WORK, Permission.LEASE)
_PATH_MAX = 500


def is_audited(connection: HTTPConnection) -> bool:
    """Say whether what a request does is written down."""
    permission: Permission | None = getattr(connection.state, "permission", None)
    return connection.scope.get("method") not in _READS and permission not in _OF_PROGRAMS


def entry_of(connection: HTTPConnection, principal: Principal | None, outcome: str) -> Entry:
    """Return what is written down of a request."""
    client = connection.client
    return Entry(
        actor="" if principal is None else principal.name,
        key_id="" if principal is None else principal.key_id,
        method=connection.scope.get("method", "WEBSOCKET"),
        route=getattr(connection.state, "route", connection.url.path).removeprefix("/api/v1"),
        object=connection.url.path[:_PATH_MAX],
        outcome=outcome,
        address="" if client is None else client.host,
    )


async def record_denial(connection: HTTPConnection, principal: Principal | None) -> None:
    """Write down that somebody was refused; those who are refused all the time fill no disk."""
    access: Access = connection.app.state.access
    entry = entry_of(connection, principal, "denied")
    if connection.app.state.limits.denials.wait(entry.address):
        return
    try:
        await run_in_threadpool(access.database.write, lambda transaction: record(transaction, entry))
    except StoreUnavailable as error:
        # They are refused all the same, and told why.
        logger.warning("A refusal was not written down: %s", error)


async def record_use(connection: HTTPConnection, principal: Principal) -> None:
    """Write down that a key is in use, at most once a minute."""
    if not principal.key_id or connection.app.state.limits.uses.wait(principal.key_id):
        return
    access: Access = connection.app.state.access
    try:
        await run_in_threadpool(access.database.write, lambda tx: note_use(tx, principal.key_id))
    except StoreUnavailable as error:
        # What they ask for may only read, and can be had all the same.
        logger.warning("The use of a key was not written down: %s", error)
