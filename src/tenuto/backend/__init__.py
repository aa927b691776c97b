"""What flows ask about runs, and leave with them: views, artifacts and the key-value store."""

from tenuto.backend.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    delete_artifact,
    update_link_artifact,
    update_markdown_artifact,
)
from tenuto.backend.flow_run import execute_flow_run, stream_flow_run_logs, watch_flow_run
from tenuto.backend.kv_store import compare_and_set, delete_key, get_key_value, list_keys, set_key_value
from tenuto.backend.views import FlowRunView, FlowView, TaskRunView, TenantView

__all__ = [
    "FlowRunView",
    "FlowView",
    "TaskRunView",
    "TenantView",
    "compare_and_set",
    "create_link_artifact",
    "create_markdown_artifact",
    "delete_artifact",
    "delete_key",
    "execute_flow_run",
    "get_key_value",
    "list_keys",
    "set_key_value",
    "stream_flow_run_logs",
    "update_link_artifact",
    "update_markdown_artifact",
    "watch_flow_run",
]
