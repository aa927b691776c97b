"""What an agent's silence means: one definition for pages, command line and alarms (R-BE-82)."""

from __future__ import annotations

from datetime import datetime, timedelta

__all__ = ["agent_status"]

_HEALTHY = timedelta(seconds=60)
_STALE = timedelta(minutes=10)


def agent_status(last_seen: datetime, now: datetime, *, paused: bool = False) -> str:
    """Return `healthy`, `paused`, `stale` or `offline`."""
    silent = now - last_seen
    if silent >= _STALE:
        return "offline"
    if silent >= _HEALTHY:
        return "stale"
    return "paused" if paused else "healthy"
