"""How damage is noticed: what was written is known by its SHA-256 and its length."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

__all__ = ["Checksum", "checksum_of"]


class Checksum(NamedTuple):
    """By what bytes are known."""

    sha256: str
    """As hex digits."""
    length: int
    """Number of bytes."""

    def damage(self, found: Checksum) -> str | None:
        """Say what is wrong with bytes that ought to be these, as the end of a sentence; None: nothing."""
        if found.length != self.length:
            return f"it has {found.length} bytes instead of {self.length}"
        if found.sha256 != self.sha256:
            return "its content is not what was written"
        return None


def checksum_of(data: bytes | bytearray | memoryview) -> Checksum:
    """Return the checksum of bytes."""
    view = memoryview(data)
    return Checksum(hashlib.sha256(view).hexdigest(), view.nbytes)
