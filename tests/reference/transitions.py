"""The tables of which state may follow which, as they were written down before there was a server."""

from typing import Final

__all__ = ["DOCUMENTED"]

GROUPS: Final = {
    "Success": ("Success", "Cached", "Skipped", "Mapped"),
    "Failed": ("Failed", "TimedOut", "TriggerFailed", "ValidationFailed"),
    "Waiting": ("Scheduled", "Resume", "Retrying"),
    "(new)": ("",),
}

FLOW_RUN: Final = """
(new)                       | Pending, Scheduled, Running
Pending                     | Waiting, Running, Cancelled, Failed
Waiting                     | Submitted, Running, Waiting, Paused, Cancelled, Failed
Submitted, Queued           | Running, Queued, Submitted, Scheduled, Cancelled, Failed
Running                     | Success, Failed, Cancelling, Cancelled, Paused, Scheduled
Paused                      | Scheduled, Resume, Running, Cancelled, Failed
Cancelling                  | Cancelled, Failed, Success
Success, Failed, Cancelled  | Scheduled, Success, Failed, Cancelled, Finished
"""

TASK_RUN: Final = """
(new), Pending              | Running, Submitted, Queued, Waiting, Paused, Success, Failed, Cancelled
Waiting                     | Running, Submitted, Queued, Pending, Waiting, Paused, Success, Failed, Cancelled
Submitted, Queued           | Running, Queued, Submitted, Waiting, Pending, Success, Failed, Cancelled
Running                     | Success, Failed, Looped, Waiting, Paused, Cancelled
Looped                      | Pending, Running, Paused, Success, Failed, Retrying, Cancelled
Paused                      | Resume, Scheduled, Running, Cancelled, Success, Failed
Success, Failed, Cancelled  | Pending, Scheduled, Success, Failed, Cancelled, Finished
"""


def _pairs(table: str) -> set[tuple[str, str]]:
    found = set()
    for line in table.strip().splitlines():
        sources, targets = ([name.strip() for name in side.split(",")] for side in line.split("|"))
        found |= {
            (source, target)
            for some in sources
            for source in GROUPS.get(some, (some,))
            for others in targets
            for target in GROUPS.get(others, (others,))
        }
    return found


DOCUMENTED: Final = {"flow_run": _pairs(FLOW_RUN), "task_run": _pairs(TASK_RUN)}
"""Pairs of states, before and after; the state before the first is empty."""
