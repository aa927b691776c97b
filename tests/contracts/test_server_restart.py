"""Restarts and states set by hand, on both stores."""

from copy import copy
from functools import partial
from typing import Any

import pytest
from msgspec import Raw

from tenuto.journal.event import Event, ResultRef
from tenuto.server.store.sql import flow_runs, flows, restarts, runs
from tenuto.server.store.sql.leases import Fenced
from tenuto.server.store.sql.pages import PageRequest
from tenuto.server.store.sql.stream import IllegalTransition
from tests.contracts.server_stores import (
    Server,
    batch_of,
    run_state,
    task_state,
)

EDGES = [{"upstream_slug": "a", "downstream_slug": "b", "key": "x", "mapped": False, "flattened": False}]
STORED = ResultRef(kind="inline", value=Raw(b"1"))


@pytest.fixture
def server(server: Server) -> Server:
    """Give each store with a flow whose tasks depend on one another."""
    new = flows.NewVersion(project="P", serialized={"name": "f", "edges": EDGES}, digest="e")
    server.flow_id = server.database.write(partial(flows.register, new=new)).flow_id
    return server


FAILED = [
    run_state("Running"),
    task_state("a", "Running"),
    task_state("a", "Success", result=STORED),
    task_state("b", "Running"),
    task_state("b", "Failed"),
    run_state("Failed"),
]


def finished(server: Server, *events: Event) -> tuple[str, str]:
    """Return a run that has ended so, and the token of its worker."""
    run_id = server.new_run()
    (grant,) = server.claim()
    server.send(run_id, grant.token, batch_of(grant.epoch, 1, *map(copy, events)))
    return run_id, grant.token


def restart(server: Server, run_id: str, **given: Any) -> restarts.Restart:
    return server.database.write(partial(restarts.restart, run_id=run_id, by="me", **given))


def run_of(server: Server, run_id: str) -> dict[str, Any]:
    return server.database.read(partial(flow_runs.get_flow_run, run_id=run_id))


def tasks_of(server: Server, run_id: str) -> dict[str, dict[str, Any]]:
    page = partial(flow_runs.list_task_runs, run_id=run_id, request=PageRequest(limit=200))
    return {row["slug"]: dict(row) for row in server.database.read(page).rows}


def test_a_failed_run_goes_on_from_where_it_failed(server: Server) -> None:
    # I-1, I-9
    run_id, _ = finished(server, *FAILED)
    before = run_of(server, run_id)

    found = restart(server, run_id, message="the disk was full")

    after, tasks = run_of(server, run_id), tasks_of(server, run_id)
    assert ([task.slug for task in found.tasks], found.kept) == (["b"], 1)
    assert (after["state"], after["epoch"], after["end_time"]) == ("Scheduled", before["epoch"] + 1, None)
    assert (tasks["a"]["state"], tasks["b"]["state"]) == ("Success", "Pending")
    assert tasks["a"]["result_ref"]
    events = server.database.read(partial(flow_runs.read_states, run_id=run_id))
    assert events[-1]["payload"]["actor"] == "me"
    assert events[-1]["payload"]["message"] == "the disk was full"
    (grant,) = server.claim()
    assert grant.run["id"] == run_id
    rest = [
        run_state("Running"),
        task_state("b", "Running"),
        task_state("b", "Success"),
        run_state("Success"),
    ]
    server.send(run_id, grant.token, batch_of(grant.epoch, 1, *rest))
    assert run_of(server, run_id)["state"] == "Success"


def test_who_ran_it_before_is_fenced(server: Server) -> None:
    # I-5
    run_id, token = finished(server, *FAILED)
    restart(server, run_id)
    with pytest.raises(Fenced):
        server.send(run_id, token, batch_of(1, len(FAILED) + 1, task_state("b", "Success")))


def test_everything_runs_again_when_asked_so(server: Server) -> None:
    run_id, _ = finished(
        server, *FAILED[:-2], task_state("b", "Success", result=STORED), run_state("Success")
    )
    with pytest.raises(restarts.CannotRestart, match="everything"):
        restart(server, run_id)

    found = restart(server, run_id, everything=True)

    assert len(found.tasks) == 2
    assert {task["state"] for task in tasks_of(server, run_id).values()} == {"Pending"}


def test_a_plan_changes_nothing(server: Server) -> None:
    # R-BE-127
    run_id, _ = finished(server, *FAILED)
    before = run_of(server, run_id)
    assert len(restart(server, run_id, dry_run=True).tasks) == 1
    assert run_of(server, run_id) == before


def test_a_run_that_goes_on_is_not_restarted(server: Server) -> None:
    run_id, _ = finished(server, run_state("Running"))
    with pytest.raises(IllegalTransition):
        restart(server, run_id)


def test_states_are_set_by_hand_where_the_run_is_as_it_was_shown(server: Server) -> None:
    # R-API-57, R-BE-129
    run_id, _ = finished(server, *FAILED)
    version, task_id = run_of(server, run_id)["seq"], tasks_of(server, run_id)["b"]["task_run_id"]
    given: dict[str, Any] = {"run_id": run_id, "state": "Success", "by": "me"}

    with pytest.raises(runs.VersionConflict):
        server.database.write(partial(runs.set_run_state, **given, expected_version=version - 1))
    set_task = partial(runs.set_task_state, **given, task_run_id=task_id)
    server.database.write(partial(set_task, expected_version=version))
    server.database.write(partial(runs.set_run_state, **given, expected_version=version + 1))

    assert tasks_of(server, run_id)["b"]["state"] == "Success"
    assert run_of(server, run_id)["state"] == "Success"
    with pytest.raises(flows.NotFound):
        server.database.write(partial(set_task, task_run_id="01a220af-5023-767a-9f56-b051b2f444e4"))


def test_a_run_of_an_unknown_flow_is_refused(server: Server) -> None:
    server.flow_id = "01a220af-5023-767a-9f56-b051b2f444e4"
    with pytest.raises(flows.NotFound, match="flow"):
        server.new_run()


def test_events_before_and_after_a_restart_are_dense(server: Server) -> None:
    # I-3
    run_id, _ = finished(server, *FAILED)
    restart(server, run_id)
    rows = server.database.read(partial(flow_runs.read_events, run_id=run_id))
    assert [seq for seq, *_ in rows] == list(range(1, run_of(server, run_id)["seq"] + 1))
