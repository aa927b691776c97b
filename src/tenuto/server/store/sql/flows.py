"""Projects, flows and their versions."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tenuto.exceptions import PrefectException
from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.feed import announce
from tenuto.server.store.sql.pages import Page, PageRequest, read_page

__all__ = [
    "AlreadyExists",
    "NewVersion",
    "NotFound",
    "Registered",
    "archive",
    "create_project",
    "get_flow",
    "get_group",
    "get_project",
    "list_flows",
    "list_groups",
    "list_projects",
    "newest_version",
    "register",
    "update_group",
    "update_project",
]

_PROJECT, _GROUP, _FLOW = tables.project, tables.flow_group, tables.flow


class NotFound(PrefectException, LookupError):
    """There is no such thing: `kind` says of what kind, `wanted` which."""

    def __init__(self, kind: str, wanted: str, hint: str = "") -> None:
        self.kind, self.wanted = kind, wanted
        super().__init__(f"There is no {kind} {wanted!r}.{' ' + hint if hint else ''}")


class AlreadyExists(PrefectException, ValueError):
    """There is one of that name: `id` says which."""

    def __init__(self, kind: str, name: str, id_: str) -> None:
        self.id = id_
        super().__init__(f"There is a {kind} named {name!r} already.")


# --------------------------------------------------------------------------------------------------- projects


def create_project(transaction: Transaction, name: str, description: str = "") -> str:
    """
    Make a project; return its id.

    Raises:
        AlreadyExists.
    """
    project_id, now = str(uuid.uuid4()), transaction.now
    try:
        with transaction.connection.begin_nested():
            transaction.connection.execute(
                sa.insert(_PROJECT).values(
                    id=project_id, name=name, description=description, created=now, updated=now
                )
            )
    except sa.exc.IntegrityError:
        query = sa.select(_PROJECT.c.id).where(_PROJECT.c.name == name)
        raise AlreadyExists("project", name, transaction.connection.execute(query).scalar_one()) from None
    announce(transaction, "project", project_id)
    return project_id


def list_projects(transaction: Transaction, request: PageRequest, text: str = "") -> Page:
    """Return a page of projects, by name, with the number of their flows."""
    flows = (
        sa.select(sa.func.count())
        .where(_GROUP.c.project_id == _PROJECT.c.id)
        .scalar_subquery()
        .label("flow_count")
    )
    query = sa.select(_PROJECT, flows)
    if text:
        query = query.where(_PROJECT.c.name.icontains(text, autoescape=True))
    sorts = {"name": [_PROJECT.c.name, _PROJECT.c.id], "created": [_PROJECT.c.created, _PROJECT.c.id]}
    return read_page(transaction, query, request, sorts, "name")


def get_project(transaction: Transaction, project_id: str) -> dict[str, Any]:
    """
    Return a project.

    Raises:
        NotFound.
    """
    return _get(transaction, "project", sa.select(_PROJECT).where(_PROJECT.c.id == project_id), project_id)


def update_project(transaction: Transaction, project_id: str, values: Mapping[str, Any]) -> None:
    """
    Change a project.

    Raises:
        NotFound, AlreadyExists.
    """
    _update(transaction, "project", _PROJECT, project_id, values)


# ------------------------------------------------------------------------------------------------ flow groups


def _groups() -> sa.Select[Any]:
    """Return the query of flow groups with their newest version that is not archived, if there is one."""
    other = _FLOW.alias()
    current = (
        sa.select(sa.func.max(other.c.version)).where(other.c.flow_group_id == _GROUP.c.id).scalar_subquery()
    )
    schedule = tables.schedule
    return (
        sa.select(
            _GROUP,
            _PROJECT.c.name.label("project_name"),
            _FLOW.c.id.label("flow_id"),
            _FLOW.c.version,
            _FLOW.c.archived,
            _FLOW.c.created.label("version_created"),
            schedule.c.active.label("schedule_active"),
            schedule.c.reason.label("schedule_reason"),
        )
        .join(_PROJECT, _PROJECT.c.id == _GROUP.c.project_id)
        .outerjoin(_FLOW, sa.and_(_FLOW.c.flow_group_id == _GROUP.c.id, _FLOW.c.version == current))
        .outerjoin(schedule, schedule.c.flow_group_id == _GROUP.c.id)
    )


def list_groups(
    transaction: Transaction, request: PageRequest, *, project_id: str | None = None, text: str = ""
) -> Page:
    """Return a page of flows, each with its newest version."""
    query = _groups()
    if project_id is not None:
        query = query.where(_GROUP.c.project_id == project_id)
    if text:
        query = query.where(_GROUP.c.name.icontains(text, autoescape=True))
    sorts = {"name": [_GROUP.c.name, _GROUP.c.id], "created": [_GROUP.c.created, _GROUP.c.id]}
    return read_page(transaction, query, request, sorts, "name")


def get_group(transaction: Transaction, group_id: str) -> dict[str, Any]:
    """
    Return a flow with its newest version.

    Raises:
        NotFound.
    """
    return _get(transaction, "flow", _groups().where(_GROUP.c.id == group_id), group_id)


def find_group(transaction: Transaction, project: str, name: str) -> dict[str, Any]:
    """
    Return a flow by the names of its project and its own.

    Raises:
        NotFound.
    """
    query = _groups().where(_PROJECT.c.name == project, _GROUP.c.name == name)
    return _get(transaction, "flow", query, f"{project}/{name}")


def update_group(transaction: Transaction, group_id: str, values: Mapping[str, Any]) -> None:
    """
    Change what holds for all versions of a flow.

    Raises:
        NotFound.
    """
    _update(transaction, "flow", _GROUP, group_id, values)


# --------------------------------------------------------------------------------------------------- versions

_FLOW_SHOWN = [column for column in _FLOW.columns if column.name != "serialized"]


def _flows(*columns: Any) -> sa.Select[Any]:
    return (
        sa.select(
            *columns,
            _GROUP.c.name.label("flow_name"),
            _GROUP.c.project_id,
            _PROJECT.c.name.label("project_name"),
        )
        .join(_GROUP, _GROUP.c.id == _FLOW.c.flow_group_id)
        .join(_PROJECT, _PROJECT.c.id == _GROUP.c.project_id)
    )


def list_flows(transaction: Transaction, request: PageRequest, *, group_id: str | None = None) -> Page:
    """Return a page of versions, without their graphs, the newest first."""
    query = _flows(*_FLOW_SHOWN)
    if group_id is not None:
        query = query.where(_FLOW.c.flow_group_id == group_id)
    sorts = {"created": [_FLOW.c.created, _FLOW.c.id], "version": [_FLOW.c.version, _FLOW.c.id]}
    return read_page(transaction, query, request, sorts, "-created")


def get_flow(transaction: Transaction, flow_id: str) -> dict[str, Any]:
    """
    Return a version of a flow, with its graph.

    Raises:
        NotFound.
    """
    return _get(transaction, "flow version", _flows(_FLOW).where(_FLOW.c.id == flow_id), flow_id)


def newest_version(transaction: Transaction, group_id: str) -> dict[str, Any]:
    """
    Return the version of a flow that can be run.

    Raises:
        NotFound: when all are archived.
    """
    query = (
        _flows(_FLOW)
        .where(_FLOW.c.flow_group_id == group_id, _FLOW.c.archived.is_(False))
        .order_by(_FLOW.c.version.desc())
        .limit(1)
    )
    return _get(transaction, "version to run of flow", query, group_id, "Register the flow: flow.register(…)")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVersion:
    """
    A flow as it is registered.

    Attributes:
        project: name of the project.
        serialized: the flow, as `flow.serialize()` gives it.
        digest: of it.
        labels: those of run config, storage and registration together.
        idempotency_key: nothing happens when it is the one of the flow's last registration; `auto`: when the
            flow is the same as the version that can be run.
    """

    project: str
    serialized: Mapping[str, Any]
    digest: str
    labels: Sequence[str] = ()
    description: str = ""
    version_group_id: str | None = None
    idempotency_key: str | None = None
    source_path: str = ""
    source_sha256: str = ""
    core_version: str = ""
    python_version: str = ""
    registered_by: str = ""


@dataclass(frozen=True, slots=True)
class Registered:
    """
    What came of a registration.

    Attributes:
        flow_id, flow_group_id, version: the version that can be run now.
        created: whether it is new.
        archived_ids: the versions that were archived for it.
    """

    flow_id: str
    flow_group_id: str
    version: int
    created: bool
    archived_ids: list[str]


def register(transaction: Transaction, new: NewVersion) -> Registered:
    """
    Make a version of a flow the one that is run, and archive the others; all or nothing (R-BE-31).

    Raises:
        NotFound: when there is no such project, or no such flow.
    """
    connection, now = transaction.connection, transaction.now
    name = str(new.serialized.get("name", ""))
    group_id = _group_for(transaction, new, name)
    rows = connection.execute(
        sa.select(_FLOW.c.id, _FLOW.c.version, _FLOW.c.archived, _FLOW.c.digest)
        .where(_FLOW.c.flow_group_id == group_id)
        .order_by(_FLOW.c.version)
    ).all()
    live = [row for row in rows if not row.archived]
    key = new.idempotency_key
    last_key = connection.execute(
        sa.select(_GROUP.c.registration_key).where(_GROUP.c.id == group_id)
    ).scalar()
    if live and key is not None:
        is_same = live[-1].digest == new.digest if key == "auto" else last_key == key
        if is_same:
            return Registered(live[-1].id, group_id, live[-1].version, created=False, archived_ids=[])
    flow_id, version = str(uuid.uuid4()), (rows[-1].version if rows else 0) + 1
    connection.execute(sa.update(_FLOW).where(_FLOW.c.flow_group_id == group_id).values(archived=True))
    connection.execute(
        sa.insert(_FLOW).values(
            id=flow_id,
            flow_group_id=group_id,
            version=version,
            archived=False,
            serialized=dict(new.serialized),
            digest=new.digest,
            storage=new.serialized.get("storage"),
            run_config=new.serialized.get("run_config"),
            parameters=list(new.serialized.get("parameters") or ()),
            labels=sorted(set(new.labels)),
            source_path=new.source_path,
            source_sha256=new.source_sha256,
            core_version=new.core_version,
            python_version=new.python_version,
            registered_by=new.registered_by,
            created=now,
            updated=now,
        )
    )
    connection.execute(
        sa.update(_GROUP).where(_GROUP.c.id == group_id).values(registration_key=key, updated=now)
    )
    announce(transaction, "flow", flow_id)
    return Registered(flow_id, group_id, version, created=True, archived_ids=[row.id for row in live])


def _group_for(transaction: Transaction, new: NewVersion, name: str) -> str:
    """Return the id of the flow group to register in, locked; make it if there is none."""
    connection, now = transaction.connection, transaction.now
    if new.version_group_id is not None:
        query = sa.select(_GROUP.c.id).where(_GROUP.c.id == new.version_group_id).with_for_update()
        given: str | None = connection.execute(query).scalar()
        if given is None:
            raise NotFound("flow", new.version_group_id)
        return given
    project_id = connection.execute(sa.select(_PROJECT.c.id).where(_PROJECT.c.name == new.project)).scalar()
    if project_id is None:
        raise NotFound("project", new.project, f"Create it with: tenuto create project {new.project!r}")
    of_name = (_GROUP.c.project_id == project_id, _GROUP.c.name == name)
    query = sa.select(_GROUP.c.id).where(*of_name).with_for_update()
    found: str | None = connection.execute(query).scalar()
    if found is not None:
        return found
    values = {"project_id": project_id, "name": name, "description": new.description}
    try:
        with connection.begin_nested():
            connection.execute(
                sa.insert(_GROUP).values(id=str(uuid.uuid4()), **values, created=now, updated=now)
            )
    except sa.exc.IntegrityError:
        pass  # Another registration has made it meanwhile.
    made: str = connection.execute(query).scalar_one()
    return made


def archive(transaction: Transaction, flow_id: str, *, archived: bool = True) -> None:
    """
    Archive a version, or take that back.

    Raises:
        NotFound.
    """
    _update(transaction, "flow version", _FLOW, flow_id, {"archived": archived})


# ---------------------------------------------------------------------------------------------------- helpers


def _get(
    transaction: Transaction, kind: str, query: sa.Select[Any], wanted: str, hint: str = ""
) -> dict[str, Any]:
    row = transaction.connection.execute(query).mappings().first()
    if row is None:
        raise NotFound(kind, wanted, hint)
    return dict(row)


def _update(
    transaction: Transaction, kind: str, table: sa.Table, id_: str, values: Mapping[str, Any]
) -> None:
    changed = transaction.connection.execute(
        sa.update(table).where(table.c.id == id_).values(**values, updated=transaction.now)
    )
    if changed.rowcount == 0:
        raise NotFound(kind, id_)
    announce(transaction, "flow" if table is not _PROJECT else "project", id_)
