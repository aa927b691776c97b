"""A claim takes no longer when more is due: it reads what it hands out."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tenuto.server.store.sql.sqlite import SqliteDatabase
from tests.contracts.server_stores import Clock, Server, sqlite_store


def test_claim_finds_what_is_due_by_the_index_of_claims_and_sorts_nothing(tmp_path: Path) -> None:
    clock = Clock()
    with sqlite_store(tmp_path, clock) as database:
        assert isinstance(database, SqliteDatabase)
        server = Server(database, clock)
        made = [server.new_run(), server.new_run("a"), server.new_run("a")]
        statements: list[tuple[str, Any]] = []

        def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
            if "state = 'Scheduled'" in statement:
                statements.append((statement, parameters))

        sa.event.listen(database.engine, "before_cursor_execute", note)
        granted = server.claim("a", any_label=True, limit=2)
        sa.event.remove(database.engine, "before_cursor_execute", note)
        plans = [plan_of(database, *each) for each in statements]

    assert [grant.run["id"] for grant in granted] == sorted(made)[:2]
    assert plans
    for plan in plans:
        assert "ix_flow_run_claims" in plan
        assert "TEMP B-TREE" not in plan


def plan_of(database: SqliteDatabase, statement: str, parameters: Any) -> str:
    """Return how SQLite would go about a statement."""
    with database.engine.connect() as connection:
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return "\n".join(row[3] for row in rows)
