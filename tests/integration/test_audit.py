"""Who did what is written down, once each, and admins read it."""

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tenuto.server.api.routing import Route, all_routes
from tenuto.server.app import make_app
from tenuto.server.domain.access import Permission
from tenuto.server.settings import Settings
from tests.contracts.server_stores import Clock, body_of, run_state, sqlite_store, task_state
from tests.contracts.test_server_schedules import MINUTELY
from tests.fakes.servers import TenutoServer
from tests.fault.harness.figures import figure
from tests.integration.test_server_api import FLOW, Api, claimed, new_run
from tests.integration.test_sessions import logged_in, opened


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TenutoServer]:
    with TenutoServer(tmp_path_factory.mktemp("server"), "--no-services") as running:
        yield running


class Asked:
    """Asks for each route that changes something, with what is there to be changed."""

    def __init__(self, server: TenutoServer) -> None:
        self.server, self.api = server, Api(server, server.key)
        self.project = self.api("POST", "/projects", {"name": f"P{time.monotonic_ns()}"}).json()
        body = {"project": self.project["name"], "serialized_flow": FLOW}
        self.flow = {"project": self.project["name"], **self.api("POST", "/flows", body).json()}
        self.group = f"/flow-groups/{self.flow['flow_group_id']}"
        self.version = f"/flows/{self.flow['id']}"
        self.run = f"/flow-runs/{new_run(self.api, self.flow)}"
        claim = claimed(self.api, self.flow)
        self.ended = f"/flow-runs/{claim['flow_run']['id']}"
        events = [
            run_state("Running"),
            task_state("a", "Running"),
            task_state("a", "Failed"),
            run_state("Failed"),
        ]
        path = f"/runs/{claim['flow_run']['id']}/events"
        assert (
            Api(server, claim["lease_token"])("POST", path, body_of(claim["epoch"], 1, events)).status == 200
        )
        (task,) = self.api("GET", f"{self.ended}/task-runs").json()["items"]
        self.task = f"{self.ended}/task-runs/{task['id']}"
        self.paused = self._paused_tasks()
        self.agent = f"/agents/{self.api('GET', '/agents').json()['items'][0]['id']}"
        self.key = self.api("POST", "/keys", {"name": "k", "role": "editor"}).json()

    def _paused_tasks(self) -> list[str]:
        """Return two tasks of a run that wait for an answer."""
        claim = claimed(self.api, self.flow)
        run_id, epoch = claim["flow_run"]["id"], claim["epoch"]
        events = [
            run_state("Running"),
            task_state("a", "Paused"),
            task_state("b", "Paused"),
            run_state("Paused"),
        ]
        worker = Api(self.server, claim["lease_token"])
        assert worker("POST", f"/runs/{run_id}/events", body_of(epoch, 1, events)).status == 200
        return [task["id"] for task in self.api("GET", f"/flow-runs/{run_id}/task-runs").json()["items"]]

    def all(self) -> dict[tuple[str, str], tuple[str, Any]]:
        """Return path and body by method and route, in an order in which each finds what it needs."""
        run = {"flow_group_id": self.flow["flow_group_id"], "parameters": {"n": 1}}
        cancelled, finished = {"type": "Cancelled"}, {"type": "Success"}
        one = {"ids": [self.ended.rpartition("/")[2]]}
        group, key = self.group, f"/keys/{self.key['id']}"
        return {
            ("POST", "/projects"): ("/projects", {"name": str(uuid.uuid4())}),
            ("PATCH", "/projects/{id}"): (f"/projects/{self.project['id']}", {"description": "x"}),
            ("PATCH", "/flow-groups/{id}"): (group, {"description": "x"}),
            ("POST", "/flow-runs"): ("/flow-runs", run),
            ("PATCH", "/flow-runs/{id}"): (self.run, {"name": "x", "labels": ["x"]}),
            ("POST", "/flow-runs/{id}/pause"): (f"{self.run}/pause", None),
            ("POST", "/flow-runs/{id}/resume"): (f"{self.run}/resume", None),
            ("POST", "/task-runs/{id}/approve"): (f"/task-runs/{self.paused[0]}/approve", None),
            ("POST", "/task-runs/{id}/reject"): (f"/task-runs/{self.paused[1]}/reject", {"message": "no"}),
            ("POST", "/flow-runs/{id}/start-now"): (f"{self.run}/start-now", None),
            ("POST", "/flow-runs/{id}/cancel"): (f"{self.run}/cancel", None),
            ("PUT", "/flow-runs/{id}/task-runs/{task_run_id}/state"): (f"{self.task}/state", cancelled),
            ("PUT", "/task-runs/{id}/state"): (f"/task-runs/{self.task.rpartition('/')[2]}/state", finished),
            ("PUT", "/flow-runs/{id}/state"): (f"{self.ended}/state", cancelled),
            ("POST", "/flow-runs/{id}/restart"): (f"{self.ended}/restart", {"from": "everything"}),
            ("DELETE", "/flow-runs/{id}"): (self.run, None),
            ("POST", "/flow-runs/bulk"): ("/flow-runs/bulk", {**one, "action": "restart"}),
            ("POST", "/flow-runs/bulk-delete"): ("/flow-runs/bulk-delete", one),
            ("PUT", "/flow-groups/{id}/schedule"): (f"{group}/schedule", {"described": MINUTELY}),
            ("POST", "/flow-groups/{id}/schedule/deactivate"): (f"{group}/schedule/deactivate", None),
            ("POST", "/flow-groups/{id}/schedule/activate"): (f"{group}/schedule/activate", None),
            ("DELETE", "/flow-groups/{id}/schedule"): (f"{group}/schedule", None),
            ("POST", "/flows"): ("/flows", {"project": self.project["name"], "serialized_flow": FLOW}),
            ("POST", "/flows/{id}/unarchive"): (f"{self.version}/unarchive", None),
            ("POST", "/flows/{id}/archive"): (f"{self.version}/archive", None),
            ("PATCH", "/agents/{id}"): (self.agent, {"paused": True}),
            ("POST", "/keys"): ("/keys", {"name": "x", "role": "viewer"}),
            ("PATCH", "/keys/{id}"): (key, {"role": "viewer"}),
            ("DELETE", "/keys/{id}"): (key, None),
            ("POST", "/tickets"): ("/tickets", None),
            ("POST", "/session"): ("/session", {"key": self.server.key}),
            ("DELETE", "/session"): ("/session", None),
        }


def changing_routes(tmp_path: Path) -> set[tuple[str, str]]:
    """Return method and path of each route by which people change something."""
    others = (Permission.WORK, Permission.LEASE)
    with sqlite_store(tmp_path, Clock()) as database:
        return {
            (method, route.path.removeprefix("/api/v1"))
            for route in all_routes(make_app(Settings(home=tmp_path), database))
            if isinstance(route, Route) and route.permission not in others
            for method in (route.methods or set()) - {"GET", "HEAD"}
        }


def entries(api: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api("GET", "/audit?limit=200").json()["items"]
    return found


def test_each_change_by_people_leaves_one_row(server: TenutoServer, tmp_path: Path) -> None:
    # S-25, R-BE-183
    asked = Asked(server)
    changes = asked.all()
    only_tells = {("POST", "/schedules/preview")}
    assert changing_routes(tmp_path) - only_tells == set(changes)

    missing = []
    for (method, route), (path, body) in changes.items():
        before = entries(asked.api)[0]["id"]
        answer = asked.api(method, path, body)
        assert answer.status < 300, (method, path, answer.data)
        new = [row for row in entries(asked.api) if row["id"] > before]
        told = [(row["method"], row["route"], row["object"], row["outcome"]) for row in new]
        if told != [(method, route, f"/api/v1{path}", "done")]:
            missing.append((method, route, told))
        assert all(row["actor"] == "this machine" and row["address"] == "127.0.0.1" for row in new)
    figure("audit", routes=len(changes), missing=len(missing))
    assert not missing


def test_a_change_that_fails_and_a_look_leave_none(server: TenutoServer) -> None:
    api = Api(server, server.key)
    before = entries(api)
    assert api("POST", f"/flow-runs/{uuid.uuid4()}/cancel").status == 404
    assert api("POST", "/projects", {"name": ""}).status == 422
    assert api("GET", "/projects").status == 200
    assert entries(api) == before


def test_refusals_and_logins_are_written_down(server: TenutoServer) -> None:
    # S-25
    api = Api(server, server.key)
    made = api("POST", "/keys", {"name": "viewer", "role": "viewer"}).json()
    before = entries(api)[0]["id"]

    assert Api(server, made["key"])("POST", "/projects", {"name": "x"}).status == 403
    assert Api(server, "tnt_wrong")("GET", "/projects").status == 401
    assert opened(server, f"{server.url}/login?ticket=wrong").status == 401
    logged_in(server, made["key"])

    new = [row for row in entries(api) if row["id"] > before][::-1]
    assert [(row["actor"], row["key_id"], row["method"], row["route"], row["outcome"]) for row in new] == [
        ("viewer", made["id"], "POST", "/projects", "denied"),
        ("", "", "GET", "/projects", "denied"),
        ("", "", "GET", "/login", "denied"),
        ("viewer", made["id"], "POST", "/session", "done"),
    ]


def test_what_a_key_was_and_is_stands_beside_its_change(server: TenutoServer) -> None:
    api = Api(server, server.key)
    made = api("POST", "/keys", {"name": "k", "role": "editor"}).json()
    api("PATCH", f"/keys/{made['id']}", {"role": "viewer"})
    row = entries(api)[0]
    assert (row["before"], row["after"]) == ({"role": "editor"}, {"role": "viewer"})
    assert made["key"] not in str(entries(api))


def test_only_admins_read_it(server: TenutoServer) -> None:
    api = Api(server, server.key)
    made = api("POST", "/keys", {"name": "e", "role": "editor"}).json()
    assert Api(server, made["key"])("GET", "/audit").status == 403
    denied = api("GET", f"/audit?outcome=denied&key_id={made['id']}&since=1h").json()["items"]
    assert [row["route"] for row in denied] == ["/audit"]
