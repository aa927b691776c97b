"""The schema of a database: which version it has, and how it gets to that of this program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from tenuto._base.failpoints import failpoint
from tenuto.exceptions import PrefectException
from tenuto.server.domain.lifecycle import rows
from tenuto.server.store import migrations
from tenuto.server.store.sql import tables

__all__ = ["SchemaTooNew", "pending_steps", "upgrade"]


class SchemaTooNew(PrefectException, RuntimeError):
    """A newer version of Tenuto has used the database."""

    def __init__(self, revision: str) -> None:
        self.revision = revision
        super().__init__(
            f"The database is of a newer version of Tenuto (schema {revision}). Install that version, or use "
            "another database: --db PATH."
        )


def pending_steps(connection: sa.Connection) -> list[str]:
    """
    Return the names of the steps that a database lacks, in order.

    Raises:
        SchemaTooNew: when it has one that this program does not know.
    """
    scripts = ScriptDirectory.from_config(_config(connection))
    current = MigrationContext.configure(connection).get_current_revision()
    known = [script.revision for script in scripts.walk_revisions()]
    if current is not None and current not in known:
        raise SchemaTooNew(current)
    missing = known if current is None else known[: known.index(current)]
    return missing[::-1]


def upgrade(engine: sa.Engine) -> list[str]:
    """
    Bring a database to this program's schema, all or nothing; return the steps that were taken.

    Raises:
        SchemaTooNew: see `pending_steps`.
    """
    with engine.connect() as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            # Two servers that start at once: the second waits, and finds nothing left to do.
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(8315017)"))
        steps = pending_steps(connection)
        if steps:
            _run(connection)
            failpoint("migration.before_transitions")
        _write_transitions(connection)
        failpoint("migration.before_commit")
    return steps


def _config(connection: sa.Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.attributes["connection"] = connection
    return config


def _run(connection: sa.Connection) -> None:
    config = _config(connection)
    scripts = ScriptDirectory.from_config(config)

    def steps(revision: Any, _: Any) -> Any:
        return scripts._upgrade_revs("head", revision)

    with EnvironmentContext(config, scripts, fn=steps):
        scripts.run_env()


def _write_transitions(connection: sa.Connection) -> None:
    """Write the table of transitions, for those who ask the database by hand."""
    table = tables.transition
    connection.execute(sa.delete(table))
    connection.execute(
        sa.insert(table),
        [
            {"entity": entity, "from_state": source, "to_state": target, "by": author}
            for entity, source, target, author in rows()
        ],
    )
