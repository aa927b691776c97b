"""The server's settings: one frozen object, made once at the start and handed down."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenuto.server.domain.timings import Timings

__all__ = ["Settings"]

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """
    How a server runs.

    Attributes:
        home: folder of the key, of `server.json` and, by default, of the database.
        host, port: where it listens; port 0 takes a free one.
        database: a path, or the URL of a PostgreSQL database.
        public_url: base of printed and sent links; empty: where it listens.
        base_path: in front of every path, such as `/tenuto`, where a proxy passes on a part of its own.
        allowed_hosts: names, beside those of loopback, that requests may be addressed to.
        auth: whether requests need a key; only a server on loopback may do without.
        durability: `full` or `relaxed`.
        services: whether its background services run.
        timings: of the protocol.
    """

    home: Path
    host: str = "127.0.0.1"
    port: int = 4200
    database: str = ""
    public_url: str = ""
    base_path: str = ""
    allowed_hosts: tuple[str, ...] = ()
    auth: bool = True
    durability: str = "full"
    services: bool = True
    timings: Timings = field(default_factory=Timings)

    @classmethod
    def from_config(cls, server: Any, home: Path, **given: Any) -> Settings:
        """
        Return the settings of the section `server` of a configuration.

        Args:
            server: that section.
            home: the home folder.
            given: what flags say, None where they say nothing; they win.
        """
        values: dict[str, Any] = {
            "host": server.host,
            "port": int(server.port),
            "database": server.database.connection_url,
            "public_url": server.public_url,
            "base_path": server.base_path,
            "allowed_hosts": tuple(server.allowed_hosts),
            "auth": bool(server.auth),
            "durability": server.durability,
        }
        values.update({name: value for name, value in given.items() if value is not None})
        values["base_path"] = _base_path(values["base_path"])
        return cls(home=home, **values)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches the server."""
        return self.host in LOOPBACK

    @property
    def is_postgresql(self) -> bool:
        return self.database.startswith(("postgresql:", "postgres:", "postgresql+"))

    @property
    def database_shown(self) -> str:
        """Where the database is, without its password."""
        if not self.is_postgresql:
            return str(self.sqlite_path)
        scheme, _, rest = self.database.partition("://")
        access, at, place = rest.rpartition("@")
        return f"{scheme}://{access.partition(':')[0]}{at}{place}"

    @property
    def sqlite_path(self) -> Path:
        """The file of the database, where it is one."""
        return Path(self.database).expanduser() if self.database else self.home / "tenuto.db"


def _base_path(text: str) -> str:
    parts = [part for part in text.split("/") if part]
    return "".join(f"/{part}" for part in parts)
