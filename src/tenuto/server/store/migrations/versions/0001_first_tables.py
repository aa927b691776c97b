"""First tables."""

import sqlalchemy as sa
from alembic import op

from tenuto.server.store.sql import types

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Do the step."""
    op.create_table(
        "agent",
        sa.Column("id", types.Id, nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("type", sa.Text(), server_default="", nullable=False),
        sa.Column("host", sa.Text(), server_default="", nullable=False),
        sa.Column("instance_id", sa.Text(), server_default="", nullable=False),
        sa.Column("labels", types.Json, server_default="[]", nullable=False),
        sa.Column("any_label", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("version", sa.Text(), server_default="", nullable=False),
        sa.Column("run_limit", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("capabilities", types.Json, server_default="[]", nullable=False),
        sa.Column("paused", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("last_seen", types.Moment(), nullable=False),
        sa.Column("created", types.Moment(), nullable=False),
        sa.Column("updated", types.Moment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agent")),
        sa.UniqueConstraint("name", "host", "instance_id", name=op.f("uq_agent_name_host_instance_id")),
    )
    op.create_table(
        "api_key",
        sa.Column("id", types.Id, nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("role", sa.Text(), server_default="", nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", types.Moment(), nullable=True),
        sa.Column("revoked_at", types.Moment(), nullable=True),
        sa.Column("last_used", types.Moment(), nullable=True),
        sa.Column("created", types.Moment(), nullable=False),
        sa.Column("updated", types.Moment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
    )
    op.create_table(
        "audit",
        sa.Column("id", types.Serial, autoincrement=True, nullable=False),
        sa.Column("at", types.Moment(), nullable=False),
        sa.Column("actor", sa.Text(), server_default="", nullable=False),
        sa.Column("key_id", sa.Text(), server_default="", nullable=False),
        sa.Column("method", sa.Text(), server_default="", nullable=False),
        sa.Column("route", sa.Text(), server_default="", nullable=False),
        sa.Column("object", sa.Text(), server_default="", nullable=False),
        sa.Column("outcome", sa.Text(), server_default="", nullable=False),
        sa.Column("address", sa.Text(), server_default="", nullable=False),
        sa.Column("before", types.Json, nullable=True),
        sa.Column("after", types.Json, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "feed",
        sa.Column("id", types.Serial, autoincrement=True, nullable=False),
        sa.Column("xid", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("topic", sa.Text(), server_default="", nullable=False),
        sa.Column("key", sa.Text(), server_default="", nullable=False),
        sa.Column("seq_from", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("seq_to", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("ts", types.Moment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feed")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("feed", schema=None) as batch_op:
        batch_op.create_index("ix_feed_place", ["xid", "id"], unique=False)

    op.create_table(
        "project",
        sa.Column("id", types.Id, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("created", types.Moment(), nullable=False),
        sa.Column("updated", types.Moment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project")),
        sa.UniqueConstraint("name", name=op.f("uq_project_name")),
    )
    op.create_table(
        "scheduled_time",
        sa.Column("schedule_id", types.Id, nullable=False),
        sa.Column("clock_key", sa.Text(), server_default="", nullable=False),
        sa.Column("at", types.Moment(), nullable=False),
        sa.Column("run_id", types.Id, nullable=True),
        sa.PrimaryKeyConstraint("schedule_id", "clock_key", "at", name=op.f("pk_scheduled_time")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("scheduled_time", schema=None) as batch_op:
        batch_op.create_index("ix_scheduled_time_at", ["schedule_id", "at"], unique=False)

    op.create_table(
        "server_beat",
        sa.Column("id", types.Id, nullable=False),
        sa.Column("started", types.Moment(), nullable=False),
        sa.Column("last_beat", types.Moment(), nullable=False),
        sa.Column("stopped", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_server_beat")),
    )
    op.create_table(
        "service_lease",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), server_default="", nullable=False),
        sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("until", types.Moment(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_service_lease")),
    )
    op.create_table(
        "transition",
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("from_state", sa.Text(), nullable=False),
        sa.Column("to_state", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("entity", "from_state", "to_state", "by", name=op.f("pk_transition")),
    )
    op.create_table(
        "flow_group",
        sa.Column("id", types.Id, nullable=False),
        sa.Column("project_id", types.Id, nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("default_parameters", types.Json, server_default="{}", nullable=False),
        sa.Column("labels", types.Json, nullable=True),
        sa.Column("run_config", types.Json, nullable=True),
        sa.Column("settings", types.Json, server_default="{}", nullable=False),
        sa.Column("registration_key", sa.Text(), nullable=True),
        sa.Column("created", types.Moment(), nullable=False),
        sa.Column("updated", types.Moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_flow_group_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flow_group")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_flow_group_project_id_name")),
    )
    op.create_table(
        "session",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", types.Id, nullable=True),
        sa.Column("machine", sa.LargeBinary(), nullable=False),
        sa.Column("created", types.Moment(), nullable=False),
        sa.Column("expires_at", types.Moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["key_id"], ["api_key.id"], name=op.f("fk_session_key_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_session")),
    )
    op.create_table(
        "ticket",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", types.Id, nullable=True),
        sa.Column("machine", sa.LargeBinary(), nullable=False),
        sa.Column("created", types.Moment(), nullable=False),
        sa.Column("expires_at", types.Moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["key_id"], ["api_key.id"], name=op.f("fk_ticket_key_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_ticket")),
    )
    op.create_table(
        "flow",
        sa.Column("id", types.Id, nullable=False),
        sa.Column("flow_group_id", types.Id, nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("archived", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("serialized", types.Json, server_default="{}", nullable=False),
        sa.Column("digest", sa.Text(), server_default="", nullable=False),
        sa.Column("storage", types.Json, nullable=True),
        sa.Column("run_config", types.Json, nullable=True),
        sa.Column("labels", types.Json, server_default="[]", nullable=False),
        sa.Column("parameters", types.Json, server_default="[]", nullable=False),
        sa.Column("source_path", sa.Text(), server_default="", nullable=False),
        sa.Column("source_sha256", sa.Text(), server_default="", nullable=False),
        sa.Column("core_version", sa.Text(), server_default="", nullable=False),
        sa.Column("python_version", sa.Text(), server_default="", nullable=False),
        sa.Column("registered_by", sa.Text(), server_default="", nullable=False),
        sa.Column("created", types.Moment(), nullable=False),
        sa.Column("updated", types.Moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["flow_group_id"], ["flow_group.id"], name=op.f("fk_flow_flow_group_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flow")),
        sa.UniqueConstraint("flow_group_id", "version", name=op.f("uq_flow_flow_group_id_version")),
    )
    op.create_table(
        "schedule",
        sa.Column("id", types.Id, nullable=False),
        sa.Column("flow_group_id", types.Id, nullable=False),
        sa.Column("described", types.Json, server_default="{}", nullable=False),
        sa.Column("is_own", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("(true)"), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("since", types.Moment(), nullable=False),
        sa.Column("created", types.Moment(), nullable=False),
        sa.Column("updated", types.Moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["flow_group_id"], ["flow_group.id"], name=op.f("fk_schedule_flow_group_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule")),
        sa.UniqueConstraint("flow_group_id", name=op.f("uq_schedule_flow_group_id")),
    )
    op.create_table(
        "flow_run",
        sa.Column("id", types.Id, nullable=False),
        sa.Column("flow_id", types.Id, nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.Text(), server_default="", nullable=False),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.Column("cause", sa.Text(), server_default="", nullable=False),
        sa.Column("state_time", types.Moment(), nullable=True),
        sa.Column("start_time", types.Moment(), nullable=True),
        sa.Column("end_time", types.Moment(), nullable=True),
        sa.Column("seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("pseq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("attempt", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("owner", sa.Text(), server_default="", nullable=False),
        sa.Column("agent_id", types.Id, nullable=True),
        sa.Column("lease_until", types.Moment(), nullable=True),
        sa.Column("token_digest", sa.LargeBinary(), nullable=True),
        sa.Column("submit_until", types.Moment(), nullable=True),
        sa.Column("due", types.Moment(), nullable=True),
        sa.Column("queue", sa.Text(), server_default="", nullable=False),
        sa.Column("rescues_left", sa.BigInteger(), server_default="3", nullable=False),
        sa.Column("rescue", sa.Text(), server_default="", nullable=False),
        sa.Column("cancel_at", types.Moment(), nullable=True),
        sa.Column("commands", types.Json, server_default="[]", nullable=False),
        sa.Column("schedule_id", types.Id, nullable=True),
        sa.Column("scheduled_for", types.Moment(), nullable=True),
        sa.Column("scheduled_start_time", types.Moment(), nullable=True),
        sa.Column("auto_scheduled", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("is_local", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("idempotency_digest", sa.LargeBinary(), nullable=True),
        sa.Column("parameters", types.Json, server_default="{}", nullable=False),
        sa.Column("context", types.Json, server_default="{}", nullable=False),
        sa.Column("labels", types.Json, server_default="[]", nullable=False),
        sa.Column("run_config", types.Json, nullable=True),
        sa.Column("header", types.Json, server_default="{}", nullable=False),
        sa.Column("created_by", sa.Text(), server_default="", nullable=False),
        sa.Column("parent_flow_run_id", types.Id, nullable=True),
        sa.Column("parent_task_run_id", types.Id, nullable=True),
        sa.Column("resumed_from", types.Id, nullable=True),
        sa.Column("created", types.Moment(), nullable=False),
        sa.Column("updated", types.Moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["flow_id"], ["flow.id"], name=op.f("fk_flow_run_flow_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flow_run")),
        sa.UniqueConstraint("flow_id", "idempotency_key", name=op.f("uq_flow_run_flow_id_idempotency_key")),
        postgresql_with={"fillfactor": 70, "autovacuum_vacuum_scale_factor": 0.02},
    )
    with op.batch_alter_table("flow_run", schema=None) as batch_op:
        batch_op.create_index(
            "ix_flow_run_claims",
            ["queue", "due", "id"],
            unique=False,
            sqlite_where=sa.text("state = 'Scheduled'"),
            postgresql_where=sa.text("state = 'Scheduled'"),
        )
        batch_op.create_index("ix_flow_run_flow", ["flow_id", "id"], unique=False)
        batch_op.create_index(
            "ix_flow_run_leases",
            ["lease_until"],
            unique=False,
            sqlite_where=sa.text("lease_until IS NOT NULL"),
            postgresql_where=sa.text("lease_until IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_flow_run_parent",
            ["parent_flow_run_id"],
            unique=False,
            sqlite_where=sa.text("parent_flow_run_id IS NOT NULL"),
            postgresql_where=sa.text("parent_flow_run_id IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_flow_run_schedule",
            ["schedule_id", "state"],
            unique=False,
            sqlite_where=sa.text("schedule_id IS NOT NULL"),
            postgresql_where=sa.text("schedule_id IS NOT NULL"),
        )
        batch_op.create_index("ix_flow_run_state", ["state", "id"], unique=False)

    op.create_table(
        "artifact",
        sa.Column("id", types.Id, nullable=False),
        sa.Column("run_id", types.Id, nullable=False),
        sa.Column("task_run_id", types.Id, nullable=True),
        sa.Column("kind", sa.Text(), server_default="", nullable=False),
        sa.Column("key", sa.Text(), server_default="", nullable=False),
        sa.Column("body", types.Json, nullable=True),
        sa.Column("created", types.Moment(), nullable=False),
        sa.Column("updated", types.Moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["flow_run.id"], name=op.f("fk_artifact_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_artifact")),
    )
    with op.batch_alter_table("artifact", schema=None) as batch_op:
        batch_op.create_index("ix_artifact_run", ["run_id", "id"], unique=False)

    op.create_table(
        "log_chunk",
        sa.Column("run_id", types.Id, nullable=False),
        sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("lseq_from", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("lseq_to", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("dropped", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bytes", sa.LargeBinary(), nullable=False),
        sa.Column("recv_ts", types.Moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["flow_run.id"], name=op.f("fk_log_chunk_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "epoch", "lseq_from", name=op.f("pk_log_chunk")),
    )
    op.create_table(
        "run_event",
        sa.Column("run_id", types.Id, nullable=False),
        sa.Column("seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("pseq", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("task_run_id", types.Id, nullable=True),
        sa.Column("ts", types.Moment(), nullable=False),
        sa.Column("recv_ts", types.Moment(), nullable=False),
        sa.Column("payload", types.Json, server_default="{}", nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["flow_run.id"], name=op.f("fk_run_event_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "seq", name=op.f("pk_run_event")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("run_event", schema=None) as batch_op:
        batch_op.create_index(
            "ix_run_event_producer",
            ["run_id", "epoch", "pseq"],
            unique=True,
            sqlite_where=sa.text("pseq IS NOT NULL"),
            postgresql_where=sa.text("pseq IS NOT NULL"),
        )

    op.create_table(
        "slot",
        sa.Column("limit_name", sa.Text(), server_default="", nullable=False),
        sa.Column("run_id", types.Id, nullable=False),
        sa.Column("task_run_id", sa.Text(), server_default="", nullable=False),
        sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("until", types.Moment(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["flow_run.id"], name=op.f("fk_slot_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("limit_name", "run_id", "task_run_id", name=op.f("pk_slot")),
    )
    op.create_table(
        "task_run",
        sa.Column("run_id", types.Id, nullable=False),
        sa.Column("task_run_id", types.Id, nullable=False),
        sa.Column("slug", sa.Text(), server_default="", nullable=False),
        sa.Column("map_index", sa.BigInteger(), server_default="-1", nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.Text(), server_default="", nullable=False),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.Column("cause", sa.Text(), server_default="", nullable=False),
        sa.Column("state_time", types.Moment(), nullable=True),
        sa.Column("start_time", types.Moment(), nullable=True),
        sa.Column("end_time", types.Moment(), nullable=True),
        sa.Column("seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("attempt", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("run_count", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("due", types.Moment(), nullable=True),
        sa.Column("children", sa.BigInteger(), nullable=True),
        sa.Column("result_ref", sa.Text(), server_default="", nullable=False),
        sa.Column("result_sha256", sa.Text(), server_default="", nullable=False),
        sa.Column("result_len", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["flow_run.id"], name=op.f("fk_task_run_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "task_run_id", name=op.f("pk_task_run")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("task_run", schema=None) as batch_op:
        batch_op.create_index("ix_task_run_id", ["task_run_id"], unique=False)
