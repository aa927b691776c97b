"""How much anybody may ask for (S-22): rates, open connections, depth of JSON."""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from tenuto.server.api.problems import Problem

__all__ = ["DEPTH_MAX", "Limits", "Rate", "check_depth", "json_depth"]

DEPTH_MAX = 64
_KNOWN_MAX = 10_000
_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"'))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_STRING = re.compile(rb'"[^"]*"?')


class Rate:
    """
    How often each of many may do something: so many at once, and then so many a second.

    Args:
        per_second: that come back.
        burst: at once.
        clock: in seconds; never goes back.
    """

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._burst, self._clock = per_second, burst, clock
        self._left: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def wait(self, who: Hashable) -> float:
        """Count one more of somebody; return 0, or for how many seconds it is too many."""
        now = self._clock()
        left, then = self._left.pop(who, (float(self._burst), now))
        left = min(left + (now - then) * self._per_second, self._burst)
        is_free = left >= 1
        self._left[who] = (left - is_free, now)
        if len(self._left) > _KNOWN_MAX:  # Who has asked for nothing for longest has most of it back.
            self._left.popitem(last=False)
        return 0.0 if is_free else (1 - left) / self._per_second

    def check(self, who: Hashable) -> None:
        """
        Count one more of somebody.

        Raises:
            Problem: 429 when it is too many.
        """
        wait = self.wait(who)
        if wait:
            seconds = max(1, round(wait + 0.5))
            text = f"Too many requests. Wait {seconds} s."
            headers = {"Retry-After": str(seconds)}
            raise Problem(429, "rate-limited", text, headers=headers, retry_after=seconds)


@dataclass(slots=True)
class Limits:
    """
    The rates of one server.

    Attributes:
        requests: of each key, on people's routes.
        logins: from each address.
        uses: of each key, that are written down.
        denials: that are written down, from each address: nobody fills the disk by being refused.
    """

    requests: Rate = field(default_factory=lambda: Rate(100, 200))
    logins: Rate = field(default_factory=lambda: Rate(5 / 60, 5))
    uses: Rate = field(default_factory=lambda: Rate(1 / 60, 1))
    denials: Rate = field(default_factory=lambda: Rate(1, 1_000))


def check_depth(body: bytes) -> None:
    """
    Refuse JSON that is nested deeper than anything that reads it should have to follow.

    Raises:
        Problem: 422.
    """
    if json_depth(body) > DEPTH_MAX:
        raise Problem(422, "invalid-request", f"The request is nested deeper than {DEPTH_MAX} levels.")


def json_depth(body: bytes) -> int:
    """
    Return how deep a JSON text is nested, no further than one beyond the limit; of what is none, anything.

    Without parsing, and in time that grows with its length: strings are taken out, then each pair of brackets
    with nothing between them, level by level.
    """
    text = body.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _STRUCTURE).replace(b'""', b"")
    text = _STRING.sub(b"", text).translate(_ONE_KIND)
    for depth in range(DEPTH_MAX + 1):
        shorter = text.replace(b"[]", b"")
        if shorter == text:
            # Opened and never closed: a parser would follow it down before it finds out.
            return max(depth, text.count(b"["))
        text = shorter
    return DEPTH_MAX + 1
