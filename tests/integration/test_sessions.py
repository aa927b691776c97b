"""Sessions of browsers: how they are opened, what they may, and that they end when they should."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import urllib3
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.fakes.servers import TenutoServer
from tests.fault.harness.figures import figure
from tests.integration.test_server_api import Api, slug_of

ADDRESSES = count(2)
ENDS_WITHIN_SECONDS = 5  # S-7


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TenutoServer]:
    with TenutoServer(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def api(server: TenutoServer) -> Api:
    return Api(server, server.key)


class Browser(Api):
    """A browser's page: it has a cookie instead of a key, and says where its requests come from."""

    def __init__(self, server: TenutoServer, cookie: str, csrf: str = "") -> None:
        super().__init__(server)
        self.cookie = cookie.partition(";")[0]
        self._headers = {"Cookie": self.cookie, "Sec-Fetch-Site": "same-origin"}
        self._headers["X-CSRF-Token"] = csrf or self("GET", "/session").json().get("csrf_token", "")


def new_address() -> urllib3.PoolManager:
    """Return what asks from an address of this machine that nobody has logged in from: they are limited."""
    return urllib3.PoolManager(source_address=(f"127.0.0.{next(ADDRESSES)}", 0))


def opened(server: TenutoServer, url: str) -> urllib3.BaseHTTPResponse:
    with new_address() as pool:
        return pool.request("GET", url, redirect=False, retries=False)


def log_in(server: TenutoServer, key: str, pool: urllib3.PoolManager) -> urllib3.BaseHTTPResponse:
    return pool.request("POST", f"{server.url}/api/v1/session", json={"key": key}, retries=False)


def logged_in(server: TenutoServer, key: str) -> Browser:
    with new_address() as pool:
        answer = log_in(server, key, pool)
    assert answer.status == 200
    return Browser(server, answer.headers["set-cookie"])


def new_key(api: Api, role: str = "editor") -> dict[str, Any]:
    made: dict[str, Any] = api("POST", "/keys", {"name": f"k{time.monotonic_ns()}", "role": role}).json()
    return made


def test_a_ticket_opens_one_session(server: TenutoServer, api: Api) -> None:
    # S-3, S-5
    url = api("POST", "/tickets").json()["url"]

    first, again = opened(server, url), opened(server, url)

    assert (first.status, first.headers["location"], slug_of(again)) == (303, "/", "unauthenticated")
    for part in ("HttpOnly", "SameSite=strict", "Path=/"):
        assert part in first.headers["set-cookie"]
    browser = Browser(server, first.headers["set-cookie"])
    assert browser("GET", "/session").json()["name"] == "this machine"
    assert browser("GET", "/keys").status == 200


def test_the_address_of_another_session_is_printed_by_command(server: TenutoServer) -> None:
    environment = {**os.environ, "TENUTO__HOME_DIR": str(server.home)}
    command = [sys.executable, "-m", "tenuto", "server", "open", "--url"]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert opened(server, found.stdout.strip()).status == 303


def test_the_server_prints_where_a_browser_gets_in(tmp_path: Path) -> None:
    with TenutoServer(tmp_path / "home") as server:
        assert server.process.stdout is not None
        line = server.process.stdout.readline()
        assert opened(server, line.rpartition(" ")[2].strip()).status == 303
        assert server.rows("SELECT count(*) FROM session") == [(1,)]
        (digest,) = server.rows("SELECT digest FROM session")[0]
        assert len(digest) == 32


def test_pages_change_something_only_with_the_token_of_their_session(server: TenutoServer, api: Api) -> None:
    # S-5
    browser = logged_in(server, new_key(api)["key"])
    other = logged_in(server, new_key(api)["key"])
    name = f"P{time.monotonic_ns()}"

    for token in ("", "x", other._headers["X-CSRF-Token"]):
        assert slug_of(browser("POST", "/projects", {"name": name}, X_CSRF_Token=token)) == "forbidden"
    assert browser("POST", "/projects", {"name": name}, Sec_Fetch_Site="cross-site").status == 403
    assert browser("POST", "/projects", {"name": name}).status == 201


def test_a_session_may_what_its_key_may(server: TenutoServer, api: Api) -> None:
    browser = logged_in(server, new_key(api, "viewer")["key"])
    assert browser("GET", "/projects").status == 200
    assert browser("POST", "/projects", {"name": "no"}).status == 403


def test_nobody_tries_keys_one_after_the_other(server: TenutoServer, api: Api) -> None:
    # S-22
    key = new_key(api)["key"]
    with new_address() as pool:
        answers = [log_in(server, "tnt_wrong", pool) for _ in range(5)] + [log_in(server, key, pool)]
    assert [answer.status for answer in answers] == [401] * 5 + [429]
    assert (slug_of(answers[-1]), int(answers[-1].headers["Retry-After"]) > 0) == ("rate-limited", True)
    logged_in(server, key)


def test_nothing_in_the_database_opens_a_session(server: TenutoServer, api: Api) -> None:
    # S-6
    browser = logged_in(server, new_key(api)["key"])
    ticket = api("POST", "/tickets").json()["url"].partition("ticket=")[2]
    stored = b"".join(path.read_bytes() for path in server.home.glob("tenuto.db*"))
    assert browser.cookie.partition("=")[2].encode() not in stored
    assert ticket.encode() not in stored


# ------------------------------------------------------------------------------------------------------- ends

End = Callable[[Api, Browser, dict[str, Any]], urllib3.BaseHTTPResponse]

ENDS: dict[str, End] = {
    "logout": lambda api, browser, key: browser("DELETE", "/session"),
    "key revoked": lambda api, browser, key: api("DELETE", f"/keys/{key['id']}"),
    "role changed": lambda api, browser, key: api("PATCH", f"/keys/{key['id']}", {"role": "viewer"}),
}


@pytest.mark.parametrize("reason", ENDS)
def test_what_is_open_ends_with_the_right_to_it(server: TenutoServer, api: Api, reason: str) -> None:
    # S-7
    key = new_key(api)
    browser = logged_in(server, key["key"])
    stream = browser.stream("/events?topics=flow_runs")
    url = server.url.replace("http", "ws") + "/api/v1/ws"
    headers = {"Cookie": browser.cookie, "Origin": server.url}
    with connect(url, additional_headers=headers) as socket:
        socket.send(json.dumps({"subscribe": ["flow_runs"]}))
        began = time.monotonic()

        assert ENDS[reason](api, browser, key).status in (200, 204)

        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=60)
        of_socket = time.monotonic() - began
        assert stream.read() == b""
        of_stream = time.monotonic() - began
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401
    after = browser("GET", "/projects").status
    assert after == (200 if reason == "role changed" else 401)
    if reason == "role changed":
        assert browser("POST", "/projects", {"name": "no"}).status == 403
    held = max(of_socket, of_stream)
    figure("sessions", by=reason, still_valid_s=held)
    assert held <= ENDS_WITHIN_SECONDS


def test_an_agent_that_waits_gets_nothing_once_its_key_is_revoked(server: TenutoServer, api: Api) -> None:
    key = new_key(api, "agent")
    agent = Api(server, key["key"])
    agent_id = agent("POST", "/agents", {"name": f"a{time.monotonic_ns()}"}).json()["id"]
    waiting = agent.begin("POST", f"/agents/{agent_id}/claims", {"wait_seconds": 30})

    api("DELETE", f"/keys/{key['id']}")

    assert slug_of(waiting()) == "unauthenticated"
