"""Secrets, read at run time from the context."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tenuto._base.collections import as_nested_dict
from tenuto._base.context import context
from tenuto._base.masking import register_secret
from tenuto.configuration import config

if TYPE_CHECKING:
    from tenuto.client.client import Client

__all__ = ["Secret"]


class Secret:
    """
    A secret by name. It is looked up when `get` is called, and hidden in logs from then on.

    Secrets come from `context.secrets`, which configuration fills (`TENUTO__CONTEXT__SECRETS__NAME`, or
    `[context.secrets]` in a file) and `with tenuto.context(secrets={...})` adds to. Names are case-sensitive.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def get(self) -> Any:
        """
        Return the value; a text that is JSON is parsed, objects come as plain dictionaries.

        Raises:
            ValueError: while a flow is being built, or if there is no such secret.
        """
        if _building():
            raise ValueError(
                f"Secret {self.name!r} cannot be read while a flow is being built: secrets are for run time. "
                "Read it inside a task, or use a secret task."
            )
        secrets = _known()
        if self.name not in secrets:
            raise ValueError(self._not_found())
        value = secrets[self.name]
        register_secret(value)
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                return value  # an ordinary text
            register_secret(value)
        return as_nested_dict(value, dict)

    def exists(self) -> bool:
        """Say whether `get` would find a value in a run."""
        return self.name in _known()

    @property
    def client(self) -> Client:
        """The client of the configured server."""
        from tenuto.client.client import Client

        return Client()

    def __repr__(self) -> str:
        return f"<Secret: {self.name}>"

    def _not_found(self) -> str:
        if config.cloud.use_local_secrets:
            return f'Local Secret "{self.name}" was not found.'
        return (
            f'Secret "{self.name}" was not found in the context, and `cloud.use_local_secrets` is off. '
            f"Set TENUTO__CONTEXT__SECRETS__{self.name} where the flow runs."
        )


def _known() -> Mapping[str, Any]:
    return context.get("secrets") or {}


def _building() -> bool:
    active = context.get("flow")
    if active is None:
        return False
    from tenuto.core.flow import Flow

    # Users may keep something else of theirs under this name.
    return isinstance(active, Flow)
