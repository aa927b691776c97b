"""The schema of a database: which version it has, and how it gets to that of this program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tenuto._base.failpoints import failpoint
from tenuto.exceptions import PrefectException
from tenuto.server.domain.lifecycle import rows
from tenuto.server.store import migrations
from tenuto.server.store.sql import tables

__all__ = ["SchemaTooNew", "pending_steps", "upgrade"]

_FOLDER = Path(migrations.__file__).parent


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
    Return the numbers of the steps that a database lacks, in order.

    Raises:
        SchemaTooNew: when it has one that this program does not know.
    """
    known = sorted(path.name.partition("_")[0] for path in _FOLDER.glob("versions/[0-9]*.py"))
    current = _current_step(connection)
    if current is None:
        return known
    if current not in known:
        raise SchemaTooNew(current)
    return known[known.index(current) + 1 :]


def _current_step(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    step: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return step


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
        if steps or not _knows_transitions(connection):
            _write_transitions(connection)
        failpoint("migration.before_commit")
    return steps


def _run(connection: sa.Connection) -> None:
    # Late: importing Alembic takes longer than all else that a server does before it is ready, and most find
    # their database as they left it.
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)

    def steps(revision: Any, _: Any) -> Any:
        return scripts._upgrade_revs("head", revision)

    with EnvironmentContext(config, scripts, fn=steps):
        scripts.run_env()


def _knows_transitions(connection: sa.Connection) -> bool:
    table = tables.transition
    known = connection.execute(sa.select(table.c.entity, table.c.from_state, table.c.to_state, table.c.by))
    return {tuple(row) for row in known} == {tuple(map(str, row)) for row in rows()}


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
