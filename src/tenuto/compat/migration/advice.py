"""What to do about names, arguments and methods of the Prefect 1 API that Tenuto does not have."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final

from tenuto._base.left_out import advice_about
from tenuto.compat.migration.addresses import prefixes

__all__ = ["ADVICE", "CLIENT_METHODS", "KEYWORDS", "missing_advice"]

_NO_GRAPHQL = "There is no GraphQL in Tenuto: use methods of Client and the views of tenuto.backend."
_LOCAL_AGENTS = "Start a local agent on each machine that is to run flows: tenuto agent local start"
_RESULT = "Give result= a class of tenuto.engine.results instead, such as LocalResult or S3Result."
_OWN_TASK = "Call the service's own Python package in a task of your own."
_OWN_CLIENT = "Make the client of that service in the task that needs it."
_START_FLOW_RUN = "Use StartFlowRun of tenuto.tasks.prefect; its arguments are flow_name and project_name."

ADVICE: Final[Mapping[str, str]] = {
    "agent": _LOCAL_AGENTS,
    "cli": "Start the command `tenuto` in a process of its own.",
    "engine.cloud": "Remove it: one flow runner does the work, with a server and without one.",
    "engine.result.ResultHandler": "Derive your class from tenuto.engine.result.Result instead.",
    "engine.result.SafeResult": "Remove it: results are written where result= says.",
    "engine.result_handlers": _RESULT,
    "environments": "Give the flow its executor= and run_config=, and remove the environment.",
    "executors.SynchronousExecutor": "Use LocalExecutor, which runs one task after the other.",
    "executors.sync": "Use LocalExecutor, which runs one task after the other.",
    "storage.Bytes": "Use tenuto.storage.Local.",
    "storage.Memory": "Use tenuto.storage.Local.",
    "tasks": _OWN_TASK,
    "tasks.aws": "Call boto3 in a task of your own; results go to S3 by result=S3Result(...).",
    "tasks.azure": "Call Azure's package in a task of your own; results go there by result=AzureResult(...).",
    "tasks.cloud": _START_FLOW_RUN,
    "tasks.databricks": _OWN_TASK,
    "tasks.gcp": "Call Google's package in a task of your own; results go there by result=GCSResult(...).",
    "tasks.great_expectations": "Call great_expectations in a task of your own.",
    "tasks.postgres": "Call psycopg in a task of your own.",
    "tasks.prefect.CancelFlowRunTask": "Use CancelFlowRun of tenuto.tasks.prefect.",
    "tasks.prefect.FlowRunTask": _START_FLOW_RUN,
    "tasks.prefect.RenameFlowRunTask": "Use RenameFlowRun of tenuto.tasks.prefect.",
    "tasks.snowflake": "Call snowflake.connector in a task of your own.",
    "utilities.aws": _OWN_CLIENT,
    "utilities.azure": _OWN_CLIENT,
    "utilities.backend": "Read the setting tenuto.config.backend.",
    "utilities.gcp": _OWN_CLIENT,
    "utilities.graphql": _NO_GRAPHQL,
}
"""What to do about what is not there; the longest address that fits counts."""

_VALIDATORS = "Remove it, and check the value in the task: results have no validators."
_RESULT_CLASSES = (
    "Result",
    *(f"{kind}Result" for kind in ("Azure", "Constant", "GCS", "Local", "Prefect", "S3")),
)
KEYWORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "Docker": {"prefect_version": "Remove it, or give tenuto_version=."},
    "Flow": {
        "environment": "Give executor= and run_config= instead: environments are ignored.",
        "result_handler": _RESULT,
    },
    "Parameter": {"result_handler": _RESULT},
    "Task": {"result_handler": _RESULT},
    "task": {"result_handler": _RESULT},
    **{name: {"validators": _VALIDATORS, "run_validators": _VALIDATORS} for name in _RESULT_CLASSES},
}
"""Arguments that are not there: last part of the address of what is called -> argument -> what to do."""

_ONE_TENANT = "Remove it: a server has one tenant."
CLIENT_METHODS: Final[Mapping[str, str]] = {
    "create_tenant": _ONE_TENANT,
    "get_available_tenants": _ONE_TENANT,
    "graphql": _NO_GRAPHQL,
    "login_to_tenant": _ONE_TENANT,
    "logout_from_tenant": _ONE_TENANT,
}


def missing_advice(address: str) -> str | None:
    """Return what to do about a name that is not there, or raises when it is used; None if it works."""
    thing: Any = importlib.import_module("tenuto")
    for part in filter(None, address.split(".")):
        if not isinstance(thing, ModuleType) or part.startswith("_"):
            break
        parent, name = thing, f"{thing.__name__}.{part}"
        try:
            thing = getattr(parent, part)
        except AttributeError:
            try:
                thing = importlib.import_module(name)
            except ModuleNotFoundError as error:
                if error.name == name or not hasattr(parent, "__path__"):
                    return _advice(address, parent, part)
                break
        except ImportError:
            break  # It is there, and asks for a package that is not installed.
    return advice_about(thing)


def _advice(address: str, parent: ModuleType, name: str) -> str:
    for prefix in prefixes(address):
        if prefix in ADVICE:
            return ADVICE[prefix]
    near = difflib.get_close_matches(name, [known for known in dir(parent) if known[0] != "_"], n=1)
    if near:
        return f"Is {parent.__name__}.{near[0]} meant?"
    return "Nothing takes its place: write what it did as a function of your own."
