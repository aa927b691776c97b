"""Servers on this machine that tests start and stop."""

import os
import signal
import socketserver
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any, Self

__all__ = ["LocalServer", "TenutoServer"]

READY = "Tenuto server ready at "


class LocalServer:
    """Serves in a thread of its own until `stop`."""

    def __init__(self, server: socketserver.BaseServer) -> None:
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections from now on; those that are open end first."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class TenutoServer:
    """
    `tenuto server start` in a process of its own, ready when this returns.

    Args:
        home: its home folder; the database is in it.
        arguments: further ones of the command.
        port: where it listens; 0 takes a free one.
    """

    def __init__(self, home: Path, *arguments: str, port: int = 0) -> None:
        self.home = home
        self._arguments = arguments
        self._port = port
        self.start()

    def start(self) -> None:
        """Start it, anew or for the first time."""
        command = [sys.executable, "-m", "tenuto", "server", "start", "--port", str(self._port)]
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self.home / "server.err", "ab") as errors:
            self.process = subprocess.Popen(
                [*command, *self._arguments],
                env={**os.environ, "TENUTO__HOME_DIR": str(self.home)},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if line.startswith(READY):
                self.url = line.removeprefix(READY).strip()
                self.key = (self.home / "server.key").read_text()
                return
        self.process.wait()
        self.process.stdout.close()
        raise AssertionError(f"The server did not start: {lines}\n{(self.home / 'server.err').read_text()}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it by a signal, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop(signal.SIGKILL)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Read from its database, which it goes on writing."""
        with closing(sqlite3.connect(f"file:{self.home / 'tenuto.db'}?mode=ro", uri=True)) as connection:
            return connection.execute(query, values).fetchall()
