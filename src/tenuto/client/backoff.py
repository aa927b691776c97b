"""How long to wait before something is tried again."""

from __future__ import annotations

import random
from collections.abc import Iterator

__all__ = ["backoff"]

FIRST_SECONDS = 0.1
CAP_SECONDS = 15.0


def backoff() -> Iterator[float]:
    """
    Yield the waits before the first, second, third … further try, in seconds, for ever.

    Full jitter: those who were cut off together do not come back together. Brooker, "Exponential Backoff And
    Jitter", AWS Architecture Blog, 2015.
    """
    bound = FIRST_SECONDS
    while True:
        yield random.uniform(0, bound)
        bound = min(bound * 2, CAP_SECONDS)
