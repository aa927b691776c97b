"""
Where names that older releases of the Prefect 1 API had elsewhere are in Tenuto.

An address is a dotted path below the package: `engine.signals.SKIP`, `` for the package itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

__all__ = ["MOVED", "below", "joined", "prefixes", "today"]

MOVED: Final[Mapping[str, str]] = {
    "engine.executors": "executors",
    "environments.storage": "storage",
    "tasks.secrets.Secret": "tasks.secrets.PrefectSecret",
    "tasks.secrets.base.Secret": "tasks.secrets.base.PrefectSecret",
    "utilities.exceptions": "exceptions",
    "utilities.exceptions.PrefectError": "exceptions.PrefectException",
    "utilities.exceptions.StorageError": "exceptions.FlowStorageError",
    "utilities.exceptions.TaskTimeoutError": "exceptions.TaskTimeoutSignal",
    "utilities.exceptions.VersionLockError": "exceptions.VersionLockMismatchSignal",
    "utilities.tasks.unmapped": "unmapped",
}
"""Older addresses, of releases from 0.10 on, and what stands in their place; the longest that fits counts."""


def joined(*parts: str) -> str:
    """Return one address of several, leaving out empty ones."""
    return ".".join(filter(None, parts))


def below(address: str, parent: str) -> str | None:
    """Return what of an address is below another one, "" for the same; None when it is elsewhere."""
    if not parent or address == parent:
        return address if not parent else ""
    return address.removeprefix(f"{parent}.") if address.startswith(f"{parent}.") else None


def today(address: str) -> tuple[str, int]:
    """Return the address of today, and how many parts of the older one moved: 0 when it is the same."""
    for prefix in prefixes(address):
        if prefix in MOVED:
            return joined(MOVED[prefix], below(address, prefix) or ""), prefix.count(".") + 1
    return address, 0


def prefixes(address: str) -> Iterator[str]:
    """Yield an address and those it is below, the longest first."""
    while address:
        yield address
        address = address.rpartition(".")[0]
