"""
Tasks that start, watch, rename and cancel runs of other flows.

They check what they are given; the rest needs a server, to which this version of Tenuto cannot speak yet.
"""

from tenuto.tasks.prefect.flow_run import (
    StartFlowRun,
    create_flow_run,
    get_task_run_result,
    wait_for_flow_run,
)
from tenuto.tasks.prefect.flow_run_cancel import CancelFlowRun
from tenuto.tasks.prefect.flow_run_rename import RenameFlowRun

__all__ = [
    "CancelFlowRun",
    "RenameFlowRun",
    "StartFlowRun",
    "create_flow_run",
    "get_task_run_result",
    "wait_for_flow_run",
]
