"""
Requests to the server, in one place: where it is, the key, time-outs, what is tried again, and errors.

This module loads the HTTP library: import it where something is sent, and not before.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import urllib3

from tenuto._base.masking import register_secret
from tenuto.client.backoff import backoff
from tenuto.client.configured import ServerAddress
from tenuto.exceptions import AuthorizationError, ClientError, ObjectNotFoundError

__all__ = [
    "HttpClient",
    "NoServer",
    "NotFound",
    "NotPermitted",
    "RequestRefused",
    "ServerUnreachable",
    "Wait",
]

TIMEOUT_SECONDS = 10.0
_GZIP_FROM_BYTES = 16 << 10
# Nothing is wrong with the request: the server, or what stands before it, cannot take it just now.
_LATER = frozenset({429, 502, 503, 504})

Wait = Callable[[float], bool]
"""Waits for so many seconds before the next try; False: give up."""
Find = Callable[[], ServerAddress | None]


class NoServer(ClientError):
    """Nothing says which server to speak to, and none runs on this machine."""

    def __init__(self) -> None:
        super().__init__(
            "No server is configured. Start one with: tenuto server start; or set cloud.api to its URL."
        )


class ServerUnreachable(ClientError):
    """
    The server gave no answer, or one that says: later.

    Attributes:
        url: its address.
        is_refused: nobody listens there, or the server said so; otherwise there was silence.
    """

    def __init__(self, url: str, what: str, *, is_refused: bool) -> None:
        self.url, self.is_refused = url, is_refused
        super().__init__(
            f"The server at {url} cannot be reached: {what}. Start it with: tenuto server start; or correct "
            "the setting cloud.api."
        )


class RequestRefused(ClientError):
    """
    The server said no.

    Attributes:
        status: of HTTP.
        slug: which kind of problem, such as `fenced`; empty where the answer does not say.
        members: further facts.
    """

    def __init__(self, status: int, slug: str, detail: str, members: dict[str, Any]) -> None:
        self.status, self.slug, self.members = status, slug, members
        super().__init__(detail)


class NotPermitted(RequestRefused, AuthorizationError):
    """The key is missing or wrong, or its role may not do this."""


class NotFound(RequestRefused, ObjectNotFoundError):
    """The server does not know what was asked for."""


class HttpClient:
    """
    Speaks to one server.

    Args:
        find: returns where it is; asked again after a try that failed, for a server that was started anew
            may be elsewhere. The last known address is kept while there is none.
        timeout: seconds for one request.

    Raises:
        NoServer: if there is none.
    """

    def __init__(self, find: Find, timeout: float = TIMEOUT_SECONDS) -> None:
        address = find()
        if address is None:
            raise NoServer
        self._find = find
        self._pool = urllib3.PoolManager(
            maxsize=2, retries=False, timeout=urllib3.Timeout(connect=timeout, read=timeout)
        )
        self._take(address)

    def _take(self, address: ServerAddress) -> None:
        self.address = address
        if address.key:
            register_secret(address.key)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        token: str = "",
        wait: Wait | None = None,
    ) -> Any:
        """
        Send a request, and return the JSON of the answer.

        Args:
            method, path: the path begins with `/api/v1`.
            body: JSON; the same bytes are sent by each try. A long one is compressed.
            token: of a lease, shown in place of the key.
            wait: is called before each further try, with the seconds of `backoff`; None: there is none.

        Raises:
            ServerUnreachable: when no try is left.
            RequestRefused, NotPermitted, NotFound: as the server says.
        """
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
            if path.endswith("/adopt") and len(body) > _GZIP_FROM_BYTES:
                headers["Content-Encoding"] = "gzip"
                body = gzip.compress(body, 5, mtime=0)
        delays = backoff()
        while True:
            try:
                return self._send(method, path, body, headers, token)
            except ServerUnreachable:
                if wait is None or not wait(next(delays)):
                    raise
                found = self._find()
                if found is not None and found != self.address:
                    self._take(found)

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str], token: str) -> Any:
        url = self.address.url
        key = token or self.address.key
        if key:
            headers = {**headers, "Authorization": f"Bearer {key}"}
        try:
            answer = self._pool.request(method, url + path, body=body, headers=headers, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            is_refused = isinstance(error.__cause__ or error.__context__, ConnectionError)
            raise ServerUnreachable(url, _told(error), is_refused=is_refused) from error
        if answer.status in _LATER:
            what = _decoded(answer.data).get("detail") or f"it answers {answer.status}"
            raise ServerUnreachable(url, str(what).rstrip("."), is_refused=True)
        if not 200 <= answer.status < 300:
            raise _refusal(answer.status, _decoded(answer.data), method, path)
        try:
            return json.loads(answer.data) if answer.data else {}
        except ValueError as error:
            detail = f"What answers at {url} is no Tenuto server. Correct the setting cloud.api."
            raise RequestRefused(answer.status, "", detail, {}) from error

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()


def _decoded(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _refusal(status: int, problem: dict[str, Any], method: str, path: str) -> RequestRefused:
    slug = str(problem.get("type", "")).rpartition(":")[2]
    detail = str(problem.get("detail") or f"The server answers {status} to {method} {path}.")
    members = {name: value for name, value in problem.items() if name not in ("type", "detail", "title")}
    kind = {401: NotPermitted, 403: NotPermitted, 404: NotFound}.get(status, RequestRefused)
    return kind(status, slug, detail, members)


def _told(error: Exception) -> str:
    """Return what an error of the HTTP library says, without its own names for things."""
    reason = error.__cause__ or error.__context__
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "it does not answer in time"
    return str(error).rpartition(": ")[2] or type(error).__name__
