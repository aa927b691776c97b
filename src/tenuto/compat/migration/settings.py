"""Variables of settings, `PREFECT__SECTION__KEY`, and commands `prefect ...`, wherever they are written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from tenuto.compat.migration.addresses import prefixes

__all__ = [
    "COMMAND",
    "COMMAND_IN_SHELL",
    "REQUIREMENT",
    "VARIABLE",
    "command_advice",
    "setting_advice",
    "variable_today",
]

VARIABLE: Final = re.compile(r"\bPREFECT__\w*")
"""A variable of the older API, or the beginning of one: `PREFECT__CONTEXT__SECRETS__` and a name."""

_KNOWN_COMMANDS = (
    "agent auth backend build config create delete describe diagnostics execute get heartbeat kv register "
    "run server version"
)
COMMAND: Final = re.compile(rf"(?<![\w./-])prefect(?= +(?:{'|'.join(_KNOWN_COMMANDS.split())})\b)")
"""The name `prefect` before one of its commands."""
COMMAND_IN_SHELL: Final = re.compile(r"(?:(?:^|[;&|(\n])\s*(?:\w+=\S*\s+)*|\s-m\s+)(?P<name>prefect)(?=\s|$)")
"""The name `prefect` where a shell takes it for a command, or behind `python -m`."""

REQUIREMENT: Final = re.compile(
    r"""\s*(?:-\s*)?["']?prefect(?:\[[\w, -]*\])?\s*(?:$|["'],?\s*$|(?:[=<>~;]|!=))"""
)
"""A line that asks for the package: `prefect==0.15`, `- prefect`, `"prefect[aws]>=1",`."""

_RENAMED: Final[Mapping[str, str]] = {"LOGGING__LOG_TO_CLOUD": "CLOUD__SEND_FLOW_RUN_LOGS"}

_KEY = "Keys of other servers are not accepted: set cloud.api_key to one of this server, or leave it out."
_ONE_SERVICE = "Remove it: there is nothing to set, the server's one rescue service sees dead runs."
_ONE_TENANT = "Remove it: a server has one tenant."
_SETTINGS: Final[Mapping[str, str]] = {
    "cloud.agent.auth_token": _KEY,
    "cloud.auth_token": _KEY,
    "cloud.check_cancellation_interval": _ONE_SERVICE,
    "cloud.graphql": "There is no GraphQL in Tenuto: the server's address is the setting cloud.api.",
    "cloud.heartbeat_interval": _ONE_SERVICE,
    "cloud.heartbeat_mode": _ONE_SERVICE,
    "cloud.logging_heartbeat": _ONE_SERVICE,
    "cloud.queue_interval": _ONE_SERVICE,
    "cloud.tenant_id": _ONE_TENANT,
    "engine.environment": "Remove it: a flow has an executor and a run config.",
    "server.graphql": "There is no GraphQL in Tenuto: the server's address is the setting cloud.api.",
    "server.hasura": "Remove it: the server is one process.",
}
"""Settings that mean nothing here, with all below them."""

_LOCAL_AGENTS = "Only local agents are there: tenuto agent local start"
_COMMANDS: Final[Mapping[str, str]] = {
    "agent docker": _LOCAL_AGENTS,
    "agent ecs": _LOCAL_AGENTS,
    "agent fargate": _LOCAL_AGENTS,
    "agent install": _LOCAL_AGENTS,
    "agent kubernetes": _LOCAL_AGENTS,
    "agent start": _LOCAL_AGENTS,
    "agent vertex": _LOCAL_AGENTS,
    "auth create-token": "Use: tenuto auth create-key",
    "auth list-tenants": _ONE_TENANT,
    "auth list-tokens": "Use: tenuto auth list-keys",
    "auth revoke-token": "Use: tenuto auth revoke-key",
    "auth switch-tenants": _ONE_TENANT,
    "execute cloud-flow": "Use: tenuto execute flow-run",
    "heartbeat": "Remove it: there are no heartbeat processes.",
    "run cloud": "Write it as: tenuto run --name FLOW --project PROJECT",
    "run flow": "Write it as: tenuto run --name FLOW --project PROJECT",
    "server create-tenant": _ONE_TENANT,
}


def variable_today(name: str) -> str:
    """Return the name of today of a variable `PREFECT__...`."""
    rest = name.removeprefix("PREFECT__")
    return f"TENUTO__{_RENAMED.get(rest, rest)}"


def setting_advice(name: str) -> str | None:
    """Return what to do about a variable, or a dotted setting, that means nothing here; None for others."""
    dotted = re.sub(r"^(PREFECT|TENUTO)__", "", name).replace("__", ".").lower()
    return next((_SETTINGS[one] for one in prefixes(dotted) if one in _SETTINGS), None)


def command_advice(words: Sequence[str]) -> str | None:
    """Return what to do about a command that is not there, by its words after `prefect`; None for others."""
    return _COMMANDS.get(" ".join(words[:2])) or _COMMANDS.get(" ".join(words[:1]))
