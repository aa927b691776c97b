"""Which server this process speaks to, found out without speaking to it."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenuto.configuration import config, home_path
from tenuto.exceptions import ConfigurationError
from tenuto.journal.process import ProcessIdentity, host_name, is_running

__all__ = ["ServerAddress", "configured_server", "is_down"]

_LOOPBACK = ("127.0.0.1", "[::1]", "localhost")


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """
    Where a server is, and the key for it.

    Attributes:
        url: without a slash at its end.
        key: empty where there is none.
    """

    url: str
    key: str = ""

    def __repr__(self) -> str:
        return f"<ServerAddress: {self.url}>"  # The key is a secret.


def configured_server() -> ServerAddress | None:
    """
    Return the server of the setting `cloud.api`, else the one that runs on this machine with this home.

    Its key is that of `cloud.api_key`, else that of `auth.toml` for its URL, else, for a server of this
    machine, the one that it has left in the home folder.

    Raises:
        ConfigurationError: if `auth.toml` cannot be read.
    """
    home = home_path()
    url = str(config.cloud.api or "").rstrip("/") or _running_here(home)
    if not url:
        return None
    key = str(config.cloud.api_key or "") or _logged_in_key(home, url)
    if not key and _is_loopback(url):
        key = _text_of(home / "server.key")
    return ServerAddress(url, key)


def _running_here(home: Path) -> str:
    """Return the URL in `server.json`, if the process that has left it is still there."""
    text = _text_of(home / "server.json")
    if not text:
        return ""
    try:
        found: dict[str, Any] = json.loads(text)
        server = ProcessIdentity(
            str(found["host"]), str(found["boot_id"]), int(found["pid"]), int(found["start_ticks"])
        )
        url = str(found["url"]).rstrip("/")
    except (ValueError, KeyError, TypeError):
        return ""  # Of another version: whoever wrote it is asked for by `cloud.api`.
    return url if server.host == host_name() and is_running(server) else ""


def _logged_in_key(home: Path, url: str) -> str:
    path = home / "auth.toml"
    text = _text_of(path)
    if not text:
        return ""
    try:
        known = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(str(path), f"it is not TOML ({error})") from error
    for server, access in known.items():
        if server.rstrip("/") == url and isinstance(access, dict):
            return str(access.get("api_key", ""))
    return ""


def is_down(server: ServerAddress) -> bool:
    """Say whether nobody listens where a server of this machine was; of others, only requests can tell."""
    if not _is_loopback(server.url):
        return False
    import socket
    from urllib.parse import urlsplit  # Late, as is the next: runs without a server need neither.

    where = urlsplit(server.url)
    try:
        socket.create_connection((where.hostname, where.port or 80), timeout=1).close()
    except ConnectionRefusedError:
        return True
    except (OSError, ValueError):
        pass  # Whatever that is, the HTTP client tells it better.
    return False


def _is_loopback(url: str) -> bool:
    """Say whether a URL leads to this machine: no other is ever sent the key of the local server."""
    host = url.partition("://")[2].partition("/")[0]
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host) in _LOOPBACK


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
