"""Runs that began without a server: announced once by their journal, then reported like all others."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from tenuto._base.datetimes import from_microseconds
from tenuto.journal.event import Header
from tenuto.server.domain.labels import queue_of
from tenuto.server.domain.timings import Timings
from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.feed import announce
from tenuto.server.store.sql.leases import new_token, token_digest

__all__ = ["LOCAL_PROJECT", "Adopted", "adopt"]

LOCAL_PROJECT = "local"
# Of so many who announced a run, each may report: they tell the same, and each event is taken in once.
_TOKENS_MAX = 8


@dataclass(frozen=True, slots=True)
class Adopted:
    """
    The answer to an announcement.

    Attributes:
        token: of the lease, whose epoch is 1.
        acked, logs_acked: numbers of the last event and log record that are known.
        is_new: whether the run was not known.
        is_graph_missing: whether the graph of its flow is not known; announce it again with it.
    """

    token: str
    acked: int
    logs_acked: int
    is_new: bool
    is_graph_missing: bool


def adopt(
    transaction: Transaction,
    header: Header,
    *,
    by: str,
    graph: Mapping[str, Any] | None,
    is_alive: bool,
    timings: Timings,
) -> Adopted | None:
    """
    Take in the announcement of a run.

    Args:
        header: of its journal.
        by: who announces it.
        graph: of its flow, where it is at hand.
        is_alive: whether its process still runs: then it holds a lease, which heartbeats extend. Otherwise it
            has ended, or waits, and what it holds no lease for is not taken away from it.

    Returns:
        None for a run that the server has made or handed out itself.
    """
    run, now = tables.flow_run, transaction.now
    token = new_token()
    query = sa.select(run).where(run.c.id == header.flow_run_id).with_for_update()
    row = transaction.connection.execute(query).mappings().first()
    flow_id, has_graph = "", False
    if row is None:
        flow_id, has_graph = _flow_of(transaction, header, graph, by)
        # The flow's row is locked from here on: somebody may have announced the run just before.
        row = transaction.connection.execute(query).mappings().first()
    if row is None:
        start = header.scheduled_start_time
        transaction.connection.execute(
            sa.insert(run).values(
                id=header.flow_run_id,
                flow_id=flow_id,
                name=header.name,
                # What a stream without events folds to.
                state="Pending",
                epoch=1,
                attempt=1,
                owner=header.host,
                token_digest=token_digest(token),
                lease_until=now + timings.lease if is_alive else None,
                queue=queue_of(header.labels),
                rescue="off",
                rescues_left=0,
                is_local=True,
                parameters=header.parameters,
                context=header.context,
                labels=header.labels,
                scheduled_start_time=None if start is None else from_microseconds(start),
                created_by=by,
                parent_flow_run_id=_uuid_or_none(header.parent),
                resumed_from=_uuid_or_none(header.resumed_from),
                header=msgspec.to_builtins(header),
                created=now,
                updated=now,
            )
        )
        announce(transaction, "run", header.flow_run_id)
        return Adopted(token, 0, 0, is_new=True, is_graph_missing=not has_graph)
    if not row["is_local"] or row["epoch"] != 1:
        return None
    # The version that the run was announced with, also where the flow's name or project was changed since.
    has_graph = _fill_in(transaction, row["flow_id"], header, graph)
    digests = bytes(row["token_digest"] or b"") + token_digest(token)
    values: dict[str, Any] = {"token_digest": digests[-32 * _TOKENS_MAX :]}
    if row["end_time"] is None:
        values["lease_until"] = now + timings.lease if is_alive else None
    transaction.connection.execute(sa.update(run).where(run.c.id == row["id"]).values(values))
    chunk = tables.log_chunk
    logged = transaction.connection.execute(
        sa.select(sa.func.max(chunk.c.lseq_to)).where(chunk.c.run_id == row["id"], chunk.c.epoch == 1)
    ).scalar()
    return Adopted(token, row["pseq"], logged or 0, is_new=False, is_graph_missing=not has_graph)


def _flow_of(
    transaction: Transaction, header: Header, graph: Mapping[str, Any] | None, by: str
) -> tuple[str, bool]:
    """
    Return the id of the version of the flow that a run is of, and whether its graph is known.

    Project, flow and version are made where they are missing.
    """
    connection, now = transaction.connection, transaction.now
    times = {"created": now, "updated": now}
    project_id = _find_or_make(transaction, tables.project, {"name": header.project or LOCAL_PROJECT}, times)
    group_id = _find_or_make(
        transaction, tables.flow_group, {"project_id": project_id, "name": header.flow}, times
    )
    group, flow = tables.flow_group, tables.flow
    # One at a time gives a flow a version.
    connection.execute(sa.select(group.c.id).where(group.c.id == group_id).with_for_update())
    known = connection.execute(
        sa.select(flow.c.id).where(flow.c.flow_group_id == group_id, flow.c.digest == header.graph_sha256)
    ).scalar()
    if known is not None:
        return known, _fill_in(transaction, known, header, graph)
    version = connection.execute(
        sa.select(sa.func.max(flow.c.version)).where(flow.c.flow_group_id == group_id)
    ).scalar()
    flow_id = str(uuid.uuid4())
    connection.execute(
        sa.insert(flow).values(
            id=flow_id,
            flow_group_id=group_id,
            version=(version or 0) + 1,
            # Nobody has registered it: it can be looked at, and not be run by the server.
            archived=True,
            **_described(graph or {}),
            digest=header.graph_sha256,
            source_path=header.source_path,
            source_sha256=header.source_sha256,
            core_version=header.tenuto,
            python_version=header.python,
            registered_by=by,
            **times,
        )
    )
    announce(transaction, "flow", flow_id)
    return flow_id, bool(graph)


def _fill_in(transaction: Transaction, flow_id: str, header: Header, graph: Mapping[str, Any] | None) -> bool:
    """Give a version of a flow its graph, where it has none and one is at hand; return whether it has one."""
    flow = tables.flow
    query = sa.select(sa.cast(flow.c.serialized, sa.Text) != "{}", flow.c.digest).where(flow.c.id == flow_id)
    has_graph, digest = transaction.connection.execute(query).one()
    if has_graph or not graph or digest != header.graph_sha256:
        return bool(has_graph)
    transaction.connection.execute(
        sa.update(flow).where(flow.c.id == flow_id).values(**_described(graph), updated=transaction.now)
    )
    announce(transaction, "flow", flow_id)
    return True


def _described(graph: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a version of a flow that its graph tells, as when it is registered."""
    return {
        "serialized": dict(graph),
        "storage": graph.get("storage"),
        "run_config": graph.get("run_config"),
        "parameters": list(graph.get("parameters") or ()),
    }


def _find_or_make(
    transaction: Transaction, table: sa.Table, key: dict[str, Any], values: dict[str, Any]
) -> str:
    """Return the id of the row of a unique key; make it if there is none."""
    connection = transaction.connection
    query = sa.select(table.c.id).where(*(table.c[name] == value for name, value in key.items()))
    found = connection.execute(query).scalar()
    if found is None:
        try:
            with connection.begin_nested():
                connection.execute(sa.insert(table).values(id=str(uuid.uuid4()), **key, **values))
        except sa.exc.IntegrityError:
            pass  # Another transaction has made it meanwhile.
        found = connection.execute(query).scalar_one()
    made: str = found
    return made


def _uuid_or_none(text: str) -> str | None:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None
