"""What the body of a task leaves with its run, beside the value that it returns."""

from contextvars import ContextVar
from typing import Any

__all__ = ["LEFT", "leave"]

LEFT: ContextVar[list[tuple[str, str, Any]] | None] = ContextVar("tenuto_artifacts", default=None)
"""Kind, key and body of each, in their order; None outside of the body of a task."""


def leave(kind: str, key: str, body: Any) -> bool:
    """Leave an artifact with the task run that is going on here, and say whether there is one."""
    left = LEFT.get()
    if left is None:
        return False
    left.append((kind, key, body))
    return True
