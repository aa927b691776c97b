"""Cancelling flow runs."""

from typing import Any

from tenuto._base.context import context
from tenuto.core.authoring import defaults_from_attrs
from tenuto.core.task import Task
from tenuto.exceptions import ServerRequired

__all__ = ["CancelFlowRun"]


class CancelFlowRun(Task):
    """
    Cancels a flow run.

    Args:
        flow_run_id: the run; default: the one that this task is in.
        **kwargs: those of `Task`.
    """

    def __init__(self, flow_run_id: str | None = None, **kwargs: Any) -> None:
        self.flow_run_id = flow_run_id
        super().__init__(**kwargs)

    @defaults_from_attrs("flow_run_id")
    def run(self, flow_run_id: str | None = None) -> bool:
        """
        Return whether the run was cancelled.

        Raises:
            ValueError: outside of a flow run, without an id.
            ServerRequired: always, as yet.
        """
        if not (flow_run_id or context.get("flow_run_id")):
            raise ValueError("Give `flow_run_id`: there is no flow run going on here that could be meant.")
        raise ServerRequired(
            "CancelFlowRun", "To end a run early in its own task, raise a signal: FAIL or SKIP."
        )
