"""
Values by key that outlive runs: one file in the home folder, shared by all processes of its user.

A change is made under a lock and replaces the file at once: of two processes that write at the same time
neither loses its value, and one that is killed leaves the old values or the new ones.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from tenuto._base.datetimes import microseconds, utc_now
from tenuto._base.files import ensure_private_dir, write_atomic
from tenuto._base.locks import file_lock
from tenuto.configuration import home_path
from tenuto.core.sentinel import NO_DEFAULT
from tenuto.exceptions import PrefectException

__all__ = ["compare_and_set", "delete_key", "get_key_value", "list_keys", "set_key_value"]

_VALUE_BYTES_MAX = 10_000
_FORMAT = 1

T = TypeVar("T")
# Key -> {"id", "value", "expires"}, the last in microseconds since 1970 UTC or absent.
_Entries = dict[str, dict[str, Any]]


class KeyValueStoreDamaged(PrefectException, ValueError):
    """The file of the key-value store is not what was written; `path` names it."""

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(
            f"The key-value store {path!r} cannot be read: {problem}. Put a copy of it back, or remove it."
        )

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.path, self.problem)


def set_key_value(key: str, value: Any, *, ttl: timedelta | None = None) -> str:
    """
    Keep a value, in place of an older one, and return the id of the key.

    Args:
        key: any text.
        value: anything that JSON can express, up to 10 KB of it. It is read back as JSON: tuples as lists.
        ttl: how long the value is kept; default: until it is deleted.

    Raises:
        ValueError: if the value is too large.
        TypeError: if the key is no text, or the value is not for JSON.
        OSError: if the home folder cannot be written.
    """
    entry: dict[str, Any] = {"id": str(uuid.uuid4()), "value": _checked(key, value)}
    if ttl is not None:
        entry["expires"] = microseconds(utc_now() + ttl)

    def put(entries: _Entries) -> str:
        if key in entries:
            entry["id"] = entries[key]["id"]
        entries[key] = entry
        return str(entry["id"])

    return _change(put)


def get_key_value(key: str, *, default: Any = NO_DEFAULT) -> Any:
    """
    Return the value of a key.

    Args:
        default: returned for a key without a value, instead of an error.

    Raises:
        ValueError: if the key has no value and there is no default.
    """
    entry = _read().get(key)
    if entry is not None:
        return entry["value"]
    if default is NO_DEFAULT:
        raise ValueError(f"No value found for key: {key}")
    return default


def compare_and_set(key: str, old: Any, new: Any) -> bool:
    """
    Replace a value if it still is `old`, and say whether it was; the time until it expires stays.

    Args:
        old: compared as JSON; None also stands for "no value yet".

    Raises:
        ValueError, TypeError: as `set_key_value`.
    """
    wanted, value = _checked(key, old), _checked(key, new)

    def put(entries: _Entries) -> bool:
        entry = entries.get(key, {"id": str(uuid.uuid4()), "value": None})
        if _as_json(entry["value"]) != _as_json(wanted):
            return False
        entries[key] = {**entry, "value": value}
        return True

    return _change(put)


def delete_key(key: str) -> bool:
    """
    Delete a key and return True.

    Raises:
        ValueError: if it has no value.
    """

    def remove(entries: _Entries) -> bool:
        return entries.pop(key, None) is not None

    if not _change(remove):
        raise ValueError(f"No value found for key: {key}")
    return True


def list_keys(*, prefix: str = "") -> list[str]:
    """Return the keys that have values, sorted; with `prefix` those that begin with it."""
    return sorted(key for key in _read() if key.startswith(prefix))


def _checked(key: str, value: Any) -> Any:
    """Return the value as it will be read back."""
    if not isinstance(key, str):
        raise TypeError(f"A key is a text, not {key!r}.")
    try:
        text = _as_json(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(
            f"The value for key {key!r} cannot be written as JSON ({error}). Give it as texts, numbers, "
            "lists and dictionaries, or keep it as the result of a task."
        ) from error
    length = len(text.encode())
    if length > _VALUE_BYTES_MAX:
        raise ValueError(
            f"The value for key {key!r} has {length} bytes, and {_VALUE_BYTES_MAX} are the limit. "
            "Keep it as the result of a task, and its location here."
        )
    return json.loads(text)


def _as_json(value: Any) -> str:
    # Lone surrogates and the like stay escaped, so that any text can be encoded.
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _path() -> Path:
    return home_path() / "key_values.json"


def _read() -> _Entries:
    """Return the entries that have not expired. No lock: the file is always replaced as a whole."""
    path = _path()
    try:
        found = json.loads(path.read_bytes())
        entries: _Entries = found["keys"]
        if found["format"] != _FORMAT:
            raise KeyValueStoreDamaged(str(path), f"its format is {found['format']!r}")
        now = microseconds(utc_now())
        return {key: entry for key, entry in entries.items() if entry.get("expires", now + 1) > now}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, KeyValueStoreDamaged):
            raise
        raise KeyValueStoreDamaged(str(path), f"it is no JSON of a store ({error})") from error


def _change(change: Callable[[_Entries], T]) -> T:
    """Let `change` work on the entries, write them, and return what it returned."""
    path = _path()
    ensure_private_dir(path.parent)
    with file_lock(path.with_suffix(".lock")):
        entries = _read()
        answer = change(entries)
        if answer is not False:
            data = json.dumps({"format": _FORMAT, "keys": entries}).encode()
            write_atomic(path, [data], private=True, fsync=True)
    return answer
