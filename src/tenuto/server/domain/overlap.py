"""What becomes of a run that is due while others of its flow are under way. Pure."""

from __future__ import annotations

import enum
from typing import Literal

__all__ = ["Admission", "Overlap", "admit"]

Overlap = Literal["allow", "skip", "queue", "cancel-running"]


class Admission(enum.Enum):
    """The decision."""

    START = "start"
    WAIT = "wait"
    """It is asked about again when the others have ended."""
    SKIP = "skip"
    """It is never run: its time is over."""
    REPLACE = "replace"
    """The others are told to end, and it waits until they have."""


def admit(*, overlap: Overlap, runs_at_once: int, under_way: int, is_scheduled: bool) -> Admission:
    """
    Decide about a run that an agent would take (R-BE-72).

    Args:
        overlap: `allow` and `queue` wait where there is no room, `skip` drops the run, `cancel-running` ends
            the others.
        runs_at_once: how many runs of the flow may be under way; 0: any number.
        under_way: how many are.
        is_scheduled: whether a schedule made the run. One that somebody asked for waits: it is not dropped,
            and ends no others.
    """
    if not runs_at_once or under_way < runs_at_once:
        return Admission.START
    if not is_scheduled or overlap in ("allow", "queue"):
        return Admission.WAIT
    return Admission.SKIP if overlap == "skip" else Admission.REPLACE
