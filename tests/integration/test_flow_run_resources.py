"""What belongs to a flow run, over HTTP: looked at, changed, deleted."""

import uuid
from typing import Any

import pytest

from tests.contracts.server_stores import body_of, run_state, task_state
from tests.fakes.servers import TenutoServer
from tests.integration.test_server_api import FLOW, Api, claimed, new_run, slug_of

GRAPH = {
    **FLOW,
    "tasks": [{"slug": "a", "name": "a", "type": "m.T"}, {"slug": "b", "name": "b", "mapped": True}],
    "edges": [{"upstream_slug": "a", "downstream_slug": "b", "key": "x", "mapped": True}],
}


@pytest.fixture
def api(server: TenutoServer) -> Api:
    return Api(server, server.key)


@pytest.fixture
def flow(api: Api) -> dict[str, Any]:
    """Register a flow in a project of the test's own."""
    project = str(uuid.uuid4())
    assert api("POST", "/projects", {"name": project}).status == 201
    made = api("POST", "/flows", {"project": project, "serialized_flow": GRAPH})
    assert made.status == 201
    return {"project": project, **made.json()}


def ran(server: TenutoServer, api: Api, flow: dict[str, Any], *ends: Any) -> str:
    """Return the id of a run that its worker has told some events of, after that it runs."""
    claim = claimed(api, flow)
    run_id: str = claim["flow_run"]["id"]
    body = body_of(claim["epoch"], 1, [run_state("Running"), *ends])
    answer = Api(server, claim["lease_token"])("POST", f"/runs/{run_id}/events", body)
    assert answer.status == 200, answer.data
    return run_id


FAILED = (task_state("a", "Running"), task_state("a", "Failed", message="broken"), run_state("Failed"))


@pytest.mark.parametrize("what", ["", "/state", "/states", "/events", "/logs", "/task-runs", "/summary"])
def test_what_belongs_to_no_run_is_not_found(api: Api, what: str) -> None:
    answer = api("GET", f"/flow-runs/{uuid.uuid4()}{what}")
    assert (answer.status, slug_of(answer)) == (404, "not-found")


def test_states_of_a_task_run_of_another_run_are_not_found(
    server: TenutoServer, api: Api, flow: dict[str, Any]
) -> None:
    run, other = ran(server, api, flow, *FAILED), new_run(api, flow)
    (task,) = api("GET", f"/flow-runs/{run}/task-runs").json()["items"]

    assert len(api("GET", f"/flow-runs/{run}/task-runs/{task['id']}/states").json()) == 2
    assert slug_of(api("GET", f"/flow-runs/{other}/task-runs/{task['id']}/states")) == "not-found"


def test_an_agent_that_nobody_knows_is_told_so_and_does_not_wait(api: Api) -> None:
    # Held until there is a run, it would not be answered within the time that the request may take.
    answer = api("POST", f"/agents/{uuid.uuid4()}/claims", {"wait_seconds": 30})
    assert (answer.status, slug_of(answer)) == (404, "not-found")


def test_when_a_key_was_last_used_is_shown(server: TenutoServer, api: Api) -> None:
    made = api("POST", "/keys", {"name": "k", "role": "viewer"}).json()

    def last_used() -> str | None:
        (row,) = [row for row in api("GET", "/keys?limit=200").json()["items"] if row["id"] == made["id"]]
        used: str | None = row["last_used"]
        return used

    assert last_used() is None
    assert Api(server, made["key"])("GET", "/projects").status == 200
    first = last_used()
    assert first is not None
    assert Api(server, made["key"])("GET", "/projects").status == 200
    assert last_used() == first  # at most once a minute
