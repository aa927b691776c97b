"""
The index of cached results: which kept result of which run is still valid for a cache key.

One file a key, one JSON object a line, appended in one write. It only points into journals' folders and can
be rebuilt from them; a line that cannot be read is passed over.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from tenuto._base.files import ensure_private_dir
from tenuto.journal.event import ResultRef

__all__ = ["CacheEntry", "append", "protected_files", "read"]

_BYTES_BEFORE_CLEANING = 1 << 20


class CacheEntry(msgspec.Struct, omit_defaults=True):
    """One cached result."""

    run: str
    """Id of the flow run that kept it."""
    result: ResultRef
    """Where it is in that run's folder."""
    expires: int
    """Microseconds since 1970 UTC."""
    code: str = ""
    """Fingerprint of the code that computed it."""
    inputs: dict[str, str] = {}
    """Argument name to digest."""
    parameters: dict[str, Any] = {}
    """The run's parameters, those that are plain JSON."""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(CacheEntry)


def path_of(home: Path, key: str) -> Path:
    """Return the index file of a cache key."""
    return home / "cache" / f"{hashlib.sha256(key.encode('utf-8', 'backslashreplace')).hexdigest()}.jsonl"


def append(home: Path, key: str, entry: CacheEntry, now: int) -> None:
    """
    Add an entry to the index of a key.

    Args:
        home: the home folder.
        now: microseconds since 1970 UTC; a file that has grown large loses what expired before.

    Raises:
        OSError: when the index cannot be written.
    """
    path = path_of(home, key)
    ensure_private_dir(path.parent)
    if path.exists() and path.stat().st_size > _BYTES_BEFORE_CLEANING:
        _clean(path, now)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, _encoder.encode(entry) + b"\n")
    finally:
        os.close(descriptor)


def read(home: Path, key: str, now: int) -> Iterator[CacheEntry]:
    """Yield the entries of a key that have not expired, newest first."""
    try:
        lines = path_of(home, key).read_bytes().splitlines()
    except OSError:
        return
    for line in reversed(lines):
        try:
            entry = _decoder.decode(line)
        except msgspec.DecodeError:
            continue  # A line cut short by a crash, or written by a later version.
        if entry.expires > now:
            yield entry


def protected_files(home: Path, now: int) -> set[tuple[str, str]]:
    """
    Return (run id, file name) of each kept file that an unexpired entry names.

    Retention leaves them where they are.
    """
    found: set[tuple[str, str]] = set()
    for path in (home / "cache").glob("*.jsonl"):
        try:
            lines = path.read_bytes().splitlines()
        except OSError:
            continue
        for line in lines:
            try:
                entry = _decoder.decode(line)
            except msgspec.DecodeError:
                continue  # As in `read`.
            if entry.result.kind == "kept" and entry.expires > now:
                found.add((entry.run, entry.result.location))
    return found


def _clean(path: Path, now: int) -> None:
    # Another process may append meanwhile; an entry lost that way is computed again, never wrong.
    kept = [line for line in path.read_bytes().splitlines() if _is_valid(line, now)]
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(b"".join(line + b"\n" for line in kept))
    temporary.chmod(0o600)
    temporary.replace(path)


def _is_valid(line: bytes, now: int) -> bool:
    try:
        return _decoder.decode(line).expires > now
    except msgspec.DecodeError:
        return False
