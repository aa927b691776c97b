"""Requests that nobody would send, generated from the OpenAPI document, to a real server (fuzzapi)."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
import urllib3
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fakes.postgres import PostgresServer
from tests.fakes.servers import TenutoServer
from tests.fault.harness.figures import figure
from tests.integration.test_server_api import FLOW, Api, claimed
from tests.snippets import ROOT

REQUESTS = 1_500
DOCUMENT: dict[str, Any] = json.loads((ROOT / "docs" / "reference" / "openapi.json").read_text())
STREAMS = ("/api/v1/events", "/api/v1/flow-runs/{id}/logs/follow")
# Logins are limited, and the end of a session or of the key would end the test.
LEFT_OUT = ("/login", "/api/v1/session")

ODD_TEXTS = st.sampled_from(
    [
        "",
        "\0",
        "\u202e",
        "'",
        '"; DROP TABLE flow_run; --',
        "%00",
        "..%2f..",
        "NaN",
        "1e999",
        "\ud800",
        "x" * 5_000,
    ]
)
TEXTS = ODD_TEXTS | st.text(max_size=20)
# What the server looks for in objects that the document says nothing about.
WORDS = st.sampled_from(
    [
        "type",
        "Schedule",
        "clocks",
        "CronClock",
        "cron",
        "filters",
        "name",
        "edges",
        "tasks",
        "slug",
        "parameters",
    ]
)
TIMES = st.sampled_from(["2026-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
NUMBERS = st.integers(-(2**70), 2**70) | st.sampled_from([0, -1, 2**31, 2**63, 2**64]) | st.floats()
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | WORDS, inner, max_size=3),
    max_leaves=10,
)


def of_schema(schema: dict[str, Any], known: list[str]) -> st.SearchStrategy[Any]:
    """Return values of a schema, more or less: each part of one may be anything."""
    if "$ref" in schema:
        return of_schema(DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]], known)
    if "anyOf" in schema:
        return st.one_of([of_schema(one, known) for one in schema["anyOf"]])
    right: st.SearchStrategy[Any]
    match schema.get("type"):
        case "object" if "properties" in schema:
            needed = set(schema.get("required", ()))
            parts = {name: of_schema(part, known) for name, part in schema["properties"].items()}
            right = st.fixed_dictionaries(
                {name: part for name, part in parts.items() if name in needed},
                optional={name: part for name, part in parts.items() if name not in needed},
            )
        case "object":
            right = st.dictionaries(TEXTS | WORDS, JSON, max_size=4)
        case "array":
            right = st.lists(of_schema(schema.get("items", {}), known), max_size=3)
        case "string" if "enum" in schema:
            right = st.sampled_from(schema["enum"])
        case "string":
            right = st.sampled_from(known) | TEXTS | TIMES
        case "integer" | "number":
            right = NUMBERS
        case "boolean":
            right = st.booleans()
        case _:
            right = JSON
    return st.one_of(right, right, right, JSON)


OPERATIONS = [
    (path, method, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if path not in LEFT_OUT
]
HEADERS: list[dict[str, str]] = [
    *({}, {}, {}),
    {"Idempotency-Key": "k"},
    {"Content-Encoding": "gzip"},
    {"Content-Type": "text/x"},
]


class Request(NamedTuple):
    """A request; `route` is what it was made for."""

    route: str
    method: str
    path: str
    body: bytes | None
    headers: dict[str, str]


@st.composite
def requests(draw: st.DrawFn, known: list[str]) -> Request:
    """Return requests, more or less as the document has them."""
    route, method, operation = draw(st.sampled_from(OPERATIONS))
    path, query = route, []
    for parameter in operation.get("parameters", ()):
        name = parameter["name"]
        if parameter["in"] == "path":
            text = draw(st.one_of([st.sampled_from(known)] * 3 + [TEXTS]))
            path = path.replace(f"{{{name}}}", quote(text, safe="", errors="replace"))
        elif parameter["in"] == "query" and (parameter.get("required") or draw(st.booleans())):
            value = draw(of_schema(parameter["schema"], known))
            text = value if isinstance(value, str) else json.dumps(value)
            query.append(f"{name}={quote(text, safe='', errors='replace')}")
    body = None
    if "requestBody" in operation:
        value = draw(of_schema(operation["requestBody"]["content"]["application/json"]["schema"], known))
        if route.endswith("/claims") and isinstance(value, dict):
            value["wait_seconds"] = 0
        body = json.dumps(value).encode()
        if draw(st.integers(0, 9)) == 0:
            body = draw(st.binary(max_size=50)) or body[: len(body) // 2]
    shown = "?" + "&".join(query) if query else ""
    return Request(route, method.upper(), path + shown, body, draw(st.sampled_from(HEADERS)))


@pytest.fixture(params=["sqlite", "postgresql"])
def server(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer
) -> Iterator[TenutoServer]:
    with ExitStack() as stack:
        arguments: list[str] = []
        if request.param == "postgresql":
            arguments = ["--db", stack.enter_context(postgres.database())]
        yield stack.enter_context(TenutoServer(tmp_path / "home", *arguments))


def test_no_request_is_too_much_for_the_server(server: TenutoServer, request: pytest.FixtureRequest) -> None:
    # S-22, S-23, S-24
    api = Api(server, server.key)
    api("POST", "/projects", {"name": "fuzz"})
    flow = {"project": "fuzz", **api("POST", "/flows", {"project": "fuzz", "serialized_flow": FLOW}).json()}
    claim = claimed(api, flow)
    known = ["fuzz", "f", flow["id"], flow["flow_group_id"], claim["flow_run"]["id"], str(claim["epoch"])]
    known.append(api("GET", "/agents").json()["items"][0]["id"])
    pool = urllib3.PoolManager()
    statuses: Counter[int] = Counter()
    failed: dict[tuple[str, str], Request] = {}

    @settings(
        max_examples=REQUESTS,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(requests(known))
    def ask(asked: Request) -> None:
        key = claim["lease_token"] if "/runs/{run_id}" in asked.route else server.key
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **asked.headers}
        answer = pool.request(
            asked.method,
            server.url + asked.path,
            body=asked.body,
            headers=headers,
            preload_content=False,
            # The server closes a connection whose request it did not read to its end; others use a new one.
            retries=urllib3.Retry(3, redirect=False, status=0, allowed_methods=None),
            timeout=60,
        )
        statuses[answer.status] += 1
        if answer.status >= 500:
            failed[asked.route, asked.method] = asked
        if asked.route in STREAMS and answer.status == 200:
            answer.close()
        else:
            assert server.home.name not in answer.data.decode(errors="replace")  # S-24: no path of the server
            answer.release_conn()

    ask()
    crashes = int(server.process.poll() is not None)
    counts: dict[str, Any] = {
        "requests": statuses.total(),
        "accepted": sum(count for status, count in statuses.items() if status < 300),
        "5xx": sum(count for status, count in statuses.items() if status >= 500),
        "crashes": crashes,
    }
    figure("fuzzapi", store=request.node.callspec.params["server"], **counts)
    assert not failed
    assert not crashes
    assert statuses.total() >= REQUESTS
    # Neither all refused nor all the same: the requests reach what they are for.
    assert statuses[200] > REQUESTS / 20
