"""One server process from start to end: database, services, HTTP, and what it leaves in the home folder."""

from __future__ import annotations

import json
import logging
import os
import secrets
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from tenuto._base.files import ensure_private_dir, write_atomic
from tenuto.exceptions import PrefectException
from tenuto.journal.process import this_process
from tenuto.server.api.access import Access
from tenuto.server.app import make_app
from tenuto.server.services.running import running_services
from tenuto.server.settings import Settings
from tenuto.server.store.sql.database import Database
from tenuto.server.store.sql.keys import has_keys
from tenuto.server.store.sql.opening import open_database
from tenuto.server.store.sql.sessions import create_ticket

__all__ = ["AddressInUse", "KeyNeeded", "loopback_key", "serve"]

_FINISH_SECONDS = 10
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class AddressInUse(PrefectException, OSError):
    """Something else listens where the server was to."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            f"Something already listens at {host}:{port}. Stop it, or take another port: --port 0 finds a "
            "free one."
        )


class KeyNeeded(PrefectException, RuntimeError):
    """The server would be open to everybody who reaches it."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"A server at {host} can be reached from elsewhere, and there is no API key yet. Start it for "
            "this machine first (tenuto server start), and make one: "
            "tenuto auth create-key -n NAME --role admin"
        )


@dataclass(frozen=True, slots=True)
class Running:
    """
    A server that listens.

    Attributes:
        url: where people and programs reach it.
        key: of this machine's programs; empty where none is needed.
        ticket: what a browser on this machine opens a session with; empty where none is needed.
    """

    url: str
    key: str
    ticket: str = ""

    @property
    def open_url(self) -> str:
        """What a browser on this machine is to open."""
        return f"{self.url}/login?ticket={self.ticket}" if self.ticket else self.url


def serve(settings: Settings, on_ready: Callable[[Running], None]) -> None:
    """
    Run a server until it is told to stop (SIGTERM, SIGINT); a second signal stops it at once.

    Raises:
        AddressInUse, KeyNeeded, DatabaseInUse, DatabaseOnNetwork, SchemaTooNew, StoreUnavailable.
    """
    os.umask(0o077)
    _log_to_stderr()
    with ExitStack() as stack:
        listening = stack.enter_context(_listening(settings))
        database = stack.enter_context(open_database(settings))
        key = _key_for(settings, database)
        app = make_app(settings, database, key)
        if settings.services:
            app.state.services = stack.enter_context(running_services(database, settings.timings))
        running = Running(_url(settings, listening), key)
        if settings.is_loopback:
            stack.enter_context(_told_at_home(settings.home, running))
        server = _Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_FINISH_SECONDS,
                timeout_keep_alive=75,
                ws_max_size=1 << 20,
                h11_max_incomplete_event_size=16 << 10,
            ),
            lambda: on_ready(replace(running, ticket=_ticket(app, key))),
        )
        server.run(sockets=[listening])


def _ticket(app: FastAPI, key: str) -> str:
    """Return a ticket for the browser of whoever has started the server."""
    if not key:
        return ""
    access: Access = app.state.access
    return access.database.write(partial(create_ticket, key_id="", machine=access.machine))


def _log_to_stderr() -> None:
    """Show what the server has to say on stderr, a line each; requests that went well are not told."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s | %(message)s"))
    for name, level in {"tenuto.server": logging.INFO, "uvicorn.error": logging.WARNING}.items():
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.handlers[:] = [handler]
        logger.propagate = False


class _Server(uvicorn.Server):
    """Tells when it takes requests, and that it is about to stop."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take signals as requests to stop. Uvicorn's own would end the process by them, after serving."""
        before = {number: signal.signal(number, self._told_to_stop) for number in _STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _told_to_stop(self, number: int, frame: Any) -> None:
        """Finish what was begun; told twice, drop it."""
        self.force_exit = self.should_exit
        self.should_exit = True
        app: Any = self.config.app
        app.state.is_draining = True
        app.state.hub.close()


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # The protocol by its name: asyncio turns Nagle's algorithm off for sockets that name it only, and with it
    # each answer waits 40 ms for the client's delayed acknowledgement.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((settings.host, settings.port))
        except OSError as error:
            raise AddressInUse(settings.host, settings.port) from error
        yield listening


def _url(settings: Settings, listening: socket.socket) -> str:
    if settings.public_url:
        return settings.public_url.rstrip("/")
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{listening.getsockname()[1]}{settings.base_path}"


def _key_for(settings: Settings, database: Database) -> str:
    """Return the key of this machine's programs, or refuse to be open to everybody."""
    if settings.is_loopback:
        return loopback_key(settings.home) if settings.auth else ""
    if not settings.auth or not database.read(has_keys):
        raise KeyNeeded(settings.host)
    return ""


def loopback_key(home: Path) -> str:
    """Return the key by which programs of this user reach the server; make it where there is none."""
    path = home / "server.key"
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        ensure_private_dir(home)
        write_atomic(path, [secrets.token_urlsafe(32).encode()], private=True, fsync=True)
        return path.read_text().strip()


@contextmanager
def _told_at_home(home: Path, running: Running) -> Iterator[None]:
    """Say in the home folder where the server is, as long as it is."""
    path = home / "server.json"
    me = this_process()
    known = {"url": running.url, "pid": me.pid, "boot_id": me.boot_id, "start_ticks": me.start_ticks}
    ensure_private_dir(home)
    write_atomic(path, [json.dumps({**known, "host": me.host}).encode()], private=True, fsync=False)
    try:
        yield
    finally:
        if _pid_in(path) == me.pid:
            path.unlink(missing_ok=True)


def _pid_in(path: Path) -> int | None:
    try:
        pid: int = json.loads(path.read_text())["pid"]
        return pid
    except (OSError, ValueError, KeyError, TypeError):
        return None
