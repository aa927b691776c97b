"""The server's API over HTTP: who may what, who is refused, and what those who follow are told."""

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import urllib3
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tenuto.schedules.schedules import CronSchedule
from tenuto.serialization.schedule import schedule_to_dict
from tenuto.server.api.routing import Route, all_routes
from tenuto.server.app import make_app
from tenuto.server.domain.access import ROLES, Permission, Role
from tenuto.server.settings import Settings
from tenuto.server.store.sql.keys import create_key, revoke_key
from tests.contracts.server_stores import Clock, body_of, run_state, sqlite_store, task_state
from tests.fakes.servers import TenutoServer
from tests.fault.harness.figures import figure

FLOW = {"name": "f", "parameters": [{"name": "n", "required": True}]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TenutoServer]:
    with TenutoServer(tmp_path_factory.mktemp("server")) as running:
        yield running


class Api:
    """What a program asks of a server."""

    def __init__(self, server: TenutoServer | str, key: str | None = None) -> None:
        url = server if isinstance(server, str) else server.url
        self.url = f"{url}/api/v1"
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._pool = urllib3.PoolManager()

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> urllib3.BaseHTTPResponse:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {**self._headers, "Content-Type": "application/json"}
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        return self._pool.request(method, self.url + path, body=data, headers=sent, retries=False, timeout=30)

    def stream(self, path: str) -> urllib3.BaseHTTPResponse:
        """Return a response that has begun."""
        return self._pool.request(
            "GET", self.url + path, headers=self._headers, preload_content=False, timeout=30
        )

    def begin(self, method: str, path: str, body: Any = None) -> Callable[[], urllib3.BaseHTTPResponse]:
        """Ask, and return what waits for the answer."""
        got: list[urllib3.BaseHTTPResponse] = []
        asking = threading.Thread(target=lambda: got.append(self(method, path, body)))
        asking.start()

        def answer() -> urllib3.BaseHTTPResponse:
            asking.join()
            return got[0]

        return answer

    def lines(self, path: str) -> Iterator[Any]:
        """Yield the lines of a stream, without those that only keep it open."""
        response = self.stream(path)
        try:
            rest = b""
            for part in response.stream(65536):
                *whole, rest = (rest + part).split(b"\n")
                yield from (json.loads(line) for line in whole if line)
        finally:
            response.close()


@pytest.fixture
def api(server: TenutoServer) -> Api:
    return Api(server, server.key)


@pytest.fixture
def flow(api: Api) -> dict[str, Any]:
    """Register a flow in a project of the test's own."""
    project = f"P{time.monotonic_ns()}"
    assert api("POST", "/projects", {"name": project}).status == 201
    made = api("POST", "/flows", {"project": project, "serialized_flow": FLOW})
    assert made.status == 201
    return {"project": project, **made.json()}


def new_run(api: Api, flow: dict[str, Any], *labels: str) -> str:
    body = {"flow_group_id": flow["flow_group_id"], "parameters": {"n": 1}, "labels": list(labels)}
    made = api("POST", "/flow-runs", body)
    assert made.status == 201
    run_id: str = made.json()["flow_run"]["id"]
    return run_id


def slug_of(response: urllib3.BaseHTTPResponse) -> str:
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == response.status
    assert problem["detail"]
    return str(problem["type"]).removeprefix("urn:tenuto:problem:")


# ----------------------------------------------------------------------------------------------------- access


def test_every_route_asks_every_role_for_its_permission(tmp_path: Path, server: TenutoServer) -> None:
    # S-2, S-6: the table of routes x roles x {none, wrong, expired, revoked}
    with sqlite_store(tmp_path, Clock()) as database:
        routes = [
            (route.path, method, route.permission)
            for route in all_routes(make_app(Settings(home=tmp_path), database))
            if isinstance(route, Route)
            for method in route.methods or ()
        ]
    assert len(routes) > 40
    admin = Api(server, server.key)
    keys: dict[str, str | None] = {"none": None, "wrong": "tnt_00000000000000000000000000000000_x"}
    for role in Role:
        keys[role] = admin("POST", "/keys", {"name": role, "role": role}).json()["key"]
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    expired = {"name": "old", "role": "admin", "expires_at": past}
    keys["expired"] = admin("POST", "/keys", expired).json()["key"]
    revoked = admin("POST", "/keys", {"name": "gone", "role": "admin"}).json()
    assert admin("DELETE", f"/keys/{revoked['id']}").status == 204
    keys["revoked"] = revoked["key"]

    cells, wrong = 0, []
    for who, key in keys.items():
        asking = Api(server, key)
        asking.url = server.url
        allowed = ROLES[Role(who)] if who in list(Role) else frozenset()
        for path, method, permission in routes:
            if permission in (Permission.PUBLIC, Permission.LEASE) or path.endswith(("/events", "/follow")):
                continue
            # Nothing that these ids name is there: whoever may gets 404 or 422, and nothing is changed.
            shown = path.replace("{id}", "01a220af-5023-767a-9f56-b051b2f444e4")
            shown = shown.replace("{project}", "none").replace("{flow}", "none").replace("{task_run_id}", "x")
            status = asking(method, _whole(shown), b"" if method in ("GET", "DELETE") else b"{").status
            expected_refusal = permission not in allowed
            refused = 401 if not allowed else 403
            cells += 1
            if (status == refused) != expected_refusal or status >= 500:
                wrong.append((who, method, path, status))
    figure("rbac", cells=cells, wrong=len(wrong))
    assert not wrong


def _whole(path: str) -> str:
    return (
        path
        if path.startswith("/api/v1") or path in ("/", "/health", "/ready", "/metrics")
        else "/api/v1" + path
    )


def test_a_key_of_a_store_is_found_by_its_secret_only(tmp_path: Path) -> None:
    # S-6: nothing in the database opens anything.
    with sqlite_store(tmp_path, Clock()) as database:
        key_id, key = database.write(partial(create_key, name="a", role=Role.ADMIN))
        secret = key.rsplit("_", 1)[1].encode()
        database.write(partial(revoke_key, key_id=key_id))
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("store.db*"))
    assert secret not in stored


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "[::2]", "@localhost"]
)
def test_a_request_to_another_name_is_refused(api: Api, host: str) -> None:
    # S-4
    assert slug_of(api("GET", "/projects", Host=host)) == "wrong-host"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Cookie": "session=x"},
    ],
)
def test_another_site_changes_nothing(api: Api, headers: dict[str, str]) -> None:
    # S-5
    assert slug_of(api("POST", "/projects", {"name": "of another site"}, **headers)) == "forbidden"
    assert "of another site" not in api("GET", "/projects?limit=200").data.decode()


def test_every_answer_has_the_headers_that_keep_pages_apart(api: Api) -> None:
    # S-16
    for path in ("/projects", "/nothing", "/keys"):
        headers = api("GET", path).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


# -------------------------------------------------------------------------------------------------- resources


def test_a_flow_run_says_what_it_lacks(api: Api, flow: dict[str, Any]) -> None:
    target = {"flow_group_id": flow["flow_group_id"]}

    missing = api("POST", "/flow-runs", target)
    unknown = api("POST", "/flow-runs", {**target, "parameters": {"n": 1, "nn": 2}})
    nothing = api("POST", "/flow-runs", {})

    assert (missing.status, slug_of(missing), missing.json()["names"]) == (422, "missing-parameters", ["n"])
    assert "Did you mean 'n'?" in unknown.json()["detail"]
    assert "flow_id" in nothing.json()["detail"]


def test_the_same_request_under_one_key_makes_one_run(api: Api, flow: dict[str, Any]) -> None:
    # R-BE-52
    body = {"flow_group_id": flow["flow_group_id"], "parameters": {"n": 1}}

    first = api("POST", "/flow-runs", body, Idempotency_Key="k")
    again = api("POST", "/flow-runs", body, Idempotency_Key="k")
    other = api("POST", "/flow-runs", {**body, "parameters": {"n": 2}}, Idempotency_Key="k")

    assert (first.status, again.status) == (201, 200)
    assert first.json()["flow_run"]["id"] == again.json()["flow_run"]["id"]
    assert again.headers["Idempotent-Replay"] == "true"
    assert (slug_of(other), other.json()["fields"]) == ("idempotency-mismatch", ["parameters"])


def test_registering_the_same_flow_makes_no_version_when_asked_so(api: Api, flow: dict[str, Any]) -> None:
    # R-BE-30
    body = {"project": flow["project"], "serialized_flow": FLOW, "idempotency_key": "auto"}

    same = api("POST", "/flows", body)
    changed = api("POST", "/flows", {**body, "serialized_flow": {**FLOW, "tasks": []}})

    assert (same.status, same.json()["version"], same.json()["created"]) == (200, 1, False)
    assert (changed.json()["version"], changed.json()["archived_ids"]) == (2, [flow["id"]])
    archived = api("POST", "/flow-runs", {"flow_id": flow["id"], "parameters": {"n": 1}})
    assert (slug_of(archived), archived.json()["current_flow_id"]) == ("archived", changed.json()["id"])


@pytest.mark.parametrize(
    "settings", [{"overlap": "never"}, {"max_concurrent_runs": -1}, {"catchup": ["all"]}]
)
def test_settings_of_a_flow_that_mean_nothing_are_refused(
    api: Api, flow: dict[str, Any], settings: dict[str, Any]
) -> None:
    # R-BE-72
    path = f"/flow-groups/{flow['flow_group_id']}"
    assert api("PATCH", path, {"settings": {"overlap": "skip"}}).status == 200

    refused = api("PATCH", path, {"settings": settings})

    assert (refused.status, slug_of(refused)) == (422, "invalid-request")
    assert next(iter(settings)) in refused.json()["detail"]
    assert api("GET", path).json()["settings"] == {"overlap": "skip"}


def test_jitter_that_means_nothing_is_refused(api: Api, flow: dict[str, Any]) -> None:
    # R-BE-73
    described = schedule_to_dict(CronSchedule("0 9 * * *"))
    described["clocks"][0]["jitter_seconds"] = -1

    refused = api("PUT", f"/flow-groups/{flow['flow_group_id']}/schedule", {"described": described})

    assert (refused.status, slug_of(refused)) == (422, "invalid-request")
    assert "jitter" in refused.json()["detail"]


def test_pages_go_on_after_the_last_row_whatever_was_added(api: Api, flow: dict[str, Any]) -> None:
    # R-API-38
    made = [new_run(api, flow) for _ in range(5)]
    query = f"/flow-runs?flow_group_id={flow['flow_group_id']}&limit=2"
    first = api("GET", query).json()
    new_run(api, flow)
    second = api("GET", f"{query}&cursor={first['next_cursor']}").json()
    third = api("GET", f"{query}&cursor={second['next_cursor']}&count=true").json()

    got = [run["id"] for page in (first, second, third) for run in page["items"]]
    assert got == made[::-1]
    assert (third["next_cursor"], third["total"]) == (None, 6)
    assert api("GET", f"{query}&cursor=x").status == 422
    assert api("GET", "/flow-runs?limit=201").status == 422
    assert api("GET", "/flow-runs?since=yesterday").status == 422


# ------------------------------------------------------------------------------------------------- runs, live


def claimed(api: Api, flow: dict[str, Any]) -> dict[str, Any]:
    """Return a run that an agent has claimed."""
    label = f"l{time.monotonic_ns()}"
    agent = api("POST", "/agents", {"name": label, "labels": [label]}).json()["id"]
    new_run(api, flow, label)
    (claim,) = api("POST", f"/agents/{agent}/claims", {"max": 1}).json()
    return dict(claim)


def test_a_claim_that_waits_is_answered_when_there_is_a_run(api: Api, flow: dict[str, Any]) -> None:
    # R-BE-84
    label = f"l{time.monotonic_ns()}"
    agent = api("POST", "/agents", {"name": label, "labels": [label]}).json()["id"]
    got: list[Any] = []
    waiting = threading.Thread(target=lambda: got.extend(api("POST", f"/agents/{agent}/claims", {}).json()))
    waiting.start()

    run_id = new_run(api, flow, label)
    waiting.join()

    assert [claim["flow_run"]["id"] for claim in got] == [run_id]
    assert got[0]["flow_run"]["state"]["type"] == "Submitted"


def test_a_worker_reports_by_its_token_and_no_other(
    server: TenutoServer, api: Api, flow: dict[str, Any]
) -> None:
    claim = claimed(api, flow)
    run_id, epoch = claim["flow_run"]["id"], claim["epoch"]
    worker, stranger = Api(server, claim["lease_token"]), Api(server, "x" * 43)
    body = body_of(epoch, 1, [run_state("Running"), task_state("a", "Running"), task_state("a", "Success")])

    assert slug_of(stranger("POST", f"/runs/{run_id}/events", body)) == "fenced"
    assert worker("POST", f"/runs/{run_id}/events", body).json()["acked"] == 3
    assert worker("POST", f"/runs/{run_id}/heartbeat", {"epoch": epoch}).json()["commands"] == []
    gap = worker("POST", f"/runs/{run_id}/events", body_of(epoch, 9, [run_state("Success")]))
    assert (slug_of(gap), gap.json()["expected"]) == ("gap", 4)
    assert slug_of(worker("POST", f"/runs/{run_id}/events", b"x" * (1 << 20) + b"y")) == "payload-too-large"
    assert api("POST", f"/flow-runs/{run_id}/cancel").json()["state"]["type"] == "Cancelling"
    beat = worker("POST", f"/runs/{run_id}/heartbeat", {"epoch": epoch}).json()
    assert beat["commands"] == [{"command": "cancel"}]
    # A token opens its own run, and nothing of the people's.
    assert worker("GET", "/flow-runs").status == 401


def test_a_failed_run_is_restarted(server: TenutoServer, api: Api, flow: dict[str, Any]) -> None:
    # R-BE-126
    claim = claimed(api, flow)
    path, epoch = f"/flow-runs/{claim['flow_run']['id']}", claim["epoch"]
    assert slug_of(api("POST", f"{path}/restart")) == "illegal-transition"
    events = [
        run_state("Running"),
        task_state("a", "Running"),
        task_state("a", "Failed"),
        run_state("Failed"),
    ]
    worker = Api(server, claim["lease_token"])
    worker("POST", f"/runs/{claim['flow_run']['id']}/events", body_of(epoch, 1, events))
    shown = api("GET", path).json()["version"]

    stale = api("PUT", f"{path}/state", {"type": "Success", "expected_version": shown - 1})
    plan = api("POST", f"{path}/restart", {"dry_run": True}).json()
    done = api("POST", f"{path}/restart", {"from": "failed"}).json()

    assert (slug_of(stale), stale.json()["current_version"]) == ("version-conflict", shown)
    assert (plan["again"], plan["flow_run"]["state"]["type"]) == (1, "Failed")
    assert (done["again"], done["flow_run"]["state"]["type"]) == (1, "Scheduled")
    assert done["tasks"] == [{"slug": "a", "map_index": -1, "state": "Failed"}]


def test_a_run_of_an_unknown_flow_is_refused(api: Api) -> None:
    for given in ({"flow_id": str(uuid.uuid4())}, {"flow_group_id": str(uuid.uuid4())}):
        assert slug_of(api("POST", "/flow-runs", given)) == "not-found"
    assert slug_of(api("POST", "/flow-runs", {"flow_id": "no id"})) == "invalid-request"


def test_what_happens_is_told_in_order_and_goes_on_after_a_break(
    api: Api, flow: dict[str, Any], server: TenutoServer
) -> None:
    # R-API-51, 55
    claim = claimed(api, flow)
    run_id, worker = claim["flow_run"]["id"], Api(server, claim["lease_token"])
    first = next(api.lines(f"/events?topics=flow_run:{run_id}&after=0.0.0"))
    worker(
        "POST",
        f"/runs/{run_id}/events",
        body_of(claim["epoch"], 1, [run_state("Running"), task_state("a", "Running"), run_state("Success")]),
    )

    told = []
    for message in api.lines(f"/events?topics=flow_run:{run_id}&after={first['id']}"):
        told.append((message["event"], message["data"].get("state")))
        if told[-1] == ("flow_run.state", "Success"):
            break

    assert told == [
        ("flow_run.state", "Submitted"),
        ("flow_run.state", "Running"),
        ("task_run.state", "Running"),
        ("flow_run.state", "Success"),
    ]


def test_logs_are_followed_to_the_end_of_the_run(
    api: Api, flow: dict[str, Any], server: TenutoServer
) -> None:
    # R-API-52
    claim = claimed(api, flow)
    run_id, epoch, worker = claim["flow_run"]["id"], claim["epoch"], Api(server, claim["lease_token"])
    worker("POST", f"/runs/{run_id}/events", body_of(epoch, 1, [run_state("Running")]))
    records = [{"lseq": number, "level": 20, "message": f"line {number}"} for number in (1, 2)]
    worker("POST", f"/runs/{run_id}/logs", {"epoch": epoch, "first": 1, "records": records})
    lines = api.lines(f"/flow-runs/{run_id}/logs/follow")
    got = [next(lines)["message"], next(lines)["message"]]
    more = {"epoch": epoch, "first": 3, "records": [{"lseq": 3, "message": "the last"}]}
    worker("POST", f"/runs/{run_id}/logs", more)
    worker("POST", f"/runs/{run_id}/events", body_of(epoch, 2, [run_state("Success")]))

    got += [line.get("message", "done") for line in lines]

    assert got == ["line 1", "line 2", "the last", "done"]
    assert api("GET", f"/flow-runs/{run_id}/logs?q=LAST").data.count(b"\n") == 1


def test_a_tab_is_told_over_its_socket(server: TenutoServer, api: Api, flow: dict[str, Any]) -> None:
    # R-API-53
    url = server.url.replace("http", "ws") + "/api/v1/ws"
    with connect(url, additional_headers={"Authorization": f"Bearer {server.key}"}) as socket:
        socket.send(json.dumps({"subscribe": ["flow_runs"], "after": "0.0.0"}))
        run_id = new_run(api, flow)
        while True:
            message = json.loads(socket.recv(timeout=30))
            if message["data"].get("flow_run_id") == run_id:
                break
    assert message["data"]["state"] == "Scheduled"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x"}, {"Origin": "http://evil.example"}])
def test_a_socket_takes_no_stranger(server: TenutoServer, headers: dict[str, str]) -> None:
    # S-3
    if "Origin" in headers:
        headers = {**headers, "Authorization": f"Bearer {server.key}"}
    url = server.url.replace("http", "ws") + "/api/v1/ws"
    with pytest.raises(InvalidStatus):
        connect(url, additional_headers=headers)


# ---------------------------------------------------------------------------------------------------- process


def test_a_second_server_on_the_same_file_says_so(server: TenutoServer) -> None:
    with pytest.raises(AssertionError, match="Another server uses the database"):
        TenutoServer(server.home)


def test_a_server_that_others_reach_needs_a_key(tmp_path: Path) -> None:
    # S-1
    with pytest.raises(AssertionError, match="there is no API key yet"):
        TenutoServer(tmp_path / "home", "--host", "0.0.0.0")


def test_a_key_is_made_by_command_and_lets_the_server_be_reached(tmp_path: Path) -> None:
    # R-CLI-85
    home = tmp_path / "home"
    with TenutoServer(home) as server:
        made = subprocess.run(
            [sys.executable, "-m", "tenuto", "auth", "create-key", "-n", "me", "--role", "admin", "-q"],
            env={**os.environ, "TENUTO__HOME_DIR": str(home)},
            capture_output=True,
            text=True,
            check=True,
        )
        key = made.stdout.strip()
        assert Api(server, key)("GET", "/keys").json()["items"][0]["name"] == "me"
        server.stop()
    with TenutoServer(home, "--host", "127.0.0.2") as server:
        assert Api(server, key)("GET", "/projects").status == 200
        assert Api(server, server.key)("GET", "/projects").status == 401


def test_a_port_in_use_is_named(server: TenutoServer, tmp_path: Path) -> None:
    port = int(server.url.rsplit(":", 1)[1])
    with pytest.raises(AssertionError, match="Something already listens"):
        TenutoServer(tmp_path / "home", port=port)


def test_told_to_stop_it_ends_its_streams_and_exits_with_0(tmp_path: Path) -> None:
    # I-16
    with TenutoServer(tmp_path / "home") as server:
        api = Api(server, server.key)
        following = api.stream("/events?topics=flow_runs")
        assert server.stop() == 0
        assert following.read() == b""
    assert not (server.home / "server.json").exists()
