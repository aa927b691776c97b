"""JSON columns: written and read by msgspec; what is JSON already goes through as it is."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["dump_json", "load_json"]

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


def dump_json(value: Any) -> str:
    """Return the JSON of a value; `msgspec.Raw` is JSON."""
    data = bytes(value) if isinstance(value, msgspec.Raw) else _encoder.encode(value)
    return data.decode()


def load_json(text: str | bytes) -> Any:
    """Return the value of a JSON text."""
    return _decoder.decode(text)
