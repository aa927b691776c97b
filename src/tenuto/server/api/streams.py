"""Streams: what happens, as lines over HTTP for programs and over a WebSocket for the browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from functools import partial
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from tenuto.journal.states import FINAL_STATES
from tenuto.server.api.access import principal_of
from tenuto.server.api.flow_runs import LogFilter, log_lines, place_of_logs
from tenuto.server.api.hub import RESYNC, Hub, Place
from tenuto.server.api.problems import Problem
from tenuto.server.api.recording import record_denial, record_use
from tenuto.server.api.requests import JsonLines, PathId
from tenuto.server.api.routing import asks, new_router
from tenuto.server.api.watch import Watch
from tenuto.server.domain.access import Permission
from tenuto.server.store.sql import flow_runs, logs
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.stream import UnknownRun

__all__ = ["router", "sockets"]

IDLE_SECONDS = 15.0
LOG_LINES = 1_000

router = new_router(tags=["streams"])
sockets = APIRouter()


@router.get("/events", response_class=JsonLines, **asks(Permission.READ))
async def follow_events(
    request: Request,
    topics: Annotated[str, Query(description="`flow_runs`, `flow_run:ID`, `logs:ID`, `agents`, `flows`.")],
    after: Annotated[str, Query(description="`id` of the last message; empty: from now on.")] = "",
) -> Response:
    """Tell what happens, a JSON line each; an empty line every 15 s. `resync`: fetch anew what you show."""
    hub: Hub = request.app.state.hub
    watch: Watch = request.app.state.watch
    watch.check_room(request.state.principal)
    wanted = {topic.strip() for topic in topics.split(",") if topic.strip()}
    place = Place.parse(after) if after else None

    async def lines() -> AsyncGenerator[bytes]:
        async for message in hub.follow(wanted, place, IDLE_SECONDS):
            yield b"\n" if message is None else message.line() + b"\n"

    return StreamingResponse(watch.guarded(request.state.principal, lines()), media_type=JsonLines.media_type)


@router.get("/flow-runs/{id}/logs/follow", response_class=JsonLines, **asks(Permission.READ))
async def follow_logs(
    request: Request,
    id: PathId,
    after: Annotated[str, Query(description="`EPOCH.LSEQ` of the last line that is known.")] = "",
    level: int = 0,
    slug: str | None = None,
    q: str = "",
) -> Response:
    """Tell the log records of a flow run as they come; ends with `{"done": true}` after the run's end."""
    watch: Watch = request.app.state.watch
    watch.check_room(request.state.principal)
    hub: Hub = request.app.state.hub
    database = request.app.state.database
    wanted, begin = LogFilter(level, slug, text=q), place_of_logs(after)
    await run_in_threadpool(database.read, partial(flow_runs.get_flow_run, run_id=id))

    async def lines() -> AsyncGenerator[bytes]:
        place = begin
        while True:
            # Asked before the lines are read: what the run logged up to its end is then among them.
            try:
                run = await run_in_threadpool(database.read, partial(flow_runs.get_flow_run, run_id=id))
            except UnknownRun:  # It was deleted.
                yield b'{"done":true}\n'
                return
            found = await run_in_threadpool(database.read, partial(_read_lines, run_id=id, after=place))
            if found:
                place, told = log_lines(id, found, wanted)
                if told:
                    yield told
            elif run["state"] in FINAL_STATES:
                yield b'{"done":true}\n'
                return
            elif hub.is_closed:
                return
            elif not await hub.changed(IDLE_SECONDS):
                yield b"\n"

    return StreamingResponse(watch.guarded(request.state.principal, lines()), media_type=JsonLines.media_type)


@sockets.websocket("/ws")
async def live(socket: WebSocket) -> None:
    """
    Carry the topics of a browser's tab.

    It says `{"subscribe": [topics], "unsubscribe": [topics], "after": id}`, and gets messages; `reset` where
    `after` is too far back.
    """
    try:
        principal = await principal_of(socket)
    except Problem:
        await record_denial(socket, None)
        await socket.close(4401)
        return
    if not principal.may(Permission.READ):
        await record_denial(socket, principal)
        await socket.close(4403)
        return
    await record_use(socket, principal)
    watch: Watch = socket.app.state.watch
    if not watch.has_room(principal):
        await socket.close(4429)
        return
    await socket.accept()
    with watch.held(principal) as ended:
        closing = asyncio.create_task(_close(socket, ended))
        try:
            await _talk(socket)
        finally:
            closing.cancel()


async def _close(socket: WebSocket, ended: asyncio.Event) -> None:
    await ended.wait()
    await socket.close(4401)


async def _talk(socket: WebSocket) -> None:
    topics: set[str] = set()
    sending: asyncio.Task[None] | None = None
    try:
        while True:
            said = await _said(socket)
            topics |= {str(topic) for topic in said.get("subscribe") or ()}
            topics -= {str(topic) for topic in said.get("unsubscribe") or ()}
            if sending is None:
                after = Place.parse(said["after"]) if said.get("after") else None
                sending = asyncio.create_task(_send(socket, topics, after))
    except (WebSocketDisconnect, RuntimeError):
        pass  # The tab is gone.
    finally:
        if sending is not None:
            sending.cancel()


def _read_lines(transaction: Transaction, run_id: str, after: tuple[int, int]) -> list[tuple[int, bytes]]:
    return list(logs.read_log_lines(transaction, run_id, after, LOG_LINES))


async def _said(socket: WebSocket) -> dict[str, Any]:
    try:
        said = msgspec.json.decode(await socket.receive_text(), type=dict[str, Any])
    except msgspec.DecodeError:
        return {}
    return said


async def _send(socket: WebSocket, topics: set[str], after: Place | None) -> None:
    hub: Hub = socket.app.state.hub
    async for message in hub.follow(topics, after, IDLE_SECONDS):
        if message is RESYNC:
            await socket.send_text('{"event":"reset"}')
        elif message is not None:
            await socket.send_text(message.line().decode())


live.is_guarded = True  # type: ignore[attr-defined]  # it looks at who asks itself, before it accepts
