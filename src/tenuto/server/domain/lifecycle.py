"""
Which state may follow which, and who may say so: the one table.

The rows of the store, the check of each write, what `/api/v1/meta/transitions` shows and the model of the
simulation are made from it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import Final, Literal, NamedTuple

__all__ = ["NEW", "RULES", "Author", "Entity", "Rule", "may_become", "rows"]

Entity = Literal["flow_run", "task_run"]


class Author(enum.StrEnum):
    """Who makes a change of state."""

    WORKER = "worker"
    """The process that holds the lease of the run."""
    SERVER = "server"
    """A claim, the rescue of a run, a request that the server carries out."""
    PERSON = "person"
    """Somebody who sets a state by hand, or restarts a run."""


WORKER, SERVER, PERSON = Author.WORKER, Author.SERVER, Author.PERSON

SUCCESS: Final = ("Success", "Cached", "Skipped", "Mapped")
FAILED: Final = ("Failed", "TimedOut", "TriggerFailed", "ValidationFailed")
WAITING: Final = ("Scheduled", "Resume", "Retrying")
HANDED_OVER: Final = ("Submitted", "Queued")

NEW: Final = ""
"""The state before the first."""


class Rule(NamedTuple):
    """From each of some states to each of some others, by some authors."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    by: tuple[Author, ...]


_ENDED: Final = (*SUCCESS, *FAILED, "Cancelled")
_BY_HAND: Final = (*_ENDED, "Finished")
_ANOTHER_END: Final = tuple(
    Rule((state,), tuple(other for other in _BY_HAND if other != state), (PERSON,)) for state in _BY_HAND
)

RULES: Final[Mapping[Entity, tuple[Rule, ...]]] = {
    "flow_run": (
        Rule((NEW,), ("Pending", "Scheduled"), (SERVER,)),
        # Begun without a server, or by somebody at a terminal: announced with a lease.
        Rule((NEW,), ("Running",), (WORKER,)),
        Rule(("Pending",), ("Running", "Cancelled", *FAILED), (WORKER,)),
        Rule(("Pending",), (*WAITING, "Cancelled", *FAILED), (SERVER, PERSON)),
        Rule(WAITING, ("Running", "Cancelled", *FAILED), (WORKER,)),
        Rule(WAITING, ("Submitted",), (SERVER,)),
        Rule(WAITING, (*WAITING, "Paused", "Cancelled", *FAILED), (SERVER, PERSON)),
        Rule(HANDED_OVER, ("Running", "Cancelled", *FAILED), (WORKER,)),
        Rule(HANDED_OVER, ("Cancelled", *FAILED), (PERSON,)),
        # Back to Scheduled: given back, or its worker is lost; with a new epoch.
        Rule(HANDED_OVER, (*HANDED_OVER, "Scheduled", "Cancelled", *FAILED), (SERVER,)),
        # Running again by the worker that runs it tells a new message.
        Rule(("Running",), ("Running", *SUCCESS, *FAILED, "Cancelled", "Paused"), (WORKER,)),
        Rule(("Running",), ("Cancelling", "Scheduled", "Cancelled", *FAILED), (SERVER,)),
        # By hand only where no worker holds the run any more.
        Rule(("Running",), _ENDED, (PERSON,)),
        Rule(("Paused",), ("Running", "Cancelled", *FAILED), (WORKER,)),
        Rule(("Paused",), ("Scheduled", "Resume", "Cancelled", *FAILED), (SERVER, PERSON)),
        # Success and Failed: it had ended before it saw the request.
        Rule(("Cancelling",), ("Cancelled", *SUCCESS, *FAILED), (WORKER,)),
        Rule(("Cancelling",), ("Cancelled", *FAILED), (SERVER, PERSON)),
        # Nothing but a person's restart or set-state leaves a final state.
        Rule(_BY_HAND, ("Scheduled",), (PERSON,)),
        *_ANOTHER_END,
    ),
    "task_run": (
        Rule(
            (NEW, "Pending"),
            ("Pending", "Running", *HANDED_OVER, *WAITING, "Paused", *_ENDED),
            (WORKER,),
        ),
        Rule((NEW,), ("Pending",), (SERVER,)),
        Rule(
            WAITING,
            ("Running", *HANDED_OVER, "Pending", *WAITING, "Paused", *_ENDED),
            (WORKER,),
        ),
        Rule(HANDED_OVER, ("Running", *HANDED_OVER, *WAITING, "Pending", *_ENDED), (WORKER,)),
        Rule(("Running",), (*_ENDED, "Looped", *WAITING, "Paused"), (WORKER,)),
        Rule((*HANDED_OVER, "Running"), ("Retrying", *FAILED), (SERVER,)),
        Rule(("Looped",), ("Pending", "Running", "Paused", *_ENDED, "Retrying"), (WORKER,)),
        Rule(("Looped",), ("Retrying",), (SERVER,)),
        Rule(("Paused",), ("Resume", "Scheduled", "Running", "Cancelled"), (WORKER, SERVER)),
        Rule(("Paused",), ("Resume", "Scheduled", *_BY_HAND), (PERSON,)),
        # A run that goes on in another process expands its maps anew.
        Rule(("Mapped",), ("Mapped", *FAILED, "Skipped", "Cancelled"), (WORKER,)),
        # The end of a run ends its task runs.
        Rule(
            ("Pending", *WAITING, *HANDED_OVER, "Running", "Looped", "Paused"),
            ("Cancelled", *FAILED),
            (SERVER,),
        ),
        Rule(
            ("Pending", *WAITING, *HANDED_OVER, "Running", "Looped"),
            _BY_HAND,
            (PERSON,),
        ),
        Rule(_BY_HAND, ("Pending", "Scheduled"), (PERSON,)),
        *_ANOTHER_END,
    ),
}


def rows() -> Iterator[tuple[Entity, str, str, Author]]:
    """Yield the table row by row: what changes, from, to, by whom; each once."""
    for entity, allowed in _TABLE.items():
        for source, target, author in sorted(allowed):
            yield entity, source, target, author


def may_become(entity: Entity, current: str, new: str, by: Author) -> bool:
    """Say whether a state may follow another; `current` is empty before the first."""
    return (current, new, by) in _TABLE[entity]


_TABLE: Final[Mapping[Entity, frozenset[tuple[str, str, Author]]]] = {
    entity: frozenset(
        (source, target, author)
        for rule in rules
        for source in rule.sources
        for target in rule.targets
        for author in rule.by
    )
    for entity, rules in RULES.items()
}
