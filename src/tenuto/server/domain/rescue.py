"""What becomes of a run whose worker is lost."""

from __future__ import annotations

import enum

__all__ = ["Rescue", "after_loss"]


class Rescue(enum.Enum):
    """The decision."""

    AGAIN = "again"
    """It is claimed again, and goes on after what it had finished."""
    FAIL = "fail"
    CANCEL = "cancel"
    """It was to be cancelled, and its worker has ended one way or the other."""
    STAY = "stay"
    """It waits for a person (R-BE-116): claimed again once it is approved, not before."""


def after_loss(*, state: str, policy: str, rescues_left: int, is_local: bool) -> Rescue:
    """
    Decide what becomes of a run (R-BE-115).

    Args:
        state: of the run when its worker was lost.
        policy: `on`, `off`, or `only-before-start`.
        rescues_left: how often it may still be rescued.
        is_local: begun by its owner without a server: nobody else can go on with it.
    """
    if state == "Cancelling":
        return Rescue.CANCEL
    may = policy == "on" or (policy == "only-before-start" and state in ("Submitted", "Queued"))
    if not may or is_local:
        return Rescue.FAIL
    if state == "Paused":
        return Rescue.STAY
    return Rescue.AGAIN if rescues_left > 0 else Rescue.FAIL
