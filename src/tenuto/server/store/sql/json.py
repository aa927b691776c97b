"""JSON columns: written and read by msgspec; what is JSON already goes through as it is."""

from __future__ import annotations

import re
from typing import Any

import msgspec

__all__ = ["dump_json", "is_json", "load_json", "without_nul"]

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()
# An escape, unless the backslash is escaped itself.
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def dump_json(value: Any) -> str:
    """Return the JSON of a value; `msgspec.Raw` is JSON."""
    data = bytes(value) if isinstance(value, msgspec.Raw) else _encoder.encode(value)
    return without_nul(data).decode()


def load_json(text: str | bytes) -> Any:
    """Return the value of a JSON text."""
    return _decoder.decode(text)


def without_nul(data: bytes) -> bytes:
    """Return JSON with another character in the place of number 0, which PostgreSQL takes nowhere."""
    return _NUL.sub(rb"\1\\ufffd", data) if b"\\u0000" in data else data


def is_json(data: bytes) -> bool:
    """Say whether all of it can be stored: decoders skip what they have no field for."""
    try:
        _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
