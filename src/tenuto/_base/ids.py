"""Ids: lower-case UUID texts. Flow runs sort by age; task runs follow from flow run and slug."""

from __future__ import annotations

import hashlib
import os
import threading
import time

__all__ = ["new_flow_run_id", "task_run_id"]

_VERSION_MASK = 0xFFFF_FFFF_FFFF_0FFF_3FFF_FFFF_FFFF_FFFF


def new_flow_run_id() -> str:
    """
    Return a UUID of version 7, greater than every one this process made before.

    48 bits of milliseconds, then 74 bits that start at random in each millisecond and grow by random
    steps inside it (RFC 9562, section 6.2, method 2). A clock that steps back continues the old millisecond.
    """
    return _flow_run_ids.new()


def task_run_id(flow_run_id: str, slug: str, index: int = -1) -> str:
    """
    Return the id of a task run: `uuid5(flow_run_id, slug)`, for a mapped child `uuid5(…, "slug[index]")`.

    The same on every machine and over retries and restarts. `index` is -1 for a task that is no child. A flow
    run id chosen by the user need not be a UUID: its digest is the name space then.
    """
    name = slug if index < 0 else f"{slug}[{index}]"
    hashing = _namespace(flow_run_id).copy()
    hashing.update(name.encode("utf-8", "surrogatepass"))
    digest = hashing.hexdigest()
    # One for each task run: cut out of the digest's text, which takes half as long as by way of a number.
    variant = _VARIANT[digest[16]]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


# A hex digit with its two upper bits set to those of the RFC's variant.
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}

# The last flow run's name space, hashed: task runs ask for the same one again and again.
_last_namespace = ("", hashlib.sha1(usedforsecurity=False))


def _namespace(flow_run_id: str) -> hashlib._Hash:
    global _last_namespace
    text, hashed = _last_namespace
    if text != flow_run_id:
        digits = flow_run_id.replace("-", "")
        try:
            if len(digits) != 32:
                raise ValueError
            space = bytes.fromhex(digits)
        except ValueError:
            space = hashlib.sha1(flow_run_id.encode(), usedforsecurity=False).digest()[:16]
        hashed = hashlib.sha1(space, usedforsecurity=False)
        _last_namespace = (flow_run_id, hashed)
    return hashed


def _text(number: int) -> str:
    digits = f"{number & _VERSION_MASK | 7 << 76 | 1 << 63:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


class _FlowRunIds:
    """The counter behind `new_flow_run_id`."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self._lock = threading.Lock()
        self._millisecond = 0
        self._low = 0

    def new(self) -> str:
        now = time.time_ns() // 1_000_000
        with self._lock:
            if now > self._millisecond:
                self._millisecond = now
                # The top bit stays free so that steps inside one millisecond do not overflow 74 bits.
                self._low = int.from_bytes(os.urandom(10), "big") & (1 << 73) - 1
            else:
                self._low += 1 + int.from_bytes(os.urandom(4), "big")
                if self._low >> 74:
                    self._millisecond += 1
                    self._low &= (1 << 73) - 1
            high, low = self._millisecond, self._low
        # Layout: 48 bits of time, 4 of version, 12 of the counter, 2 of variant, 62 of the counter.
        return _text(high << 80 | low >> 62 << 64 | low & (1 << 62) - 1)


_flow_run_ids = _FlowRunIds()
if hasattr(os, "register_at_fork"):
    # A forked child must not continue its parent's counter, nor inherit a lock that somebody held.
    os.register_at_fork(after_in_child=_flow_run_ids.restart)
