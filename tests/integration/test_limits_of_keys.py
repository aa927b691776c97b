"""Limits of what one key may ask for, in an application whose clock stands still."""

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

from starlette.types import Message

from tenuto.server.api.limits import Limits, Rate
from tenuto.server.app import make_app
from tenuto.server.domain.access import Principal, Role
from tenuto.server.settings import Settings
from tenuto.server.store.sql.keys import create_key
from tests.contracts.server_stores import Clock, sqlite_store


async def ask(app: Any, path: str, key: str, body: bytes = b"") -> tuple[int, dict[str, str], Any]:
    """Return status, headers and body of an answer."""
    sent: list[Message] = []
    path, _, query = path.partition("?")
    headers = {"host": "localhost", "authorization": f"Bearer {key}", "content-length": str(len(body))}
    scope = {
        "type": "http",
        "method": "POST" if body else "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
        "scheme": "http",
        "root_path": "",
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], told, json.loads(b"".join(part.get("body", b"") for part in sent[1:]))


def test_a_key_asks_for_so_much_and_the_others_for_theirs(tmp_path: Path) -> None:
    # S-22
    async def asked() -> list[int]:
        first = [(await ask(app, "/api/v1/roles", one))[0] for _ in range(21)]
        status, headers, body = await ask(app, "/api/v1/roles", one)
        assert (status, headers["retry-after"], body["type"]) == (429, "1", "urn:tenuto:problem:rate-limited")
        return [
            *first,
            (await ask(app, "/api/v1/roles", two))[0],
            (await ask(app, "/api/v1/roles", "mine"))[0],
        ]

    with sqlite_store(tmp_path, Clock()) as database:
        app = make_app(Settings(home=tmp_path), database, "mine")
        app.state.limits = Limits(requests=Rate(10, 20, clock=lambda: 0.0))
        one, two = (database.write(partial(create_key, name=name, role=Role.VIEWER))[1] for name in "ab")
        statuses = asyncio.run(asked())
    assert statuses == [200] * 20 + [429, 200, 200]


def test_a_request_that_is_nested_too_deep_is_refused(tmp_path: Path) -> None:
    # S-22
    with sqlite_store(tmp_path, Clock()) as database:
        app = make_app(Settings(home=tmp_path), database, "mine")
        deep = b'{"name":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        for path in ("/api/v1/projects", "/api/v1/runs/adopt"):
            status, _, body = asyncio.run(ask(app, path, "mine", deep))
            assert (status, "nested" in body["detail"]) == (422, True)


def test_a_key_has_so_many_streams_open(tmp_path: Path) -> None:
    # S-22
    with sqlite_store(tmp_path, Clock()) as database:
        app = make_app(Settings(home=tmp_path), database, "mine")
        principal = Principal("this machine", Role.ADMIN)
        held = [app.state.watch.held(principal) for _ in range(100)]

        async def asked() -> tuple[int, bool]:
            for each in held:
                each.__enter__()
            status, _, _ = await ask(app, "/api/v1/events?topics=flows", "mine")
            held[0].__exit__(None, None, None)
            return status, app.state.watch.has_room(principal)

        status, has_room = asyncio.run(asked())
    assert (status, has_room) == (429, True)
