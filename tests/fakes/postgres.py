"""
A real PostgreSQL for tests, on loopback, with a folder of its own.

A shell in a session of its own makes the database cluster, starts it and waits on a pipe from this process.
When the pipe ends, by `stop`, Ctrl-C or the death of the tests, it stops the cluster and removes the folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.fakes.ports import free_port

__all__ = ["PostgresCannotStart", "PostgresServer", "postgres_server"]

PROGRAMS = ("initdb", "pg_ctl", "postgres")
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "synchronous_commit": "on",
    "shared_buffers": "16MB",
    "max_wal_size": "256MB",
    "max_connections": "100",
}
# What the shell does: `$1` is the folder of the programs, `$2` that of the cluster. Each line that it reads
# holds arguments for pg_ctl, and is answered by the exit code. The end of input is the end of the cluster.
KEEPER = """
bin=$1 folder=$2
trap '' INT TERM HUP
cd "$folder"
"$bin/initdb" --no-sync --no-locale --encoding=UTF8 --username=postgres --auth=trust data >setup.log 2>&1
echo $?
while read -r arguments; do
  "$bin/pg_ctl" --pgdata=data --wait --timeout=60 --log=server.log $arguments >>setup.log 2>&1
  echo $?
done
"$bin/pg_ctl" --pgdata=data --wait --mode=immediate stop >/dev/null 2>&1
rm -rf "$folder"
"""
STARTS_MAX = 5


class PostgresCannotStart(RuntimeError):
    """The tests of PostgreSQL cannot run here: that is a failure, nothing to skip."""


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a server; what it wrote goes with it."""
    server = PostgresServer()
    try:
        server.start_at_free_port()
        yield server
    finally:
        server.close()


class PostgresServer:
    """
    A server, its databases, and what fault tests do to it.

    Attributes:
        folder: all that it writes.
        port: where it listens on 127.0.0.1, the same after a restart.
    """

    def __init__(self) -> None:
        programs = find_programs()
        self.port = 0
        self.folder = Path(make_folder())
        self._keeper = subprocess.Popen(
            ["/bin/sh", "-c", KEEPER, "keeper", programs, str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=self.folder,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            text=True,
            start_new_session=True,
            **unprivileged_user(),
        )

    def start_at_free_port(self) -> None:
        """Start it for the first time; another process may take the port meanwhile, so try a few."""
        self._check_answer("initdb")
        for tries in range(1, STARTS_MAX + 1):
            self.port = free_port()
            settings = {**SETTINGS, "port": str(self.port)}
            lines = [f"{name} = '{value}'\n" for name, value in settings.items()]
            (self.folder / "data" / "postgresql.auto.conf").write_text("".join(lines))
            try:
                self.start()
                break
            except PostgresCannotStart:
                if tries == STARTS_MAX:
                    raise
        self.execute("CREATE ROLE tenuto LOGIN")

    def close(self) -> None:
        """End it, and remove everything that it has written."""
        self._keeper.communicate()

    # ---------------------------------------------------------------------------------------------- faults

    def restart(self, *, immediate: bool = True) -> None:
        """Stop and start it."""
        self.stop(immediate=immediate)
        self.start()

    def stop(self, *, immediate: bool = True) -> None:
        """Stop it, until `start`. `immediate`: as a crash would, so that it has to recover then."""
        self._control(f"stop --mode={'immediate' if immediate else 'fast'}")

    def start(self) -> None:
        """Start it, and return when it takes connections."""
        self._control("start")

    def terminate_backends(self, database: str | None = None, *, limit: int | None = None) -> int:
        """End the sessions of clients, picked at random, in all databases or one; return how many."""
        with self.connect() as connection:
            ended = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                " AND (%(database)s::text IS NULL OR datname = %(database)s)"
                " ORDER BY random() LIMIT %(limit)s) picked",
                {"database": database, "limit": limit},
            ).fetchall()
        return sum(done for (done,) in ended)

    # ------------------------------------------------------------------------------------------- databases

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """Give the URL of a new database, a copy of the template, owned by a user without other rights."""
        name = f"test_{uuid.uuid4().hex}"
        self.execute(f'CREATE DATABASE "{name}" OWNER tenuto TEMPLATE "{template}"')
        try:
            yield f"postgresql://tenuto@127.0.0.1:{self.port}/{name}"
        finally:
            self.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def execute(self, statement: str) -> None:
        """Run a statement that is no part of a transaction, with all rights."""
        with self.connect() as connection:
            connection.execute(statement.encode())

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """Return a connection with all rights that commits each statement."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", dbname=database, autocommit=True
        )

    # ---------------------------------------------------------------------------------------------- keeper

    def _control(self, arguments: str) -> None:
        assert self._keeper.stdin is not None
        self._keeper.stdin.write(arguments + "\n")
        self._keeper.stdin.flush()
        self._check_answer(arguments)

    def _check_answer(self, what: str) -> None:
        assert self._keeper.stdout is not None
        answer = self._keeper.stdout.readline().strip()
        if answer == "0":
            return
        logs = [self.folder / name for name in ("setup.log", "server.log")]
        text = "\n".join(path.read_text() for path in logs if path.exists())
        raise PostgresCannotStart(f"PostgreSQL did not do {what!r} (exit {answer or 'unknown'}):\n{text}")


def find_programs(installed: Path = Path("/usr/lib/postgresql")) -> str:
    """
    Return the folder of PostgreSQL's programs: on the PATH, else the newest that Debian's packages installed.

    Raises:
        PostgresCannotStart: if there is none.
    """
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(installed.glob("*/bin"), key=version_of, reverse=True)
    for folder in folders:
        if all((folder / name).exists() for name in PROGRAMS):
            return str(folder)
    raise PostgresCannotStart(
        f"PostgreSQL ({', '.join(PROGRAMS)}) was not found. Put its programs on the PATH, or install it: on "
        "Debian, apt-get install postgresql."
    )


def version_of(folder: Path) -> int:
    name = folder.parent.name
    return int(name) if name.isdigit() else 0


def unprivileged_user() -> dict[str, Any]:
    """Return what makes a process another user's, as PostgreSQL refuses to be root's."""
    if os.geteuid() != 0:
        return {}
    import pwd

    known = {user.pw_name: user for user in pwd.getpwall()}
    user = known.get("postgres") or known.get("nobody")
    if user is None:
        raise PostgresCannotStart("PostgreSQL cannot run as root, and there is no user postgres or nobody.")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def make_folder() -> str:
    """Make a folder that belongs to the server's user, below a folder that this user can reach."""
    user = unprivileged_user()
    parents = [tempfile.gettempdir(), "/tmp", "/var/tmp"]
    parent = next((path for path in parents if not user or is_open_to_all(path)), None)
    if parent is None:
        raise PostgresCannotStart(f"No other user can reach one of these folders: {', '.join(parents)}.")
    folder = tempfile.mkdtemp(prefix="tenuto-postgres-", dir=parent)
    if user:
        os.chown(folder, user["user"], user["group"])
    return folder


def is_open_to_all(path: str) -> bool:
    """Say whether everybody may go through a folder and those above it."""
    folder = Path(path).resolve()
    return folder.is_dir() and all(each.stat().st_mode & 0o001 for each in (folder, *folder.parents))
