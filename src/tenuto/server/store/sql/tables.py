"""
The tables, for both databases (reliability 3.1).

Ids are lower-case UUID texts to Python. Moments are aware datetimes in UTC: integers of microseconds in
SQLite, `timestamptz` in PostgreSQL. JSON columns hold objects and lists, never texts that hold JSON.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tenuto.server.store.sql.types import Id, Json, Moment, Serial

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _key(name: str = "id") -> sa.Column[Any]:
    return sa.Column(name, Id, primary_key=True)


def _id(name: str, to: str | None = None, *, null: bool = False) -> sa.Column[Any]:
    keys = () if to is None else (sa.ForeignKey(to, ondelete="CASCADE"),)
    return sa.Column(name, Id, *keys, nullable=null)


def _text(name: str) -> sa.Column[str]:
    """Return a column that is empty where there is nothing to say, never null."""
    return sa.Column(name, sa.Text, nullable=False, default="", server_default="")


def _number(name: str, default: int = 0) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, default=default, server_default=str(default))


def _flag(name: str, default: bool = False) -> sa.Column[bool]:
    shown = sa.text("true" if default else "false")
    return sa.Column(name, sa.Boolean, nullable=False, default=default, server_default=shown)


def _moment(name: str, *, null: bool = True) -> sa.Column[datetime]:
    return sa.Column(name, Moment, nullable=null)


def _object(name: str) -> sa.Column[Any]:
    return sa.Column(name, Json, nullable=False, default=dict, server_default="{}")


def _list(name: str) -> sa.Column[Any]:
    return sa.Column(name, Json, nullable=False, default=list, server_default="[]")


def _json(name: str) -> sa.Column[Any]:
    return sa.Column(name, Json, nullable=True)


def _times() -> tuple[sa.Column[datetime], sa.Column[datetime]]:
    return _moment("created", null=False), _moment("updated", null=False)


# ----------------------------------------------------------------------------------------- projects and flows

project = sa.Table(
    "project",
    metadata,
    _key(),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    _text("description"),
    *_times(),
)

flow_group = sa.Table(
    "flow_group",
    metadata,
    _key(),
    _id("project_id", "project.id"),
    _text("name"),
    _text("description"),
    _object("default_parameters"),
    _json("labels"),
    _json("run_config"),
    # See `tenuto.server.domain.group_settings`.
    _object("settings"),
    sa.Column("registration_key", sa.Text),
    *_times(),
    sa.UniqueConstraint("project_id", "name"),
)

flow = sa.Table(
    "flow",
    metadata,
    _key(),
    _id("flow_group_id", "flow_group.id"),
    _number("version", 1),
    _flag("archived"),
    # The canonical JSON of the flow as it was registered: tasks, edges, schedule, parameters.
    _object("serialized"),
    _text("digest"),
    _json("storage"),
    _json("run_config"),
    _list("labels"),
    _list("parameters"),
    _text("source_path"),
    _text("source_sha256"),
    _text("core_version"),
    _text("python_version"),
    _text("registered_by"),
    *_times(),
    sa.UniqueConstraint("flow_group_id", "version"),
)

schedule = sa.Table(
    "schedule",
    metadata,
    _key(),
    _id("flow_group_id", "flow_group.id"),
    # As `tenuto.serialization.schedule` writes it.
    _object("described"),
    # Whether it was set on the group; else it is that of the flow's code.
    _flag("is_own"),
    _flag("active", default=True),
    # Why it is off, for people.
    _text("reason"),
    # Up to then its times have runs, where no row of `scheduled_time` tells of a later one.
    _moment("since", null=False),
    *_times(),
    sa.UniqueConstraint("flow_group_id"),
)

scheduled_time = sa.Table(
    "scheduled_time",
    metadata,
    _id("schedule_id"),
    _text("clock_key"),
    _moment("at", null=False),
    _id("run_id", null=True),
    sa.PrimaryKeyConstraint("schedule_id", "clock_key", "at"),
    sa.Index("ix_scheduled_time_at", "schedule_id", "at"),
    sqlite_with_rowid=False,
)

# ------------------------------------------------------------------------------------------------------- runs

flow_run = sa.Table(
    "flow_run",
    metadata,
    _key(),
    _id("flow_id", "flow.id"),
    _text("name"),
    # The state, as the fold of the run's events gives it.
    _text("state"),
    _text("message"),
    _text("cause"),
    _moment("state_time"),
    _moment("start_time"),
    _moment("end_time"),
    # Numbers of the stream: of the last event, of the lease, of the producer's last event under that lease.
    _number("seq"),
    _number("epoch"),
    _number("pseq"),
    # Grants, for people.
    _number("attempt"),
    _text("owner"),
    _id("agent_id", null=True),
    _moment("lease_until"),
    sa.Column("token_digest", sa.LargeBinary),
    # Until when a claimed run must have begun.
    _moment("submit_until"),
    _moment("due"),
    _text("queue"),
    _number("rescues_left", 3),
    _text("rescue"),
    _moment("cancel_at"),
    _list("commands"),
    _id("schedule_id", null=True),
    _moment("scheduled_for"),
    _moment("scheduled_start_time"),
    _flag("auto_scheduled"),
    # Begun by its owner without a server, and announced later: never given to an agent.
    _flag("is_local"),
    sa.Column("idempotency_key", sa.Text),
    sa.Column("idempotency_digest", sa.LargeBinary),
    _object("parameters"),
    _object("context"),
    _list("labels"),
    _json("run_config"),
    # What the producer said of itself: host, pid, Python, Tenuto, executor, digests of source and graph.
    _object("header"),
    _text("created_by"),
    _id("parent_flow_run_id", null=True),
    _id("parent_task_run_id", null=True),
    _id("resumed_from", null=True),
    *_times(),
    sa.UniqueConstraint("flow_id", "idempotency_key"),
    # The queue of claims: finished runs leave it by its condition.
    sa.Index(
        "ix_flow_run_claims",
        "queue",
        "due",
        "id",
        sqlite_where=sa.text("state = 'Scheduled'"),
        postgresql_where=sa.text("state = 'Scheduled'"),
    ),
    sa.Index(
        "ix_flow_run_leases",
        "lease_until",
        sqlite_where=sa.text("lease_until IS NOT NULL"),
        postgresql_where=sa.text("lease_until IS NOT NULL"),
    ),
    sa.Index("ix_flow_run_flow", "flow_id", "id"),
    sa.Index("ix_flow_run_state", "state", "id"),
    sa.Index(
        "ix_flow_run_parent",
        "parent_flow_run_id",
        sqlite_where=sa.text("parent_flow_run_id IS NOT NULL"),
        postgresql_where=sa.text("parent_flow_run_id IS NOT NULL"),
    ),
    sa.Index(
        "ix_flow_run_schedule",
        "schedule_id",
        "state",
        sqlite_where=sa.text("schedule_id IS NOT NULL"),
        postgresql_where=sa.text("schedule_id IS NOT NULL"),
    ),
    postgresql_with={"fillfactor": 70, "autovacuum_vacuum_scale_factor": 0.02},
)

run_event = sa.Table(
    "run_event",
    metadata,
    _id("run_id", "flow_run.id"),
    _number("seq"),
    _number("epoch"),
    sa.Column("pseq", sa.BigInteger),
    sa.Column("kind", sa.SmallInteger, nullable=False),
    _id("task_run_id", null=True),
    # By the producer's clock, and by the server's.
    _moment("ts", null=False),
    _moment("recv_ts", null=False),
    _object("payload"),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.PrimaryKeyConstraint("run_id", "seq"),
    sa.Index(
        "ix_run_event_producer",
        "run_id",
        "epoch",
        "pseq",
        unique=True,
        sqlite_where=sa.text("pseq IS NOT NULL"),
        postgresql_where=sa.text("pseq IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)

task_run = sa.Table(
    "task_run",
    metadata,
    _id("run_id", "flow_run.id"),
    _id("task_run_id"),
    _text("slug"),
    _number("map_index", -1),
    _text("name"),
    _text("state"),
    _text("message"),
    _text("cause"),
    _moment("state_time"),
    _moment("start_time"),
    _moment("end_time"),
    # Number of the last event about it in the stream.
    _number("seq"),
    _number("attempt"),
    _number("run_count", 1),
    # For how many seconds the last attempt ran.
    sa.Column("seconds", sa.Double),
    # When a waiting one goes on.
    _moment("due"),
    sa.Column("children", sa.BigInteger),
    _text("result_ref"),
    _text("result_sha256"),
    _number("result_len"),
    sa.PrimaryKeyConstraint("run_id", "task_run_id"),
    sa.Index("ix_task_run_id", "task_run_id"),
    sqlite_with_rowid=False,
)

log_chunk = sa.Table(
    "log_chunk",
    metadata,
    _id("run_id", "flow_run.id"),
    _number("epoch"),
    _number("lseq_from"),
    _number("lseq_to"),
    _number("dropped"),
    # The records as JSON lines, as they came.
    sa.Column("bytes", sa.LargeBinary, nullable=False),
    _moment("recv_ts", null=False),
    sa.PrimaryKeyConstraint("run_id", "epoch", "lseq_from"),
)

slot = sa.Table(
    "slot",
    metadata,
    _text("limit_name"),
    _id("run_id", "flow_run.id"),
    # The run itself: empty.
    _text("task_run_id"),
    _number("epoch"),
    _moment("until", null=False),
    sa.PrimaryKeyConstraint("limit_name", "run_id", "task_run_id"),
)

artifact = sa.Table(
    "artifact",
    metadata,
    _key(),
    _id("run_id", "flow_run.id"),
    _id("task_run_id", null=True),
    _text("kind"),
    _text("key"),
    _json("body"),
    *_times(),
    sa.Index("ix_artifact_run", "run_id", "id"),
)

# ----------------------------------------------------------------------------------------------------- agents

agent = sa.Table(
    "agent",
    metadata,
    _key(),
    _text("name"),
    _text("type"),
    _text("host"),
    # Kept by the agent in a file of its own: two processes are two agents.
    _text("instance_id"),
    _list("labels"),
    _flag("any_label"),
    _text("version"),
    _number("run_limit"),
    _list("capabilities"),
    _flag("paused"),
    _moment("last_seen", null=False),
    *_times(),
    sa.UniqueConstraint("name", "host", "instance_id"),
)

# ----------------------------------------------------------------------------------------------- what follows

feed = sa.Table(
    "feed",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    # The transaction that wrote the row: ids are given in another order than transactions end in. SQLite has
    # one writer, and the two orders are one.
    sa.Column("xid", sa.BigInteger, nullable=False, server_default="0"),
    _text("topic"),
    _text("key"),
    _number("seq_from"),
    _number("seq_to"),
    _moment("ts", null=False),
    sa.Index("ix_feed_place", "xid", "id"),
    sqlite_autoincrement=True,
)

service_lease = sa.Table(
    "service_lease",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    _text("owner"),
    _number("epoch"),
    _moment("until", null=False),
)

server_beat = sa.Table(
    "server_beat",
    metadata,
    # One row for each server that ran; the newest of all tells since when none has.
    _key(),
    _moment("started", null=False),
    _moment("last_beat", null=False),
    # Whether it stopped in order.
    _flag("stopped"),
)

transition = sa.Table(
    "transition",
    metadata,
    sa.Column("entity", sa.Text, nullable=False),
    sa.Column("from_state", sa.Text, nullable=False),
    sa.Column("to_state", sa.Text, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.PrimaryKeyConstraint("entity", "from_state", "to_state", "by"),
)

# ----------------------------------------------------------------------------------------------------- access

api_key = sa.Table(
    "api_key",
    metadata,
    _key(),
    _text("name"),
    _text("role"),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    _moment("expires_at"),
    _moment("revoked_at"),
    _moment("last_used"),
    *_times(),
)


def _opening(name: str) -> sa.Table:
    """Return a table of what opens something for whoever has a key: the key itself, or the machine's."""
    return sa.Table(
        name,
        metadata,
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        _id("key_id", "api_key.id", null=True),
        # Digest of the key of the server's machine, where it is that one.
        sa.Column("machine", sa.LargeBinary, nullable=False),
        _moment("created", null=False),
        _moment("expires_at", null=False),
    )


session = _opening("session")
ticket = _opening("ticket")

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    _moment("at", null=False),
    _text("actor"),
    # Empty: the key of the server's machine, or nobody's.
    _text("key_id"),
    _text("method"),
    _text("route"),
    # What it was about: the path as it was asked for.
    _text("object"),
    _text("outcome"),
    _text("address"),
    _json("before"),
    _json("after"),
    sqlite_autoincrement=True,
)
