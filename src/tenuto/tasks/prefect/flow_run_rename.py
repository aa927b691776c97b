"""Renaming flow runs."""

from typing import Any

from tenuto._base.context import context
from tenuto.core.authoring import defaults_from_attrs
from tenuto.core.task import Task
from tenuto.exceptions import ServerRequired

__all__ = ["RenameFlowRun"]


class RenameFlowRun(Task):
    """
    Gives a flow run another name.

    Args:
        flow_run_id: the run; default: the one that this task is in.
        flow_run_name: its new name.
        **kwargs: those of `Task`.
    """

    def __init__(
        self, flow_run_id: str | None = None, flow_run_name: str | None = None, **kwargs: Any
    ) -> None:
        self.flow_run_id = flow_run_id
        self.flow_run_name = flow_run_name
        super().__init__(**kwargs)

    @defaults_from_attrs("flow_run_id", "flow_run_name")
    def run(self, flow_run_id: str | None = None, flow_run_name: str | None = None) -> bool:
        """
        Return whether the run was renamed.

        Raises:
            ValueError: without a name, or outside of a flow run without an id.
            ServerRequired: always, as yet.
        """
        if not (flow_run_id or context.get("flow_run_id")):
            raise ValueError("Give `flow_run_id`: there is no flow run going on here that could be meant.")
        if not flow_run_name:
            raise ValueError("Give `flow_run_name`: the name that the run gets.")
        raise ServerRequired("RenameFlowRun", 'Give the name at the start: flow.run(flow_run_name="...").')
