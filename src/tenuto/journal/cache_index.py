"""
The index of cached results: which kept result of which run is still valid for a cache key.

One file a key, one JSON object a line, appended in one write. It only points into journals' folders and can
be rebuilt from them; a line that cannot be read is passed over.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from tenuto._base.files import ensure_private_dir
from tenuto.journal.event import ResultRef

__all__ = ["CacheEntry", "CacheIndex", "append", "protected_files"]

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
    if path.exists() and path.stat().st_size > _BYTES_BEFORE_CLEANING and _begins_with_rubbish(path, now):
        _clean(path, now)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, _encoder.encode(entry) + b"\n")
    finally:
        os.close(descriptor)


class CacheIndex:
    """
    The entries of one key, for somebody who asks many times: each line of the file is read once.

    Args:
        home: the home folder.
        key: the cache key.
    """

    def __init__(self, home: Path, key: str) -> None:
        self._path = path_of(home, key)
        self._file = (0, 0)
        self._read_bytes = 0
        self._entries: list[CacheEntry] = []
        self._by_inputs: dict[frozenset[tuple[str, str]], list[CacheEntry]] = {}

    def entries(self, now: int, inputs: Mapping[str, str] | None = None) -> list[CacheEntry]:
        """
        Return the entries that have not expired, newest first.

        Args:
            now: microseconds since 1970 UTC.
            inputs: only those whose inputs have exactly these digests.
        """
        self._read_on()
        known = self._entries if inputs is None else self._by_inputs.get(frozenset(inputs.items()), [])
        return [entry for entry in reversed(known) if entry.expires > now]

    def _read_on(self) -> None:
        """Read what was added. A file that was cleaned in between is another one."""
        try:
            with open(self._path, "rb") as file:
                status = os.fstat(file.fileno())
                if (status.st_dev, status.st_ino) != self._file or status.st_size < self._read_bytes:
                    self._forget()
                    self._file = (status.st_dev, status.st_ino)
                if status.st_size == self._read_bytes:
                    return
                file.seek(self._read_bytes)
                data = file.read()
        except OSError:
            self._forget()
            return
        end = data.rfind(b"\n") + 1  # What is behind may be a line that is just being written.
        self._read_bytes += end
        for line in data[:end].splitlines():
            entry = _decoded(line)
            if entry is not None:
                self._entries.append(entry)
                self._by_inputs.setdefault(frozenset(entry.inputs.items()), []).append(entry)

    def _forget(self) -> None:
        self._file, self._read_bytes = (0, 0), 0
        self._entries.clear()
        self._by_inputs.clear()


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
            entry = _decoded(line)
            if entry is not None and entry.result.kind == "kept" and entry.expires > now:
                found.add((entry.run, entry.result.location))
    return found


def _begins_with_rubbish(path: Path, now: int) -> bool:
    """Look at the oldest line only: a large file of valid ones is not written anew for each addition."""
    with open(path, "rb") as file:
        return not _is_valid(file.readline(), now)


def _clean(path: Path, now: int) -> None:
    # Another process may append meanwhile; an entry lost that way is computed again, never wrong.
    kept = [line for line in path.read_bytes().splitlines() if _is_valid(line, now)]
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(b"".join(line + b"\n" for line in kept))
    temporary.chmod(0o600)
    temporary.replace(path)


def _is_valid(line: bytes, now: int) -> bool:
    entry = _decoded(line)
    return entry is not None and entry.expires > now


def _decoded(line: bytes) -> CacheEntry | None:
    """Return the entry, None for a line cut short by a crash, or written by a later version."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
