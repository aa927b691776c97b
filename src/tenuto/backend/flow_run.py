"""Watching flow runs on a server, and carrying them out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tenuto.backend.views import FlowRunLog, FlowRunView
from tenuto.exceptions import ServerRequired

if TYPE_CHECKING:
    from tenuto.core.flow import Flow
    from tenuto.engine.flow_runner import FlowRunner

__all__ = ["execute_flow_run", "stream_flow_run_logs", "watch_flow_run"]


def watch_flow_run(
    flow_run_id: str,
    stream_states: bool = True,
    stream_logs: bool = True,
    max_duration: timedelta = timedelta(hours=12),
) -> Iterator[FlowRunLog]:
    """Yield what happens in a flow run until it has ended."""
    raise ServerRequired("watch_flow_run")


def stream_flow_run_logs(flow_run_id: str) -> None:
    """Print what happens in a flow run until it has ended."""
    raise ServerRequired("stream_flow_run_logs")


def execute_flow_run(
    flow_run_id: str,
    flow: Flow | None = None,
    runner_cls: type[FlowRunner] | None = None,
    **kwargs: Any,
) -> FlowRunView:
    """Carry out, in this process, a flow run that a server knows, and return it as it ended."""
    raise ServerRequired("execute_flow_run", "Run the flow itself with flow.run().")
