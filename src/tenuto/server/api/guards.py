"""
What every request passes before a route looks at it: whom it is for, where it is from, how long it is.

A page of another site that the user's browser shows must neither read from a server on loopback, by a name
that leads there (S-4), nor have it do anything (S-5).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tenuto.server.api.metrics import Counters
from tenuto.server.api.problems import Problem, problem_response

__all__ = ["Guards", "is_allowed_host"]

BODY_BYTES_MAX = 4 << 20
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_HEADERS = {
    "content-security-policy": (
        "default-src 'self'; script-src 'self'; object-src 'none'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}


class Guards:
    """
    Refuses requests that are addressed to somebody else, that another site has made, or that are too long.

    Args:
        app: what the others go to.
        allowed_hosts: names, beside those of loopback, that requests may be addressed to.
        counters: of answers.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: Iterable[str], counters: Counters) -> None:
        self._app = app
        self._counters = counters
        self._hosts = _LOOPBACK_NAMES | {host.lower() for host in allowed_hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        send = self._counted(send)
        problem = self._problem(scope)
        if problem is not None and scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4403})
        elif problem is not None:
            await problem_response(Request(scope), problem)(scope, receive, _with_headers(scope, send))
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)
        else:
            await self._app(scope, *_bounded(scope, receive, _with_headers(scope, send)))

    def _counted(self, send: Send) -> Send:
        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                self._counters.requests[message["status"]] += 1
            await send(message)

        return sending

    def _problem(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not is_allowed_host(host, self._hosts):
            return Problem(
                421,
                "wrong-host",
                f"This server does not go by the name {host!r}. Add it to server.allowed_hosts if it should.",
            )
        if scope["type"] == "websocket" or scope["method"] not in _READS:
            return _cross_site(headers, host, is_socket=scope["type"] == "websocket")
        return None


def is_allowed_host(host: str, allowed: Iterable[str]) -> bool:
    """Say whether a `Host` header names one of the allowed hosts; its port does not matter."""
    name = host.lower()
    if name.startswith("["):
        name = name.partition("]")[0] + "]"
    else:
        name = name.partition(":")[0]
    return name in allowed


def _cross_site(headers: Headers, host: str, *, is_socket: bool) -> Problem | None:
    """Return what is wrong with a request that changes something, None for one that is not another site's."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site not in ("same-origin", "none"):
        return Problem(403, "forbidden", f"The request comes from another site ({site}).")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return Problem(403, "forbidden", f"The request comes from another site ({origin[:200]}).")
    if site is None and origin is None and "cookie" in headers:
        return Problem(403, "forbidden", "The request has a cookie and does not say where it comes from.")
    if is_socket:
        return None
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    if has_body and (site is not None or origin is not None) and kind != "application/json":
        return Problem(415, "invalid-request", "Browsers send JSON: Content-Type: application/json.")
    return None


def _bounded(scope: Scope, receive: Receive, send: Send) -> tuple[Receive, Send]:
    """
    Return how an application reads and answers a request whose body has a limit.

    A longer one is cut off there; whatever the application makes of that, the answer is that it is too long.
    """
    size = 0
    is_told = False

    async def receiving() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > BODY_BYTES_MAX:
            return {"type": "http.request", "body": b"", "more_body": False}
        return message

    async def sending(message: Message) -> None:
        nonlocal is_told
        if size <= BODY_BYTES_MAX:
            await send(message)
        elif not is_told:
            is_told = True
            text = f"The request is larger than {BODY_BYTES_MAX:,} bytes."
            told = problem_response(Request(scope), Problem(413, "payload-too-large", text))
            await told(scope, receive, send)

    return receiving, sending


def _with_headers(scope: Scope, send: Send) -> Send:
    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if scope["app"].state.is_draining:
                # One that was accepted while the others were told to end would go on asking until it is cut.
                headers["connection"] = "close"
        await send(message)

    return sending
