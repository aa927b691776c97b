"""A real PostgreSQL server on loopback, run by an unprivileged user, gone with who started it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path
from typing import Any

import psycopg

# Runs the server until its own input ends: that of a process that was killed does, too.
_KEEPER = """
import json, signal, subprocess, sys
options = json.loads(sys.argv[1])
server = subprocess.Popen(options["command"], stdin=subprocess.DEVNULL, **options["as_user"])
print(server.pid, flush=True)
sys.stdin.read()
server.send_signal(signal.SIGQUIT)
server.wait()
"""
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "log_min_messages": "fatal",
    "log_destination": "stderr",
    "lc_messages": "C",
}


def binary(name: str) -> str:
    """Return the path of a program of PostgreSQL: on the PATH, or where Debian keeps it."""
    found = shutil.which(name)
    if found is None:
        places = sorted(glob(f"/usr/lib/postgresql/*/bin/{name}"))
        assert places, (
            f"{name} of PostgreSQL was not found. Install postgresql: scripts/test does it as root."
        )
        found = places[-1]
    return found


def _as_user() -> dict[str, Any]:
    """Return how programs are started that refuse to be run by root."""
    if os.getuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


class PostgresServer:
    """A server, its databases, and what fault tests do to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "data"
        user = _as_user()
        if user:
            os.chown(folder, user["user"], user["group"])
        initdb = [binary("initdb"), "-D", str(self._data), "-U", "tenuto", "-A", "trust", "-E", "UTF8"]
        subprocess.run(
            [*initdb, "--locale=C", "--no-sync", "--no-instructions"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
            **user,
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._keeper: subprocess.Popen[str] | None = None
        self.start()

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database."""
        return f"postgresql://tenuto@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        import json

        settings = {**_SETTINGS, "port": str(self.port), "unix_socket_directories": str(self._folder)}
        command = [binary("postgres"), "-D", str(self._data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        told = json.dumps({"command": command, "as_user": _as_user()})
        with (self._folder / "log").open("a") as log:
            self._keeper = subprocess.Popen(
                [sys.executable, "-c", _KEEPER, told],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd="/",
                start_new_session=True,
            )
        assert self._keeper.stdout is not None
        self.pid = int(self._keeper.stdout.readline())
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                assert self._keeper.poll() is None, (self._folder / "log").read_text()

    def stop(self) -> None:
        """Stop the server at once, as a crash would: it recovers when it is started again."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.communicate()

    def kill(self) -> None:
        """Kill the server's main process."""
        os.kill(self.pid, signal.SIGKILL)
        self.stop()

    def execute(self, statement: str) -> None:
        """Run a statement that is no part of a transaction."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement.encode())

    def terminate_backends(self) -> None:
        """End all connections but the one that asks for it."""
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """Give the URL of a new database, a copy of another; it is gone afterwards."""
        name = f"test_{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a server of its own."""
    folder = Path(tempfile.mkdtemp(prefix="tenuto-postgres-"))
    server = None
    try:
        server = PostgresServer(folder)
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder)
