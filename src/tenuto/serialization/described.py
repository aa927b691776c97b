"""Values as a description of a flow shows them: themselves where they are short and plain, else a text."""

from __future__ import annotations

import re
from collections.abc import Sized
from typing import Any

from tenuto._base.plain import plain_json

__all__ = ["described_text", "described_value"]

_JSON_BYTES_MAX = 4096
_REPR_LENGTH_MAX = 200
# Texts of objects name their address in memory, which says nothing and differs in each process.
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def described_value(value: Any) -> Any:
    """Return a value itself if it is short and plain, else `{"repr": text}`."""
    encoded = plain_json(value, _JSON_BYTES_MAX)
    return {"repr": _describe(value)} if encoded is None else value


def described_text(text: str) -> str:
    """Return the text of an object, short and equal in every process."""
    return _ADDRESS.sub("", text)[:_REPR_LENGTH_MAX]


def _describe(value: Any) -> str:
    kind = type(value).__name__
    if hasattr(value, "shape"):  # the text of an array or a frame takes long to make and says less
        return f"{kind} of shape {value.shape}"
    if isinstance(value, Sized) and len(value) > _REPR_LENGTH_MAX:
        return f"{kind} of length {len(value)}"
    if isinstance(value, set | frozenset):
        # Sorted: their own order differs in each process.
        return described_text(f"{kind}({', '.join(sorted(map(repr, value)))})")
    return described_text(repr(value))
