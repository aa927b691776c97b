"""The table of transitions, against what was written down before it."""

import pytest

from tenuto.engine import state as states
from tenuto.journal.states import FINAL_STATES
from tenuto.server.domain.lifecycle import NEW, Author, Entity, may_become, rows
from tests.reference.transitions import DOCUMENTED

UNFINISHED = (
    "Pending",
    "Scheduled",
    "Resume",
    "Retrying",
    "Submitted",
    "Queued",
    "Running",
    "Looped",
    "Paused",
)

# What the document leaves open, and why it is there.
BEYOND: dict[str, set[tuple[str, str]]] = {
    "flow_run": {
        ("Running", "Running"),  # R-API-60: its holder tells a new message
        # Finished, which only people set, is left as other final states are.
        *(("Finished", other) for other in FINAL_STATES | {"Scheduled"} if other != "Finished"),
    },
    "task_run": {
        (NEW, "Pending"),
        ("Pending", "Pending"),
        # A run that is set Finished by hand, with its task runs.
        *((source, "Finished") for source in UNFINISHED),
        *(("Finished", other) for other in FINAL_STATES | {"Pending", "Scheduled"} if other != "Finished"),
    },
}
# R-API-60: a final state is left for another one. Maps are expanded anew by the next process of a run.
SAME = {(state, state) for state in FINAL_STATES}
LEFT_OUT: dict[str, set[tuple[str, str]]] = {"flow_run": SAME, "task_run": SAME - {("Mapped", "Mapped")}}


def pairs(entity: Entity, *authors: Author) -> set[tuple[str, str]]:
    return {
        (source, target)
        for kind, source, target, author in rows()
        if kind == entity and author in (authors or Author)
    }


@pytest.mark.parametrize("entity", ["flow_run", "task_run"])
def test_table_is_that_of_the_document(entity: Entity) -> None:
    assert pairs(entity) == (DOCUMENTED[entity] - LEFT_OUT[entity]) | BEYOND[entity]


@pytest.mark.parametrize("entity", ["flow_run", "task_run"])
def test_final_states_are_left_by_people_only(entity: Entity) -> None:
    # I-9. A map that is expanded anew stays a map, or fails.
    left = {
        (source, target)
        for source, target in pairs(entity, Author.WORKER, Author.SERVER)
        if source in FINAL_STATES
    }
    again = {("Mapped", target) for target in ("Mapped", "Skipped", "Cancelled", *FAILED)}
    assert left == (again if entity == "task_run" else set())


FAILED = ("Failed", "TimedOut", "TriggerFailed", "ValidationFailed")


def test_server_writes_nothing_but_cancelling_into_a_run_that_goes_on() -> None:
    # Everything else that it makes of a Running run ends the lease: rescue, release, forced cancel.
    targets = {target for source, target in pairs("flow_run", Author.SERVER) if source == "Running"}
    assert targets == {"Cancelling", "Scheduled", "Cancelled", *FAILED}


def test_workers_neither_submit_nor_schedule_nor_cancel_for_others() -> None:
    targets = {target for _, target in pairs("flow_run", Author.WORKER)}
    assert not targets & {"Submitted", "Queued", "Scheduled", "Resume", "Retrying", "Cancelling", "Finished"}


def test_table_names_states_that_exist() -> None:
    # R-API-56: every name is that of a class of states
    named = {state for _, *pair, _ in rows() for state in pair} - {NEW}
    assert [name for name in sorted(named) if not hasattr(states, name)] == []


def test_every_state_that_is_not_final_can_be_left() -> None:
    for entity in ("flow_run", "task_run"):
        entered = {target for _, target in pairs(entity)}
        left = {source for source, _ in pairs(entity)}
        assert entered - left == set()


def test_rows_come_once_and_in_order() -> None:
    found = list(rows())
    assert len(found) == len(set(found))
    assert found == [row for entity in ("flow_run", "task_run") for row in sorted(found) if row[0] == entity]
    assert all(may_become(*row) for row in found)


def test_unknown_states_follow_nothing() -> None:
    assert not may_become("flow_run", "Running", "Sparkling", Author.WORKER)
    assert not may_become("flow_run", "Sparkling", "Failed", Author.SERVER)
    assert not may_become("task_run", "Running", "", Author.PERSON)
