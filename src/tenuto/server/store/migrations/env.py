"""What Alembic runs the steps with: the connection that the server hands over."""

from typing import Any, Literal

from alembic import context

from tenuto.server.store.sql import types
from tenuto.server.store.sql.tables import metadata

_NAMES = {id(getattr(types, name)): name for name in types.__all__}


def render(kind: str, item: Any, autogenerate: Any) -> str | Literal[False]:
    """Write the types of columns by the names that the tables use."""
    if kind != "type":
        return False
    name = "Moment()" if isinstance(item, types.Moment) else _NAMES.get(id(item))
    if name is None:
        return False
    autogenerate.imports.add("from tenuto.server.store.sql import types")
    return f"types.{name}"


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    render_item=render,
    compare_server_default=False,
)
with context.begin_transaction():
    context.run_migrations()
