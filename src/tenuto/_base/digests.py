"""
Digests of values: equal values have equal digests in every process, unequal ones different digests.

Plain values (see `plain_json`) go by their canonical JSON, so that the digest of a value that was kept inline
is the SHA-256 of its reference. All else goes by a type-directed walk in which each piece is preceded by a
tag of its type and its length, so that no two structures give the same bytes. Never by a pickle: equal values
pickle differently.

Equal means here: of the same type, and the same for a task that reads it. 1, 1.0, True and "1" differ; (1,)
and [1] differ; 0.0 and -0.0 differ; NaNs do not. The order of a dict's keys, or of a set, does not count.
"""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import hashlib
import pathlib
import struct
import sys
import uuid
import zoneinfo
from collections.abc import Callable, Iterable
from typing import Any

from tenuto._base.plain import plain_json

__all__ = ["BYTES_MAX", "PROVENANCE_PREFIX", "combine", "digest", "provenance"]

BYTES_MAX = 64 << 20
"""Values of more bytes than this have no digest: hashing them would take longer than most tasks."""
PROVENANCE_PREFIX = "p:"

_DEPTH_MAX = 100
_PIECE_BYTES = 16
"""What a piece costs besides its own bytes."""
_sha256 = hashlib.sha256


class _NoDigest(Exception):
    """The value, or something in it, has no digest: an unknown type, too deep, or too long."""


def digest(value: object) -> str | None:
    """
    Return the hex SHA-256 of a value, or None when it has none.

    Known are plain JSON values; tuples, sets and dicts with any known keys; bytes, complex, Decimal,
    Fraction, dates, times, zones, UUIDs, paths, ranges, enums and dataclasses; numpy arrays and scalars;
    pandas frames, series and indexes. A value of more than 64 MB has none, and neither has one that holds
    anything else.
    """
    data = plain_json(value, BYTES_MAX)
    if data is not None:
        return _sha256(data).hexdigest()
    walk = _Walk()
    try:
        walk.add(value, 0)
    except Exception:  # noqa: BLE001  # see below
        # Besides _NoDigest: a user's type may raise anything from an attribute, and another thread may append
        # to a list. Without a digest the input goes by its provenance, which is always right.
        return None
    return walk.hexdigest()


def combine(parts: Iterable[str]) -> str:
    """
    Return one digest over several, in their order.

    A digest of provenance among them makes it one of provenance.
    """
    texts = list(parts)
    joined = _sha256(b"combine\0" + "\0".join(texts).encode("utf-8", "backslashreplace")).hexdigest()
    return PROVENANCE_PREFIX + joined if any(text.startswith(PROVENANCE_PREFIX) for text in texts) else joined


def provenance(code: str, inputs: dict[str, str]) -> str:
    """Return the digest of where a value came from: code and the digests of its inputs."""
    names = sorted(inputs)
    text = "\0".join([code, *(f"{name}\0{inputs[name]}" for name in names)])
    return PROVENANCE_PREFIX + _sha256(b"provenance\0" + text.encode("utf-8", "backslashreplace")).hexdigest()


class _Walk:
    """Feeds one value to a hash."""

    def __init__(self) -> None:
        # A prefix that no JSON begins with: a value that is not plain never has the digest of one that is.
        self._hash = _sha256(b"\0tenuto-value-1\0")
        self._left = BYTES_MAX

    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    def put(self, tag: str, data: Any = b"") -> None:
        """Hash one piece: its tag, its length, its bytes."""
        size = memoryview(data).nbytes
        self._left -= size + _PIECE_BYTES
        if self._left < 0:
            raise _NoDigest
        self._hash.update(f"{tag}\0{size}\0".encode("utf-8", "surrogatepass"))
        self._hash.update(data)

    def need(self, size: int) -> None:
        """Give up at once on what is known to need more bytes than are left."""
        if size > self._left:
            raise _NoDigest

    def add(self, value: Any, depth: int) -> None:
        """Hash a value of any known type."""
        if depth > _DEPTH_MAX:
            raise _NoDigest
        kind = type(value)
        exact = _EXACT.get(kind)
        if exact is not None:
            exact(self, value, depth)
        elif isinstance(value, enum.Enum):
            self.put("enum", _name_of(kind))
            self.put("member", value.name.encode("utf-8", "surrogatepass"))
        elif isinstance(value, tuple) and kind.__base__ is tuple and hasattr(kind, "_fields"):
            self.put("namedtuple", _name_of(kind))
            self.add_all("fields", value, len(value), depth)
        elif isinstance(value, pathlib.PurePath):
            self.put("path", f"{kind.__name__}\0{value}".encode("utf-8", "surrogatepass"))
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            self._add_dataclass(value, depth)
        elif (name := kind.__module__.partition(".")[0]) in ("numpy", "pandas"):
            self._add_scientific(name, value, depth)
        else:
            raise _NoDigest

    def _add_dataclass(self, value: Any, depth: int) -> None:
        fields = dataclasses.fields(value)
        if set(getattr(value, "__dict__", ())) - {one.name for one in fields}:
            raise _NoDigest  # It carries more than its fields.
        if isinstance(value, list | dict | tuple | str | bytes | int | float | set | frozenset):
            raise _NoDigest
        self.put("dataclass", _name_of(type(value)))
        for one in fields:
            self.put("field", one.name.encode())
            self.add(getattr(value, one.name), depth + 1)

    def _add_scientific(self, library: str, value: Any, depth: int) -> None:
        from tenuto._base import array_digests

        add = array_digests.add_numpy if library == "numpy" else array_digests.add_pandas
        if not add(self, value, depth):
            raise _NoDigest

    def add_all(self, tag: str, values: Iterable[Any], count: int, depth: int) -> None:
        """Hash a sequence in its order."""
        if type(values) is list and self.add_plain(tag, values):
            return
        self.need(count * _PIECE_BYTES)
        self.put(tag, struct.pack("<q", count))
        for value in values:
            self.add(value, depth + 1)

    def add_plain(self, tag: str, value: Any) -> bool:
        """Hash a plain list or dict by its JSON: a hundred times faster than piece by piece."""
        data = plain_json(value, max(self._left, 0))
        if data is None:
            return False
        self.put(f"{tag}-json", data)
        return True

    def add_unordered(self, tag: str, values: Iterable[Any], count: int, depth: int) -> None:
        """Hash items whose order does not count: by their own digests, sorted."""
        self.need(count * _PIECE_BYTES)
        self.put(tag, struct.pack("<q", count))
        for one in sorted(self._apart(value, depth) for value in values):
            self.put("item", one)

    def _apart(self, value: Any, depth: int) -> bytes:
        walk = _Walk()
        walk._left = self._left
        walk.add(value, depth + 1)
        self._left = walk._left
        return walk._hash.digest()


def _name_of(kind: type) -> bytes:
    return f"{kind.__module__}.{kind.__qualname__}".encode("utf-8", "surrogatepass")


def _float_bytes(number: float) -> bytes:
    return b"nan" if number != number else struct.pack("<d", number)


def _add_dict(walk: _Walk, value: dict[Any, Any], depth: int) -> None:
    if not walk.add_plain("dict", value):
        walk.add_unordered("dict", value.items(), len(value), depth)


def _add_int(walk: _Walk, value: int, depth: int) -> None:
    walk.put("int", value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True))


def _add_datetime(walk: _Walk, value: datetime.datetime, depth: int) -> None:
    walk.put("datetime", f"{value.replace(tzinfo=None).isoformat()}\0{value.fold}".encode())
    walk.add(value.tzinfo, depth + 1)


def _add_time(walk: _Walk, value: datetime.time, depth: int) -> None:
    walk.put("time", f"{value.replace(tzinfo=None).isoformat()}\0{value.fold}".encode())
    walk.add(value.tzinfo, depth + 1)


def _add_zone(walk: _Walk, value: zoneinfo.ZoneInfo, depth: int) -> None:
    if value.key is None:
        raise _NoDigest  # Made from a file: nothing says which.
    walk.put("zone", value.key.encode())


def _add_text(tag: str) -> Callable[[_Walk, Any, int], None]:
    return lambda walk, value, depth: walk.put(tag, str(value).encode("utf-8", "surrogatepass"))


def _add_sequence(tag: str) -> Callable[[_Walk, Any, int], None]:
    return lambda walk, value, depth: walk.add_all(tag, value, len(value), depth)


def _add_set(tag: str) -> Callable[[_Walk, Any, int], None]:
    return lambda walk, value, depth: walk.add_unordered(tag, value, len(value), depth)


def _add_timedelta(walk: _Walk, value: datetime.timedelta, depth: int) -> None:
    walk.put("timedelta", f"{value.days}\0{value.seconds}\0{value.microseconds}".encode())


def _add_array(walk: _Walk, value: array.array[Any], depth: int) -> None:
    walk.put("array", value.typecode.encode() + sys.byteorder.encode() + value.tobytes())


def _add_decimal(walk: _Walk, value: decimal.Decimal, depth: int) -> None:
    # By digits, not by value: 1.0 and 1.00 print differently.
    walk.put("decimal", str(value).encode())


_EXACT: dict[type, Callable[[_Walk, Any, int], None]] = {
    type(None): lambda walk, value, depth: walk.put("none"),
    bool: lambda walk, value, depth: walk.put("bool", b"\1" if value else b"\0"),
    int: _add_int,
    float: lambda walk, value, depth: walk.put("float", _float_bytes(value)),
    complex: lambda walk, value, depth: walk.put(
        "complex", _float_bytes(value.real) + _float_bytes(value.imag)
    ),
    str: _add_text("str"),
    bytes: lambda walk, value, depth: walk.put("bytes", value),
    bytearray: lambda walk, value, depth: walk.put("bytearray", value),
    list: _add_sequence("list"),
    tuple: _add_sequence("tuple"),
    dict: _add_dict,
    collections.OrderedDict: lambda walk, value, depth: walk.add_all(
        "ordereddict", value.items(), len(value), depth
    ),
    collections.deque: lambda walk, value, depth: walk.add_all(
        "deque", (value.maxlen, *value), len(value), depth
    ),
    set: _add_set("set"),
    frozenset: _add_set("frozenset"),
    range: lambda walk, value, depth: walk.put(
        "range", f"{value.start}\0{value.stop}\0{value.step}".encode()
    ),
    type(...): lambda walk, value, depth: walk.put("ellipsis"),
    slice: lambda walk, value, depth: walk.add_all("slice", (value.start, value.stop, value.step), 3, depth),
    array.array: _add_array,
    datetime.datetime: _add_datetime,
    datetime.date: _add_text("date"),
    datetime.time: _add_time,
    datetime.timedelta: _add_timedelta,
    datetime.timezone: lambda walk, value, depth: walk.put("timezone", repr(value).encode()),
    zoneinfo.ZoneInfo: _add_zone,
    decimal.Decimal: _add_decimal,
    fractions.Fraction: _add_text("fraction"),
    uuid.UUID: _add_text("uuid"),
}
