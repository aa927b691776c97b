"""Servers in processes of their own that start at once, so that a test can kill one a hundred times."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Self

from tenuto._base.failpoints import Failpoint, armed
from tenuto.client.configured import ServerAddress
from tenuto.server.domain.timings import Timings
from tenuto.server.serve import Running, serve
from tenuto.server.settings import Settings
from tenuto.server.store.sql.database import Database
from tenuto.server.store.sql.postgresql import PostgresqlDatabase
from tenuto.server.store.sql.sqlite import SqliteDatabase
from tests.contracts.server_stores import migrated_file
from tests.fakes.ports import free_port

__all__ = ["DIVISOR", "FORKED", "FaultServer", "ServerEnded"]

DIVISOR = 20.0
"""By how much the constants of the protocol are divided, so that a test sees leases end."""
SECONDS_MAX = 120.0
PR_SET_PDEATHSIG = 1
# Children are forked off a process that has imported the server and has no threads.
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(
    [
        __name__,
        "tenuto.server.app",
        "alembic.config",
        "alembic.runtime.environment",
        "alembic.script",
        "anyio._backends._asyncio",
        "uvicorn.lifespan.on",
        "uvicorn.loops.asyncio",
        "uvicorn.protocols.http.h11_impl",
        "uvicorn.protocols.websockets.websockets_sansio_impl",
        "websockets.server",
    ]
)


_SPAWNED = multiprocessing.get_context("spawn")


class ServerEnded(AssertionError):
    """A server ended where it was expected to go on."""


class FaultServer:
    """
    A server at one address, as often as it is started; killed when the context ends.

    Args:
        home: its home folder; by default its database is in it.
        database: the URL of a PostgreSQL database.
        divisor: of all constants of the protocol; may be set before a start.
        env: variables that it is started with.
    """

    def __init__(
        self,
        home: Path,
        database: str = "",
        divisor: float = DIVISOR,
        env: Mapping[str, str] | None = None,
    ) -> None:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.home = home
        self.divisor = divisor
        if not database:
            (home / "tenuto.db").write_bytes(migrated_file())
        self._faults = home / "faults"
        self._port = free_port()
        self._database = database
        self._env = env
        self._process: BaseProcess | None = None
        self._address: ServerAddress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()

    def start(self, *points: Failpoint) -> Self:
        """
        Start it with these fail points armed; it is ready when this returns.

        Raises:
            ServerEnded: when it ends before, a fail point's kill for instance.
        """
        assert self._process is None, "It runs already."
        # What is in front of the C library has to be there when a program starts; a fork comes too late.
        processes: Any = FORKED if self._env is None else _SPAWNED
        ready, said = processes.Pipe(duplex=False)
        arguments = (self.settings, points, self._faults, said)
        self._process = process = processes.Process(target=_serve, args=arguments, daemon=True)
        with ready:
            with _environment(self._env or {}):
                process.start()
            said.close()
            try:
                url, key = ready.recv()
            except EOFError:
                code = self.wait()
                raise ServerEnded(f"The server ended ({code}) before it was ready:\n{self.errors}") from None
        self._address = ServerAddress(url, key)
        return self

    @property
    def settings(self) -> Settings:
        """How it runs, from its next start on."""
        timings = Timings().divided(self.divisor)
        return Settings(home=self.home, port=self._port, database=self._database, timings=timings)

    @property
    def address(self) -> ServerAddress:
        """Where it is or was, and the key for it."""
        assert self._address is not None, "It was never started."
        return self._address

    @property
    def pid(self) -> int:
        pid = None if self._process is None else self._process.pid
        assert pid is not None, "It does not run."
        return pid

    @property
    def is_running(self) -> bool:
        """Whether it runs: a fail point may have killed it."""
        return self._process is not None and self._process.is_alive()

    @property
    def faults(self) -> int:
        """How often an armed action was done, over all starts."""
        return len(self._faults.read_text().splitlines()) if self._faults.exists() else 0

    @property
    def errors(self) -> str:
        """What it has written to stderr, over all starts."""
        path = self.home / "server.err"
        return path.read_text(errors="replace") if path.exists() else ""

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it (SIGKILL), if it runs."""
        if self._process is not None:
            self._process.kill()
            self.wait()

    def terminate(self) -> int:
        """Ask it to end (SIGTERM), and return its exit code."""
        self.send(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end, and return its exit code; negative: the signal that has ended it."""
        assert self._process is not None, "It does not run."
        self._process.join(SECONDS_MAX)
        code = self._process.exitcode
        assert code is not None, f"The server has not ended:\n{self.errors}"
        self._process.close()
        self._process = None
        return code

    @contextmanager
    def store(self) -> Iterator[Database]:
        """Give its database, to be read beside the server."""
        database: Database
        if self.settings.is_postgresql:
            database = PostgresqlDatabase(self.settings.database)
        else:
            database = SqliteDatabase(self.settings.sqlite_path, partial(datetime.now, UTC))
        try:
            yield database
        finally:
            database.close()


@contextmanager
def _environment(added: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def _serve(settings: Settings, points: tuple[Failpoint, ...], faults: Path, said: Connection) -> None:
    """Be a server: the body of its process."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    errors = os.open(settings.home / "server.err", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(errors, 1)
    os.dup2(errors, 2)
    descriptor = os.open(faults, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def tell(running: Running) -> None:
        said.send((running.url, running.key))
        said.close()

    for point in points:
        point.on_action = lambda name: os.write(descriptor, f"{os.getpid()} {name}\n".encode())
    with armed(*points):
        serve(settings, tell)
