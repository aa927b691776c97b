import gzip
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tenuto.client.configured import ServerAddress
from tenuto.client.http import (
    HttpClient,
    NoServer,
    NotFound,
    NotPermitted,
    RequestRefused,
    ServerUnreachable,
)
from tenuto.exceptions import AuthorizationError, ClientError, ObjectNotFoundError
from tests.fakes.ports import free_port
from tests.fakes.servers import LocalServer


class Answering(LocalServer):
    """Gives the answers that it was told to, one after the other, and keeps the requests."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.requests: list[tuple[str, str, bytes, dict[str, str]]] = []
        waiting = list(answers)
        requests = self.requests

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                requests.append((self.command, self.path, body, dict(self.headers)))
                status, answer = waiting.pop(0)
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Location", "/elsewhere")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                """Say nothing on stderr."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.address = ServerAddress(f"http://127.0.0.1:{server.server_address[1]}", "the key")
        super().__init__(server)


class Waits:
    """Keeps what it is asked to wait for, and gives up after some times."""

    def __init__(self, times: int) -> None:
        self.seconds: list[float] = []
        self.times = times

    def __call__(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        return len(self.seconds) <= self.times


@pytest.fixture
def started() -> Iterator[list[LocalServer]]:
    servers: list[LocalServer] = []
    yield servers
    for server in servers:
        server.stop()


def answering(started: list[LocalServer], *answers: tuple[int, Any]) -> tuple[Answering, HttpClient]:
    server = Answering(*answers)
    started.append(server)
    return server, HttpClient(lambda: server.address)


def test_key_or_token_is_shown_and_the_answer_decoded(started: list[LocalServer]) -> None:
    server, client = answering(started, (200, {"acked": 3}), (200, b""))
    assert client.request("POST", "/api/v1/x", b"{}") == {"acked": 3}
    assert client.request("POST", "/api/v1/x", b"{}", token="of a lease") == {}
    client.close()
    assert [headers["Authorization"] for *_, headers in server.requests] == [
        "Bearer the key",
        "Bearer of a lease",
    ]


def test_announcements_that_are_long_are_compressed_and_no_others(started: list[LocalServer]) -> None:
    server, client = answering(started, *[(200, {})] * 3)
    long = b'"' + b"x" * 100_000 + b'"'
    client.request("POST", "/api/v1/runs/adopt", long)
    client.request("POST", "/api/v1/runs/adopt", b"{}")
    client.request("POST", "/api/v1/runs/1/events", long)
    client.close()
    encoded, short, events = (body for _, _, body, _ in server.requests)
    assert (gzip.decompress(encoded), short, events) == (long, b"{}", long)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_same_bytes_are_sent_again_while_the_server_says_later(
    started: list[LocalServer], status: int
) -> None:
    server, client = answering(started, (status, {"detail": "Later."}), (status, b"<html>"), (200, {"ok": 1}))
    wait = Waits(10)
    assert client.request("POST", "/api/v1/runs/1/events", b"the same", wait=wait) == {"ok": 1}
    client.close()
    assert [body for _, _, body, _ in server.requests] == [b"the same"] * 3
    assert len(wait.seconds) == 2


def test_server_that_is_down_is_tried_until_patience_ends() -> None:
    client = HttpClient(lambda: ServerAddress(f"http://127.0.0.1:{free_port()}"))
    wait = Waits(5)
    with pytest.raises(ServerUnreachable) as refused:
        client.request("POST", "/x", wait=wait)
    assert len(wait.seconds) == 6
    assert refused.value.is_refused
    assert "cannot be reached: Connection refused. Start it with: tenuto server start" in str(refused.value)


def test_without_patience_there_is_one_try(started: list[LocalServer]) -> None:
    server, client = answering(started, (503, {"detail": "The disk is full."}))
    with pytest.raises(ServerUnreachable, match="cannot be reached: The disk is full. Start"):
        client.request("POST", "/x")
    client.close()
    assert len(server.requests) == 1


def test_server_that_was_started_anew_elsewhere_is_found(started: list[LocalServer]) -> None:
    server = Answering((200, {"ok": 1}))
    started.append(server)
    gone = ServerAddress(f"http://127.0.0.1:{free_port()}", "old")
    known: list[ServerAddress | None] = [gone, None, server.address]
    client = HttpClient(lambda: known.pop(0))
    assert client.request("POST", "/x", wait=Waits(5)) == {"ok": 1}
    client.close()
    assert server.requests[0][3]["Authorization"] == "Bearer the key"


@pytest.mark.parametrize(
    ("status", "kind", "also"),
    [
        (401, NotPermitted, AuthorizationError),
        (403, NotPermitted, AuthorizationError),
        (404, NotFound, ObjectNotFoundError),
        (409, RequestRefused, ClientError),
        (500, RequestRefused, ClientError),
    ],
)
def test_problem_becomes_an_error_with_its_facts(
    started: list[LocalServer], status: int, kind: type[Exception], also: type[Exception]
) -> None:
    problem = {"type": "urn:tenuto:problem:gap", "detail": "Events are missing.", "expected": 7}
    _, client = answering(started, (status, problem))
    with pytest.raises(kind, match="Events are missing.") as refused:
        client.request("POST", "/x", wait=Waits(5))
    client.close()
    error = refused.value
    assert isinstance(error, also)
    assert isinstance(error, RequestRefused)
    assert (error.status, error.slug, error.members["expected"]) == (status, "gap", 7)


def test_answer_that_is_no_problem_is_told_by_its_status_and_no_redirect_is_followed(
    started: list[LocalServer],
) -> None:
    server, client = answering(started, (307, b"<html>"), (418, b'["tea"]'))
    for status in (307, 418):
        with pytest.raises(RequestRefused, match=f"The server answers {status} to POST /x."):
            client.request("POST", "/x")
    client.close()
    assert [path for _, path, *_ in server.requests] == ["/x", "/x"]


def test_answer_that_is_no_json_is_no_tenuto_server_s(started: list[LocalServer]) -> None:
    _, client = answering(started, (200, b"<html>"))
    with pytest.raises(RequestRefused, match="is no Tenuto server. Correct the setting cloud.api."):
        client.request("POST", "/x")
    client.close()


def test_client_needs_a_server() -> None:
    with pytest.raises(NoServer, match="No server is configured. Start one with: tenuto server start"):
        HttpClient(lambda: None)
