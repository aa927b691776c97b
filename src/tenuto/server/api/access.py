"""Who makes a request: found out from its key, before its body is read."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from tenuto.server.api.problems import Problem
from tenuto.server.domain.access import Principal, Role
from tenuto.server.store.sql.database import Database
from tenuto.server.store.sql.keys import find_key
from tenuto.server.store.sql.sessions import find_session

__all__ = [
    "ANYBODY",
    "SESSION_COOKIE",
    "Access",
    "csrf_token",
    "lease_token",
    "principal_of",
    "principal_of_key",
]

SESSION_COOKIE = "tenuto_session"
ANYBODY = Principal("anybody", Role.ADMIN)
"""Who asks a server that was told to ask for no key."""


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

    @property
    def machine(self) -> bytes:
        """Digest of the key of the server's own machine; empty where there is none."""
        return hashlib.sha256(self.loopback_key.encode()).digest() if self.loopback_key else b""


async def principal_of(connection: HTTPConnection) -> Principal:
    """
    Return who makes a request.

    Raises:
        Problem: 401 when its key is missing, wrong, revoked, or has expired.
    """
    access: Access = connection.app.state.access
    if access.is_open:
        return ANYBODY
    key = bearer(connection)
    if key:
        return await principal_of_key(access, key)
    token = connection.cookies.get(SESSION_COOKIE, "")
    if token:
        return await _principal_of_session(access, connection, token)
    raise _unauthenticated("This server asks for an API key: Authorization: Bearer KEY.")


async def principal_of_key(access: Access, key: str) -> Principal:
    """
    Return whose key it is.

    Raises:
        Problem: 401 when it is wrong, revoked, or has expired.
    """
    if access.loopback_key and hmac.compare_digest(key.encode(), access.loopback_key.encode()):
        return Principal("this machine", Role.ADMIN)
    found = await run_in_threadpool(access.database.read, lambda transaction: find_key(transaction, key))
    if found is None:
        raise _unauthenticated("The API key is wrong, was revoked, or has expired.")
    return found


async def _principal_of_session(access: Access, connection: HTTPConnection, token: str) -> Principal:
    """
    Return whose session it is.

    Raises:
        Problem: 401 when it has ended; 403 when something is to be changed and the page's token is missing
            (S-5): a cookie comes along whoever makes the browser send a request.
    """
    found = await run_in_threadpool(
        access.database.read, lambda transaction: find_session(transaction, token, access.machine)
    )
    if found is None:
        raise _unauthenticated("The session has ended: open one anew, tenuto server open.")
    method = connection.scope.get("method", "GET")
    if method not in ("GET", "HEAD", "OPTIONS"):
        shown = connection.headers.get("x-csrf-token", "")
        if not hmac.compare_digest(shown.encode(), csrf_token(token).encode()):
            raise Problem(403, "forbidden", "The page's token is missing or wrong: X-CSRF-Token.")
    return found


def csrf_token(token: str) -> str:
    """Return what the pages of a session send along with each change; they cannot read the cookie."""
    return hashlib.sha256(b"csrf:" + token.encode()).hexdigest()


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
