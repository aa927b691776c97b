"""Views, as long as there is no server."""

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tenuto import backend
from tenuto.backend import FlowRunView, FlowView, TaskRunView
from tenuto.engine.state import Success
from tenuto.exceptions import ServerRequired

TASK_RUN = TaskRunView("t1", "id", "load-1", "load", Success(), -1, "f1")
FLOW_RUN = FlowRunView(
    "f1", "quiet-owl", "flow", [], {"x": 1}, {}, Success(), [], datetime(2026, 1, 1, tzinfo=UTC), None
)
FLOW = FlowView("id", {}, None, {}, False, "project", "0.1.0", None, "shop", None)


@pytest.mark.parametrize(
    ("what", "call"),
    [
        ("FlowRunView.from_flow_run_id", lambda: FlowRunView.from_flow_run_id("f1", load_static_tasks=True)),
        ("FlowRunView.get_latest", FLOW_RUN.get_latest),
        ("FlowRunView.get_logs", FLOW_RUN.get_logs),
        ("FlowRunView.get_flow_metadata", FLOW_RUN.get_flow_metadata),
        ("FlowRunView.get_task_run", lambda: FLOW_RUN.get_task_run("load-1")),
        ("FlowRunView.get_all_task_runs", FLOW_RUN.get_all_task_runs),
        ("FlowRunView.get_task_run_ids", FLOW_RUN.get_task_run_ids),
        ("TaskRunView.from_task_run_id", lambda: TaskRunView.from_task_run_id("t1")),
        ("TaskRunView.from_task_slug", lambda: TaskRunView.from_task_slug("load-1", "f1")),
        ("TaskRunView.get_latest", TASK_RUN.get_latest),
        ("TaskRunView.get_result", TASK_RUN.get_result),
        ("TaskRunView.iter_mapped", TASK_RUN.iter_mapped),
        ("FlowView.flow", lambda: FLOW.flow),
        ("FlowView.from_id", lambda: FlowView.from_id("id")),
        ("FlowView.from_flow_id", lambda: FlowView.from_flow_id("id")),
        ("FlowView.from_flow_group_id", lambda: FlowView.from_flow_group_id("id")),
        ("FlowView.from_flow_name", lambda: FlowView.from_flow_name("shop", project_name="p")),
        ("watch_flow_run", lambda: backend.watch_flow_run("f1", stream_logs=False)),
        ("stream_flow_run_logs", lambda: backend.stream_flow_run_logs("f1")),
        ("execute_flow_run", lambda: backend.execute_flow_run("f1", parameters={})),
    ],
)
def test_what_needs_a_server_says_so(what: str, call: Callable[[], Any]) -> None:
    # R-INV-8, R-API-6
    with pytest.raises(ServerRequired, match=rf"^{what} needs a server, to which this version of Tenuto"):
        call()


def test_views_are_values_that_do_not_change() -> None:
    # R-API-12
    assert (FLOW_RUN.name, FLOW_RUN.parameters, TASK_RUN.map_index) == ("quiet-owl", {"x": 1}, -1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        FLOW_RUN.name = "other"  # type: ignore[misc]  # that it is refused is the point
    assert dataclasses.replace(TASK_RUN) == TASK_RUN
