"""What workers report, by the token of their lease; and the announcement of runs that began elsewhere."""

from __future__ import annotations

import hashlib
import uuid
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import msgspec
from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool

from tenuto.journal.event import Header
from tenuto.server.api.access import lease_token
from tenuto.server.api.limits import check_depth
from tenuto.server.api.problems import Problem
from tenuto.server.api.routing import asks, new_router
from tenuto.server.domain.access import Permission
from tenuto.server.domain.timings import Timings
from tenuto.server.store.sql import adoption, ingest, leases, logs
from tenuto.server.store.sql.database import Database, Transaction
from tenuto.server.store.sql.leases import Lease
from tenuto.server.store.sql.stream import moment_of

__all__ = ["router"]

T = TypeVar("T")
INGEST_BYTES_MAX = 1 << 20
LOG_BYTES_MAX = 4 << 20
ADOPT_BYTES_MAX = 4 << 20
# Of an announcement when it is unpacked: graphs are large, and shrink to a twentieth.
ADOPT_INFLATED_MAX = 64 << 20
_NUL = b"\\u0000"

router = new_router("/runs", tags=["workers"])


class Beat(msgspec.Struct):
    """A worker that is alive."""

    epoch: int
    counters: dict[str, Any] = {}


class Release(msgspec.Struct):
    """A run that its worker gives back."""

    epoch: int
    cause: str = "drained"
    message: str = ""
    due: int | None = None


class Crash(msgspec.Struct):
    """How a worker ended."""

    epoch: int
    kind: str = "exited"
    pid: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    oom: bool = False
    message: str = ""


class _Announcement(msgspec.Struct):
    header: msgspec.Raw
    alive: bool
    graph: msgspec.Raw = msgspec.Raw()


_ANNOUNCEMENT = {
    "title": "Announcement",
    "type": "object",
    "required": ["header", "alive"],
    "properties": {
        "header": {"type": "object", "description": "Of the run's journal."},
        "alive": {"type": "boolean", "description": "Whether the run goes on."},
        "graph": {"type": ["object", "null"], "description": "The flow, where the server asked for it."},
    },
}


@router.post("/adopt", **asks(Permission.WORK, _ANNOUNCEMENT))
async def adopt(request: Request) -> Response:
    """Announce a run that began without the server; the answer has the token to report it by."""
    body = await _body(request, ADOPT_BYTES_MAX, ADOPT_INFLATED_MAX)
    header, graph, is_alive = await run_in_threadpool(_announced, body)
    work = partial(
        adoption.adopt,
        header=header,
        by=request.state.principal.name,
        graph=graph,
        is_alive=is_alive,
        timings=_timings(request),
    )
    found = await _write(request, work)
    if found is None:
        raise Problem(409, "already-exists", "The server knows this run from elsewhere.")
    return _answer(
        {
            "token": found.token,
            "epoch": 1,
            "acked": found.acked,
            "logs_acked": found.logs_acked,
            "new": found.is_new,
            "graph_missing": found.is_graph_missing,
            "lease_seconds": _timings(request).lease.total_seconds(),
        }
    )


def _announced(body: bytes) -> tuple[Header, dict[str, Any] | None, bool]:
    """Return header, graph and whether the run goes on, as an announcement tells them."""
    said = _decode(body, _Announcement)
    # PostgreSQL has no character of number 0.
    header = _decode(bytes(said.header).replace(_NUL, b"\\ufffd"), Header)
    if header.flow_run_id != _check_id(header.flow_run_id):
        raise Problem(422, "invalid-request", "The run's id is not a UUID in lower case.")
    data = bytes(said.graph)
    if data in (b"", b"null"):
        return header, None, said.alive
    if hashlib.sha256(data).hexdigest() != header.graph_sha256:
        raise Problem(422, "invalid-request", "The graph is not the one that the header names.")
    return header, _decode(data.replace(_NUL, b"\\ufffd"), dict[str, Any]), said.alive


@router.post("/{run_id}/events", **asks(Permission.LEASE, ingest.RawBatch))
async def events(request: Request, run_id: str) -> Response:
    """Take in a batch of events, all or nothing."""
    token = lease_token(request)
    batch = ingest.decode_batch(await _body(request, INGEST_BYTES_MAX))
    work = partial(ingest.ingest, run_id=_check_id(run_id), token=token, batch=batch)
    taken = await _write(request, work)
    request.app.state.counters.events += len(batch.events)
    return _answer({"acked": taken.acked, "seq": taken.seq, "commands": taken.commands})


@router.post("/{run_id}/logs", **asks(Permission.LEASE, logs.RawLogs))
async def take_logs(request: Request, run_id: str) -> Response:
    """Take in log records."""
    token = lease_token(request)
    batch = logs.decode_logs(await _body(request, LOG_BYTES_MAX))
    work = partial(
        logs.take_logs, run_id=_check_id(run_id), token=token, batch=batch, timings=_timings(request)
    )
    return _answer({"acked": await _write(request, work)})


@router.post("/{run_id}/heartbeat", **asks(Permission.LEASE, Beat))
async def heartbeat(request: Request, run_id: str) -> Response:
    """Extend the lease; the answer says what the worker is asked to do."""
    said = await _decoded(request, Beat)
    lease = Lease(said.epoch, lease_token(request))
    work = partial(leases.heartbeat, run_id=_check_id(run_id), lease=lease, timings=_timings(request))
    beat = await _write(request, work)
    return _answer(
        {"lease_seconds": beat.lease_seconds, "commands": beat.commands, "server_time": beat.now.isoformat()}
    )


@router.post("/{run_id}/release", **asks(Permission.LEASE, Release))
async def release(request: Request, run_id: str) -> Response:
    """Give the run back, to be claimed again."""
    said = await _decoded(request, Release)
    work = partial(
        leases.release,
        run_id=_check_id(run_id),
        lease=Lease(said.epoch, lease_token(request)),
        cause=said.cause,
        message=said.message,
        due=None if said.due is None else moment_of(said.due),
    )
    await _write(request, work)
    return _answer({})


@router.post("/{run_id}/crashed", **asks(Permission.LEASE, Crash))
async def crashed(request: Request, run_id: str) -> Response:
    """Tell that the worker has ended without a final state."""
    said = await _decoded(request, Crash)
    lease = Lease(said.epoch, lease_token(request))
    work = partial(leases.crashed, run_id=_check_id(run_id), lease=lease, message=_how_it_ended(said))
    return _answer({"taken_away": await _write(request, work)})


def _how_it_ended(crash: Crash) -> str:
    if crash.message:
        return crash.message
    process = "Its process" if crash.pid is None else f"Its process (pid {crash.pid})"
    if crash.kind == "failed_to_start":
        return f"{process} could not be started."
    if crash.signal is not None:
        hint = " (out of memory?)" if crash.oom or crash.signal == 9 else ""
        return f"{process} was ended by signal {crash.signal}{hint}."
    return f"{process} ended with exit code {crash.exit_code} and left no final state."


# --------------------------------------------------------------------------------------------------- requests


async def _body(request: Request, bytes_max: int, inflated_max: int = 0) -> bytes:
    """
    Return the body of a request, read no further than it may be long.

    Args:
        request: whose body.
        bytes_max: its limit.
        inflated_max: limit of what it is when it comes compressed; 0: it may not.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > bytes_max:
            raise Problem(413, "payload-too-large", f"The request is larger than {bytes_max:,} bytes.")
        parts.append(part)
    body = b"".join(parts)
    check_depth(body)
    match request.headers.get("content-encoding", "identity").lower():
        case "identity":
            return body
        case "gzip" if inflated_max:
            return await run_in_threadpool(_inflated, body, inflated_max)
    raise Problem(415, "unsupported-media-type", "The request is encoded in a way that is not known here.")


def _inflated(body: bytes, bytes_max: int) -> bytes:
    """Return what a compressed body is, unpacked no further than it may be long."""
    inflating = zlib.decompressobj(wbits=31)  # gzip
    try:
        data = inflating.decompress(body, bytes_max)
    except zlib.error as error:
        raise Problem(422, "invalid-request", f"The request is not valid gzip: {error}") from error
    if inflating.unconsumed_tail:
        raise Problem(413, "payload-too-large", f"The request is larger than {bytes_max:,} bytes.")
    check_depth(data)
    if not inflating.eof or inflating.unused_data:
        raise Problem(422, "invalid-request", "The request is not valid gzip: it is not whole.")
    return data


async def _decoded(request: Request, kind: type[T]) -> T:
    return _decode(await _body(request, INGEST_BYTES_MAX), kind)


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(422, "invalid-request", f"The request is not valid: {error}") from error


def _check_id(run_id: str) -> str:
    try:
        return str(uuid.UUID(run_id))
    except ValueError:
        raise Problem(404, "not-found", "A run's id is a UUID.") from None


def _timings(request: Request) -> Timings:
    timings: Timings = request.app.state.settings.timings
    return timings


async def _write(request: Request, work: Callable[[Transaction], T]) -> T:
    database: Database = request.app.state.database
    return await run_in_threadpool(database.write, work)


def _answer(body: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")
