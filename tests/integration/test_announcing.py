"""What the server takes of an announcement, and what it does not."""

from __future__ import annotations

import gzip
import hashlib
import itertools
from typing import Any

import msgspec
import pytest
import urllib3

from tenuto.journal.event import Header
from tests.fakes.servers import TenutoServer

numbers = itertools.count()
GRAPH = b'{"name":"announced","text":"\\u0000"}'


def header(**fields: Any) -> dict[str, Any]:
    run_id = f"01910000-0000-7000-8000-{next(numbers):012x}"
    defaults: dict[str, Any] = {
        "v": 1,
        "flow_run_id": run_id,
        "name": "n",
        "flow": "announced",
        "graph_sha256": sha256(GRAPH),
    }
    told: dict[str, Any] = msgspec.to_builtins(Header(**(defaults | fields)))
    return told


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def announce(server: TenutoServer, body: bytes, encoding: str = "identity") -> tuple[int, dict[str, Any]]:
    """Send an announcement; return status and answer."""
    headers = {"Authorization": f"Bearer {server.key}", "Content-Encoding": encoding}
    headers["Content-Type"] = "application/json"
    url = f"{server.url}/api/v1/runs/adopt"
    with urllib3.PoolManager() as pool:
        answer = pool.request("POST", url, body=body, headers=headers, retries=False)
        return answer.status, answer.json()


def announcement(graph: bytes = b"null", **fields: Any) -> bytes:
    return msgspec.json.encode({"header": header(**fields), "alive": False, "graph": msgspec.Raw(graph)})


def test_graph_may_come_compressed_and_with_characters_that_a_database_lacks(server: TenutoServer) -> None:
    body = announcement(GRAPH, name="a\0b", parameters={"x": "\0"})
    status, answer = announce(server, gzip.compress(body), "gzip")
    assert (status, answer["graph_missing"]) == (200, False)
    rows = server.rows(
        "SELECT flow.serialized, flow_run.name, flow_run.parameters FROM flow_run JOIN flow ON "
        "flow.id = flow_id WHERE flow_run.name LIKE 'a%b'"
    )
    assert rows == [('{"name":"announced","text":"\ufffd"}', "a\ufffdb", '{"x":"\ufffd"}')]


def test_graph_that_is_not_the_one_of_the_header_is_refused(server: TenutoServer) -> None:
    status, answer = announce(server, announcement(b'{"name":"another"}'))
    assert (status, answer["detail"]) == (422, "The graph is not the one that the header names.")


@pytest.mark.parametrize(
    ("body", "encoding", "status", "detail"),
    [
        (gzip.compress(b" " * (65 << 20)), "gzip", 413, "The request is larger than 67,108,864 bytes."),
        (gzip.compress(b"{}")[:-4], "gzip", 422, "The request is not valid gzip: it is not whole."),
        (gzip.compress(b"{}") + b"{}", "gzip", 422, "The request is not valid gzip: it is not whole."),
        (b"{}", "br", 415, "The request is encoded in a way that is not known here."),
        (b"[" * 100_000, "identity", 422, ""),
        (b'{"alive":true}', "identity", 422, ""),
        (b'{"alive":true,"header":{"flow_run_id":"../x"}}', "identity", 404, "A run's id is a UUID."),
    ],
    ids=["bomb", "cut", "more behind it", "unknown encoding", "deep", "no header", "no id"],
)
def test_malformed_announcements_are_refused(
    server: TenutoServer, body: bytes, encoding: str, status: int, detail: str
) -> None:
    got, answer = announce(server, body, encoding)
    assert got == status
    assert answer["detail"].startswith(detail)


def test_gzip_that_is_none_is_refused(server: TenutoServer) -> None:
    status, answer = announce(server, b"{}", "gzip")
    assert status == 422
    assert answer["detail"].startswith("The request is not valid gzip: ")


def test_id_in_capitals_is_refused(server: TenutoServer) -> None:
    status, _ = announce(server, announcement(flow_run_id="01910000-0000-7000-8000-00000000ABCD"))
    assert status == 422
