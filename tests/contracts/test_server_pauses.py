"""Both stores pause runs, and have them go on by somebody's word."""

from functools import partial

import pytest

from tenuto._base.ids import task_run_id
from tenuto.server.store.sql import flow_runs, pauses
from tenuto.server.store.sql.claims import Claim
from tenuto.server.store.sql.flows import NotFound
from tenuto.server.store.sql.leases import Fenced
from tenuto.server.store.sql.pages import PageRequest
from tenuto.server.store.sql.runs import LeaseHeld
from tenuto.server.store.sql.stream import IllegalTransition
from tests.contracts.server_stores import (
    Server,
    batch_of,
    run_state,
    task_state,
)


def running(server: Server, *paused: str) -> Claim:
    """Return a run whose worker has paused some tasks, and is at it."""
    server.new_run("x")
    (grant,) = server.claim("x")
    events = [task_state(slug, "Paused") for slug in paused]
    server.send(grant.run["id"], grant.token, batch_of(grant.epoch, 1, run_state("Running"), *events))
    return grant


def paused(server: Server, *tasks: str) -> Claim:
    """Return a run that its worker has left for somebody to approve of tasks."""
    grant = running(server, *tasks)
    server.send(grant.run["id"], grant.token, batch_of(grant.epoch, 2 + len(tasks), run_state("Paused")))
    return grant


def state_of(server: Server, run_id: str) -> str:
    state: str = server.database.read(partial(flow_runs.get_flow_run, run_id=run_id))["state"]
    return state


def task_states(server: Server, run_id: str) -> dict[str, tuple[str, str]]:
    page = server.database.read(partial(flow_runs.list_task_runs, run_id=run_id, request=PageRequest()))
    return {row["slug"]: (row["state"], row["message"]) for row in page.rows}


def answer(server: Server, run_id: str, slug: str, *, approved: bool, message: str = "") -> None:
    server.database.write(
        partial(
            pauses.answer,
            task_run_id=task_run_id(run_id, slug, -1),
            approved=approved,
            by="ann",
            message=message,
        )
    )


def test_an_approved_task_goes_on_and_its_run_is_claimed_again(server: Server) -> None:
    # R-BE-131
    grant = paused(server, "a", "b")
    run_id = grant.run["id"]
    assert server.claim("x") == []

    answer(server, run_id, "a", approved=True)

    assert task_states(server, run_id) == {"a": ("Resume", "Approved by ann."), "b": ("Paused", "")}
    assert state_of(server, run_id) == "Scheduled"
    answer(server, run_id, "b", approved=False, message="too dear")
    assert task_states(server, run_id)["b"] == ("Failed", "Rejected by ann: too dear")
    (again,) = server.claim("x")
    assert again.run["id"] == run_id
    with pytest.raises(Fenced):
        server.send(run_id, grant.token, batch_of(grant.epoch, 5, run_state("Running")))


def test_a_task_is_answered_once(server: Server) -> None:
    grant = paused(server, "a")
    answer(server, grant.run["id"], "a", approved=True)
    with pytest.raises(IllegalTransition, match="Resume"):
        answer(server, grant.run["id"], "a", approved=False)
    with pytest.raises(NotFound):
        answer(server, grant.run["id"], "c", approved=True)


def test_while_a_worker_is_at_other_tasks_nobody_writes_its_states(server: Server) -> None:
    grant = running(server, "a")
    with pytest.raises(LeaseHeld):
        answer(server, grant.run["id"], "a", approved=True)
    assert task_states(server, grant.run["id"])["a"][0] == "Paused"


def test_a_run_that_waits_is_paused_and_resumed(server: Server) -> None:
    # R-BE-133
    run_id = server.new_run("x")

    server.database.write(partial(pauses.pause, run_id=run_id, by="ann"))

    assert (state_of(server, run_id), server.claim("x")) == ("Paused", [])
    server.database.write(partial(pauses.resume, run_id=run_id, by="ann"))
    assert [grant.run["id"] for grant in server.claim("x")] == [run_id]
    with pytest.raises(IllegalTransition):
        server.database.write(partial(pauses.resume, run_id=run_id, by="ann"))


def test_a_resumed_run_goes_on_with_all_its_tasks(server: Server) -> None:
    grant = paused(server, "a", "b")
    server.database.write(partial(pauses.resume, run_id=grant.run["id"], by="ann"))
    assert {state for state, _ in task_states(server, grant.run["id"]).values()} == {"Resume"}


def test_a_worker_is_asked_once_to_pause(server: Server) -> None:
    # R-API-73
    grant = running(server)
    for _ in range(2):
        server.database.write(partial(pauses.pause, run_id=grant.run["id"], by="ann"))

    assert server.heartbeat(grant).commands == [{"command": "pause"}]
    assert state_of(server, grant.run["id"]) == "Running"
    server.send(grant.run["id"], grant.token, batch_of(grant.epoch, 2, run_state("Paused")))
    server.database.write(partial(pauses.resume, run_id=grant.run["id"], by="ann"))
    (again,) = server.claim("x")
    assert server.heartbeat(again).commands == []


def test_a_run_that_has_ended_is_not_paused(server: Server) -> None:
    grant = running(server)
    server.send(grant.run["id"], grant.token, batch_of(grant.epoch, 2, run_state("Success")))
    with pytest.raises(IllegalTransition):
        server.database.write(partial(pauses.pause, run_id=grant.run["id"], by="ann"))
