"""What operators read of a server at `/metrics`, on both stores."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.server_stores import body_of, run_state
from tests.fakes.postgres import PostgresServer
from tests.fakes.servers import TenutoServer
from tests.integration.test_server_api import FLOW, Api, claimed


@pytest.fixture(params=["sqlite", "postgresql"])
def server(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer
) -> Iterator[TenutoServer]:
    with ExitStack() as stack:
        arguments: list[str] = []
        if request.param == "postgresql":
            arguments = ["--db", stack.enter_context(postgres.database())]
        yield stack.enter_context(TenutoServer(tmp_path / "home", *arguments))


def figures(server: TenutoServer, api: Api) -> dict[str, float]:
    api.url = server.url
    answer = api("GET", "/metrics")
    api.url = f"{server.url}/api/v1"
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = [line for line in answer.data.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_what_happened_is_counted(server: TenutoServer) -> None:
    # R-BE-11
    api = Api(server, server.key)
    api("POST", "/projects", {"name": "P"})
    flow: dict[str, Any] = api("POST", "/flows", {"project": "P", "serialized_flow": FLOW}).json()
    before = figures(server, api)
    claim = claimed(api, flow)
    worker = Api(server, claim["lease_token"])
    body = body_of(claim["epoch"], 1, [run_state("Running"), run_state("Running", message="x")])
    assert worker("POST", f"/runs/{claim['flow_run']['id']}/events", body).status == 200
    assert api("POST", "/flow-runs", {"flow_id": flow["id"], "parameters": {"n": 1}}).status == 201
    assert api("GET", "/nothing").status == 404

    after = figures(server, api)

    assert before["tenuto_leases"] == 0
    assert after["tenuto_leases"] == 1
    assert after['tenuto_flow_runs{state="Running"}'] == 1
    assert after['tenuto_flow_runs{state="Scheduled"}'] == 1
    assert sum(value for name, value in after.items() if name.startswith("tenuto_due_flow_runs")) == 1
    assert after["tenuto_events_total"] - before["tenuto_events_total"] == 2
    assert after["tenuto_claims_total"] - before["tenuto_claims_total"] == 1
    assert after['tenuto_requests_total{status="404"}'] == 1
    assert after["tenuto_feed_lag_seconds"] >= 0
    assert after['tenuto_service_turns_total{service="beat"}'] >= 1
    if "tenuto_wal_bytes" in after:
        assert after["tenuto_wal_bytes"] > 0
    else:
        assert after["tenuto_oldest_xmin_age"] >= 0


def test_figures_are_for_those_who_may_see_the_runs(server: TenutoServer) -> None:
    api = Api(server)
    api.url = server.url
    assert api("GET", "/metrics").status == 401
