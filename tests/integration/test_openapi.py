"""The OpenAPI document: the one that is committed, the one that is served, and what the server does."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.servers import TenutoServer
from tests.integration.test_server_api import Api

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TenutoServer]:
    with TenutoServer(tmp_path_factory.mktemp("server")) as running:
        yield running


def test_the_served_document_is_the_committed_one(server: TenutoServer) -> None:
    # R-API-34
    served = Api(server, server.key)("GET", "/openapi.json").json()
    assert served["openapi"].startswith("3.1")
    assert served == json.loads(DOCUMENT.read_text()), "Run: python scripts/make_reference.py"


def test_every_operation_answers_as_the_document_says(server: TenutoServer) -> None:
    # R-API-34, R-API-36
    api = Api(server, server.key)
    api.url = server.url
    document = json.loads(DOCUMENT.read_text())
    told = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if path in ("/api/v1/events", "/api/v1/flow-runs/{id}/logs/follow"):
                continue  # These do not end.
            shown = (
                path.replace("{id}", "01a220af-5023-767a-9f56-b051b2f444e4").replace("{", "").replace("}", "")
            )
            answer = api(method.upper(), shown, {} if "requestBody" in operation else None)
            kind = answer.headers.get("content-type", "").partition(";")[0]
            known = operation["responses"].get(str(answer.status), operation["responses"]["default"])
            if kind not in known.get("content", {"": None}):
                told.append((method, path, answer.status, kind))
            if answer.status >= 400:
                assert set(answer.json()) >= set(document["components"]["schemas"]["Problem"]["required"])
    assert not told


def test_every_reference_in_the_document_leads_somewhere() -> None:
    document = json.loads(DOCUMENT.read_text())
    for reference in _references(document):
        found = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
