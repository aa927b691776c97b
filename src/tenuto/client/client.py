"""
The client of a server, as the API of Prefect 1 has it.

It can be made, and says when it is asked that it cannot speak yet. What is sent to a server goes by
`http.py`.
"""

from collections.abc import Callable
from typing import Any, NoReturn

from tenuto.configuration import config
from tenuto.exceptions import ClientError, ServerRequired

__all__ = ["Client"]

_METHODS = frozenset(
    {
        "attach_headers",
        "cancel_flow_run",
        "create_flow_run",
        "create_project",
        "create_task_run_artifact",
        "delete_project",
        "delete_task_run_artifact",
        "delete_task_tag_limit",
        "get",
        "get_agent_config",
        "get_cloud_url",
        "get_flow_run_info",
        "get_flow_run_state",
        "get_latest_cached_states",
        "get_task_run_info",
        "get_task_run_state",
        "get_task_tag_limit",
        "load_auth_from_disk",
        "post",
        "register",
        "register_agent",
        "save_auth_to_disk",
        "set_flow_run_name",
        "set_flow_run_state",
        "set_secret",
        "set_task_run_name",
        "set_task_run_state",
        "update_flow_run_heartbeat",
        "update_task_run_artifact",
        "update_task_tag_limit",
        "write_run_logs",
    }
)


class Client:
    """
    Speaks to a server. Making one sends nothing.

    Args:
        api_server: URL of the server; default: setting `cloud.api`.
        api_key: default: setting `cloud.api_key`.
        tenant_id: accepted and ignored: a server has one tenant.
    """

    def __init__(
        self, api_server: str | None = None, api_key: str | None = None, tenant_id: str | None = None
    ) -> None:
        self.api_server = api_server or config.cloud.get("api") or ""
        self.api_key = api_key or config.cloud.get("api_key") or ""

    def graphql(self, query: Any, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: there is no GraphQL in Tenuto."""
        raise ClientError(
            "There is no GraphQL in Tenuto: a query for another server cannot be carried out. "
            "Read the records of runs on this machine with: tenuto history --json"
        )

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        if name not in _METHODS:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

        def refuse(*args: Any, **kwargs: Any) -> NoReturn:
            raise ServerRequired(f"Client.{name}")

        return refuse

    def __repr__(self) -> str:
        return f"<Client: {self.api_server or 'no server'}>"
