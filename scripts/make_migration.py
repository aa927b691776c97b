"""
Write the step from the newest migration to the tables as they are: scripts/make_migration.py NUMBER TEXT.

Read what it writes before it is committed: it is a draft.
"""

import sys
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from tenuto.server.store import migrations
from tenuto.server.store.sql.schema import upgrade


def main(number: str, text: str) -> None:
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    if any(Path(migrations.__file__).parent.glob("versions/[0-9]*.py")):
        upgrade(engine)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.revision(config, text, autogenerate=True, rev_id=number)


if __name__ == "__main__":
    main(*sys.argv[1:])
