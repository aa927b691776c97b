"""Who makes a request: found out from its key, before its body is read."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from tenuto.server.api.problems import Problem
from tenuto.server.domain.access import Principal, Role
from tenuto.server.store.sql.database import Database
from tenuto.server.store.sql.keys import find_key

__all__ = ["Access", "lease_token", "principal_of"]


@dataclass(frozen=True, slots=True)
class Access:
    """
    What requests are checked against.

    Attributes:
        database: holds the keys that were given out.
        loopback_key: of the server's own machine; empty where there is none.
        is_open: whether requests need no key (`--no-auth`, on loopback only).
    """

    database: Database
    loopback_key: str
    is_open: bool


async def principal_of(connection: HTTPConnection) -> Principal:
    """
    Return who makes a request.

    Raises:
        Problem: 401 when its key is missing, wrong, revoked, or has expired.
    """
    access: Access = connection.app.state.access
    if access.is_open:
        return Principal("anybody", Role.ADMIN)
    key = bearer(connection)
    if not key:
        raise _unauthenticated("This server asks for an API key: Authorization: Bearer KEY.")
    if access.loopback_key and hmac.compare_digest(key.encode(), access.loopback_key.encode()):
        return Principal("this machine", Role.ADMIN)
    found = await run_in_threadpool(access.database.read, lambda transaction: find_key(transaction, key))
    if found is None:
        raise _unauthenticated("The API key is wrong, was revoked, or has expired.")
    return found


def bearer(connection: HTTPConnection) -> str:
    """Return the key that a request shows, or an empty text."""
    scheme, _, key = connection.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def lease_token(request: Request) -> str:
    """
    Return the token of a lease that a worker shows.

    Raises:
        Problem: 401 where it shows none.
    """
    token = bearer(request)
    if not token:
        raise _unauthenticated("Workers show the token of their lease: Authorization: Bearer TOKEN.")
    return token


def _unauthenticated(detail: str) -> Problem:
    return Problem(401, "unauthenticated", detail, headers={"WWW-Authenticate": "Bearer"})
