"""What a report of a mistake should say about a flow and its surroundings, without private values."""

from __future__ import annotations

import json
import os
import platform
import re
from typing import TYPE_CHECKING, Any

from tenuto._base.collections import dict_to_flatdict
from tenuto.configuration import DEFAULTS_PATH, config, load_configuration

if TYPE_CHECKING:
    from tenuto.core.flow import Flow

__all__ = ["diagnostics"]

_PREFIXES = ("TENUTO__", "PREFECT__")
# A setting, or the variable that sets it.
_SECRET = re.compile(r"(^|__)context(\.|__)secrets(\.|__)", re.IGNORECASE)


def diagnostics(flow: Flow | None = None, *, include_secret_names: bool = False) -> str:
    """
    Return JSON text: the flow's parts by kind, names of changed settings and of variables, versions.

    Args:
        flow: also describe this one.
        include_secret_names: also name the secrets that configuration holds.
    """
    report: dict[str, Any] = {
        "config_overrides": _named(_changed_settings(), include_secret_names),
        "env_vars": _named(
            sorted(name for name in os.environ if name.startswith(_PREFIXES)), include_secret_names
        ),
        "system_information": _system(),
    }
    if flow is not None:
        report["flow_information"] = _described(flow)
    return json.dumps(report, sort_keys=True, indent=2)


def _changed_settings() -> list[str]:
    built_in = dict_to_flatdict(load_configuration(DEFAULTS_PATH))
    return sorted(
        ".".join(map(str, path))
        for path, value in dict_to_flatdict(config).items()
        if path not in built_in or built_in[path] != value
    )


def _named(names: list[str], include_secret_names: bool) -> list[str]:
    return [name for name in names if include_secret_names or not _SECRET.search(name)]


def _system() -> dict[str, str]:
    from tenuto import __version__

    return {
        "platform": platform.platform(),
        "python_version": platform.python_version(),
        "tenuto_version": __version__,
    }


def _described(flow: Flow) -> dict[str, Any]:
    parts = ("executor", "result", "run_config", "schedule", "storage")
    return {
        "task_count": len(flow.tasks),
        "edge_count": len(flow.edges),
        **{part: _kind(getattr(flow, part)) for part in parts},
        "state_handler_count": len(flow.state_handlers),
    }


def _kind(part: object) -> str | None:
    return None if part is None else type(part).__name__
