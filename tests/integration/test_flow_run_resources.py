"""What belongs to a flow run, over HTTP: looked at, changed, deleted."""

import json
import uuid
from itertools import takewhile
from typing import Any

import pytest

from tenuto.journal.event import Event, Kind
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


# ------------------------------------------------------------------------------------------------------ views


def test_the_graph_and_the_times_take_children_together(
    server: TenutoServer, api: Api, flow: dict[str, Any]
) -> None:
    # R-API-49
    children = [task_state("b", state, index) for index in (0, 1, 2) for state in ("Running", "Success")]
    run_id = ran(
        server,
        api,
        flow,
        task_state("a", "Running"),
        task_state("a", "Success"),
        task_state("b", "Mapped", children=3),
        *children[:-1],
    )

    graph = api("GET", f"/flow-runs/{run_id}/graph").json()
    timeline = api("GET", f"/flow-runs/{run_id}/timeline").json()

    told = {node["slug"]: (node["state"], node["children"]) for node in graph["nodes"]}
    assert told == {"a": ("Success", {}), "b": ("Mapped", {"Success": 2, "Running": 1})}
    assert [(edge["upstream"], edge["downstream"], edge["mapped"]) for edge in graph["edges"]] == [
        ("a", "b", True)
    ]
    assert [(task["slug"], task["end_time"] is None) for task in timeline["tasks"]] == [
        ("a", False),
        ("b", True),
    ]
    assert timeline["tasks"][0]["start_time"] < timeline["tasks"][1]["start_time"]
    assert (timeline["start_time"] is None, timeline["end_time"]) == (False, None)


def test_artifacts_of_a_run_are_listed(server: TenutoServer, api: Api, flow: dict[str, Any]) -> None:
    # R-BE-158
    def artifact(**data: Any) -> Event:
        return Event(kind=Kind.ARTIFACT, slug="a", data=data)

    run_id = ran(
        server,
        api,
        flow,
        artifact(kind="link", body={"link": "http://x"}),
        artifact(kind="progress", key="p", body={"progress": 1}),
        artifact(kind="progress", key="p", body={"progress": 2}),
    )

    found = api("GET", f"/flow-runs/{run_id}/artifacts").json()["items"]

    assert sorted((each["kind"], each["key"], *each["body"].values()) for each in found) == [
        ("link", "", "http://x"),
        ("progress", "p", 2),
    ]
    assert {each["flow_run_id"] for each in found} == {run_id}
    assert api("GET", f"/flow-runs/{new_run(api, flow)}/artifacts").json()["items"] == []


def test_children_of_a_run_are_listed(api: Api, flow: dict[str, Any]) -> None:
    parent = new_run(api, flow)
    body = {"flow_id": flow["id"], "parameters": {"n": 1}, "parent_flow_run_id": parent}
    made = [api("POST", "/flow-runs", body).json()["flow_run"]["id"] for _ in range(2)]
    new_run(api, flow)

    children = api("GET", f"/flow-runs/{parent}/children").json()["items"]

    assert [child["id"] for child in children] == made[::-1]


def test_why_a_run_does_not_start_is_told(api: Api, flow: dict[str, Any]) -> None:
    # R-BE-58, R-BE-72
    label = str(uuid.uuid4())
    api("POST", "/agents", {"name": label, "labels": [label], "limit": 1})
    api("PATCH", f"/flow-groups/{flow['flow_group_id']}", {"settings": {"max_concurrent_runs": 1}})

    def codes(run_id: str) -> list[str]:
        return [reason["code"] for reason in api("GET", f"/flow-runs/{run_id}/explain").json()["reasons"]]

    free, stuck = new_run(api, flow, label), new_run(api, flow, label, "of nobody")
    assert codes(free) == ["none"]
    told = api("GET", f"/flow-runs/{stuck}/explain").json()
    assert told["state"] == "Scheduled"
    assert "of nobody" in told["reasons"][0]["missing_labels"]
    agents = api("GET", "/agents?limit=200").json()["items"]
    (agent,) = [agent["id"] for agent in agents if agent["name"] == label]
    assert len(api("POST", f"/agents/{agent}/claims", {}).json()) == 1
    next_one = new_run(api, flow, label)
    assert codes(free) == ["claimed"]
    assert codes(next_one) == ["flow-limit", "agents-full"]


# ---------------------------------------------------------------------------------------------------- changes


def test_a_run_with_other_labels_is_taken_by_other_agents(api: Api, flow: dict[str, Any]) -> None:
    label = str(uuid.uuid4())
    agent = api("POST", "/agents", {"name": label, "labels": [label]}).json()["id"]
    run_id = new_run(api, flow, "of nobody")

    changed = api("PATCH", f"/flow-runs/{run_id}", {"name": "renamed", "labels": [label, label]})

    assert (changed.json()["name"], changed.json()["labels"]) == ("renamed", [label])
    (claim,) = api("POST", f"/agents/{agent}/claims", {}).json()
    assert claim["flow_run"]["id"] == run_id
    events = [json.loads(line) for line in api("GET", f"/flow-runs/{run_id}/events").data.splitlines()]
    assert any(
        label in each["event"].get("message", "") for each in events if each["event"]["kind"] == "note"
    )


def test_a_deleted_run_is_gone_with_all_that_belongs_to_it(
    server: TenutoServer, api: Api, flow: dict[str, Any]
) -> None:
    run_id, other = ran(server, api, flow, *FAILED), ran(server, api, flow, *FAILED)

    assert api("DELETE", f"/flow-runs/{run_id}").status == 204

    for what in ("", "/states", "/events", "/logs", "/task-runs"):
        assert slug_of(api("GET", f"/flow-runs/{run_id}{what}")) == "not-found"
    assert slug_of(api("DELETE", f"/flow-runs/{run_id}")) == "not-found"
    assert api("GET", f"/flow-runs/{other}/task-runs").json()["items"]


def test_a_run_that_a_worker_is_at_is_not_deleted(
    server: TenutoServer, api: Api, flow: dict[str, Any]
) -> None:
    run_id = ran(server, api, flow)

    refused = api("DELETE", f"/flow-runs/{run_id}")

    assert (refused.status, slug_of(refused)) == (409, "illegal-transition")
    assert api("GET", f"/flow-runs/{run_id}").json()["state"]["type"] == "Running"


def test_who_follows_is_told_of_a_deletion(api: Api, flow: dict[str, Any]) -> None:
    run_id = new_run(api, flow)
    lines = api.lines("/events?topics=flow_runs&after=0")
    assert next(line for line in lines if line["data"]["flow_run_id"] == run_id)["event"] == "flow_run.state"

    assert api("DELETE", f"/flow-runs/{run_id}").status == 204
    after = new_run(api, flow)

    told = takewhile(lambda line: line["data"]["flow_run_id"] != after, lines)
    # Its last events may be gone before they are told.
    events = [line["event"] for line in told if line["data"]["flow_run_id"] == run_id]
    assert [event for event in events if event != "flow_run.state"] == ["flow_run.deleted"]


# -------------------------------------------------------------------------------------------------- task runs


def test_a_task_run_is_found_by_its_id_with_what_belongs_to_it(
    server: TenutoServer, api: Api, flow: dict[str, Any]
) -> None:
    claim = claimed(api, flow)
    run_id, epoch, worker = claim["flow_run"]["id"], claim["epoch"], Api(server, claim["lease_token"])
    children = [task_state("b", "Running", index) for index in (0, 1)]
    artifact = Event(kind=Kind.ARTIFACT, slug="b", index=1, data={"kind": "link", "body": {}})
    events = [run_state("Running"), task_state("b", "Mapped", children=2), *children, artifact]
    worker("POST", f"/runs/{run_id}/events", body_of(epoch, 1, [*events, task_state("b", "Success", 1)]))
    records = [
        {"lseq": 1, "message": "of the run"},
        {"lseq": 2, "message": "of b", "slug": "b"},
        {"lseq": 3, "message": "of b 0", "slug": "b", "index": 0},
        {"lseq": 4, "message": "of b 1", "slug": "b", "index": 1},
    ]
    assert (
        worker("POST", f"/runs/{run_id}/logs", {"epoch": epoch, "first": 1, "records": records}).status == 200
    )
    tasks = api("GET", f"/flow-runs/{run_id}/task-runs").json()["items"]
    ids = {task["map_index"]: task["id"] for task in tasks}

    path = f"/task-runs/{ids[1]}"
    found = api("GET", path).json()
    lines = [json.loads(line) for line in api("GET", f"{path}/logs").data.splitlines()]

    assert (found["flow_run_id"], found["slug"], found["map_index"]) == (run_id, "b", 1)
    states = [state["state"]["type"] for state in api("GET", f"{path}/states").json()]
    assert states == ["Running", "Success"]
    assert [(line["message"], line["task_run_id"]) for line in lines] == [("of b 1", ids[1])]
    assert [each["kind"] for each in api("GET", f"{path}/artifacts").json()["items"]] == ["link"]
    mapped = api("GET", f"/task-runs/{ids[-1]}/mapped").json()["items"]
    assert [child["map_index"] for child in mapped] == [0, 1]
    running = api("GET", f"/task-runs/{ids[-1]}/mapped?state=Running").json()["items"]
    assert [child["map_index"] for child in running] == [0]
    for what in ("", "/states", "/logs", "/artifacts", "/mapped"):
        assert slug_of(api("GET", f"/task-runs/{uuid.uuid4()}{what}")) == "not-found"


def test_task_runs_are_listed_by_what_they_and_their_runs_are(
    server: TenutoServer, api: Api, flow: dict[str, Any]
) -> None:
    # R-API-39
    first, second = ran(server, api, flow, *FAILED), ran(server, api, flow, *FAILED)
    ran(server, api, flow, task_state("a", "Running"), task_state("c", "Running"))
    of_flow = f"/task-runs?flow_group_id={flow['flow_group_id']}"

    def runs(query: str) -> list[str]:
        return [task["flow_run_id"] for task in api("GET", f"{of_flow}{query}").json()["items"]]

    assert runs("&state=Failed") == [second, first]
    assert runs(f"&flow_run_id={first}") == [first]
    assert len(runs("&slug=a")) == 3
    assert len(runs("")) == 4
    assert runs("&until=2020-01-01") == []
    page = api("GET", f"{of_flow}&state=Failed&limit=1").json()
    rest = api("GET", f"{of_flow}&state=Failed&cursor={page['next_cursor']}").json()
    assert [task["flow_run_id"] for task in (*page["items"], *rest["items"])] == [second, first]


def test_the_state_of_a_task_run_is_set_by_its_id(
    server: TenutoServer, api: Api, flow: dict[str, Any]
) -> None:
    # R-BE-129
    run_id = ran(server, api, flow, *FAILED)
    (task,) = api("GET", f"/flow-runs/{run_id}/task-runs").json()["items"]

    changed = api("PUT", f"/task-runs/{task['id']}/state", {"type": "Success", "message": "it was done"})

    assert changed.json()["state"]["type"] == "Success"
    stale = api("PUT", f"/task-runs/{task['id']}/state", {"type": "Failed", "expected_version": 1})
    assert slug_of(stale) == "version-conflict"


def test_a_paused_task_is_approved_or_rejected(server: TenutoServer, api: Api, flow: dict[str, Any]) -> None:
    # R-BE-131
    paused = [task_state("a", "Paused"), task_state("b", "Paused"), run_state("Paused")]
    run_id = ran(server, api, flow, *paused)
    tasks = {
        task["slug"]: task["id"] for task in api("GET", f"/flow-runs/{run_id}/task-runs").json()["items"]
    }

    approved = api("POST", f"/task-runs/{tasks['a']}/approve").json()
    rejected = api("POST", f"/task-runs/{tasks['b']}/reject", {"message": "too dear"}).json()

    assert approved["state"]["type"] == "Resume"
    assert (rejected["state"]["type"], "too dear" in rejected["state"]["message"]) == ("Failed", True)
    assert api("GET", f"/flow-runs/{run_id}").json()["state"]["type"] == "Scheduled"
    assert slug_of(api("POST", f"/task-runs/{tasks['a']}/reject")) == "illegal-transition"
    assert api("POST", f"/flow-runs/{run_id}/pause").json()["state"]["type"] == "Paused"
    assert api("POST", f"/flow-runs/{run_id}/resume").json()["state"]["type"] == "Scheduled"


# ------------------------------------------------------------------------------------------------------- many


def test_many_runs_are_cancelled_page_by_page_and_nothing_else_is(
    server: TenutoServer, api: Api, flow: dict[str, Any]
) -> None:
    # R-API-42
    waiting, failed = [new_run(api, flow) for _ in range(3)], ran(server, api, flow, *FAILED)
    other = new_run(api, flow)
    meant = {"flow_group_id": flow["flow_group_id"], "states": ["Scheduled", "Failed"]}
    api("PATCH", f"/flow-runs/{other}", {"labels": ["other"]})
    body = {
        "action": "cancel",
        "filter": {**meant, "until": api("GET", f"/flow-runs/{other}").json()["created"]},
    }

    counted = api("POST", "/flow-runs/bulk", {**body, "dry_run": True}).json()
    first = api("POST", "/flow-runs/bulk", {**body, "limit": 2, "message": "all of them"}).json()
    rest = api("POST", "/flow-runs/bulk", {**body, "limit": 2, "cursor": first["next_cursor"]}).json()

    assert (counted["states"], counted["done"]) == ({"Failed": 1, "Scheduled": 3}, [])
    assert (first["done"], rest["done"], rest["next_cursor"]) == (
        [failed, waiting[2]],
        [waiting[1], waiting[0]],
        None,
    )
    states = [api("GET", f"/flow-runs/{run_id}").json()["state"] for run_id in (*waiting, failed, other)]
    assert [state["type"] for state in states] == [*["Cancelled"] * 3, "Failed", "Scheduled"]
    assert states[2]["message"] == "all of them"


def test_of_many_runs_those_that_cannot_be_restarted_are_named(
    server: TenutoServer, api: Api, flow: dict[str, Any]
) -> None:
    # R-API-42
    failed, running = ran(server, api, flow, *FAILED), ran(server, api, flow)

    answer = api("POST", "/flow-runs/bulk", {"action": "restart", "ids": [failed, running]}).json()

    assert answer["done"] == [failed]
    assert [(each["id"], each["problem"]) for each in answer["refused"]] == [(running, "illegal-transition")]
    assert api("GET", f"/flow-runs/{failed}").json()["state"]["type"] == "Scheduled"


def test_many_runs_are_deleted_by_who_may(server: TenutoServer, api: Api, flow: dict[str, Any]) -> None:
    operator = api("POST", "/keys", {"name": "o", "role": "operator"}).json()["key"]
    failed, running = ran(server, api, flow, *FAILED), ran(server, api, flow)
    body = {"filter": {"flow_group_id": flow["flow_group_id"]}}

    assert Api(server, operator)("POST", "/flow-runs/bulk-delete", body).status == 403
    answer = api("POST", "/flow-runs/bulk-delete", body).json()

    assert (answer["done"], [each["id"] for each in answer["refused"]]) == ([failed], [running])
    left = api("GET", f"/flow-runs?flow_group_id={flow['flow_group_id']}").json()["items"]
    assert [run["id"] for run in left] == [running]


@pytest.mark.parametrize("body", [{}, {"filter": {}}, {"filter": {"states": []}}, {"ids": []}])
def test_a_request_that_would_mean_all_runs_is_refused(api: Api, body: dict[str, Any]) -> None:
    for path, more in (("bulk", {"action": "cancel"}), ("bulk-delete", {})):
        answer = api("POST", f"/flow-runs/{path}", {**body, **more, "dry_run": True})
        assert (answer.status, slug_of(answer)) == (422, "invalid-request")
