"""Results in containers of Azure's Blob Storage."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from tenuto._base.context import context
from tenuto._base.object_store import Bucket, open_azure
from tenuto.engine.results.bucket import BucketResult
from tenuto.serialization.state import register_result

__all__ = ["AzureResult"]


class AzureResult(BucketResult):
    """
    Keeps values as blobs of a container of Azure (`pip install tenuto[azure]`).

    Args:
        container: its name.
        connection_string: of the storage account. Prefer the next one, which is not part of the code.
        connection_string_secret: name of the secret that holds it. Without both, the environment variable
            `AZURE_STORAGE_CONNECTION_STRING` counts.
        **kwargs: those of `Result`.
    """

    container: str
    connection_string: str | None
    connection_string_secret: str | None

    def __init__(
        self,
        container: str,
        connection_string: str | None = None,
        connection_string_secret: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.container = container
        self.connection_string = connection_string
        self.connection_string_secret = connection_string_secret
        super().__init__(**kwargs)

    def _open(self) -> Bucket:
        return open_azure(self.container, self._find_connection_string)

    def _find_connection_string(self) -> str:
        found = self.connection_string
        if not found and self.connection_string_secret:
            found = (context.get("secrets") or {}).get(self.connection_string_secret)
        found = found or os.environ.get("AZURE_STORAGE_CONNECTION_STRING")
        if not found:
            raise ValueError(
                "There is no connection string for Azure's storage. Give connection_string_secret, or set "
                "AZURE_STORAGE_CONNECTION_STRING in the environment."
            )
        return str(found)

    def described_settings(self) -> dict[str, Any]:
        """Return the container, and the name of the secret that opens it."""
        return {
            "container": self.container,
            "connection_string_secret": self.connection_string_secret,
        }


def _from_description(described: Mapping[str, Any]) -> AzureResult:
    return AzureResult(
        str(described.get("container", "")),
        connection_string_secret=described.get("connection_string_secret"),
        location=described.get("location"),
    )


register_result(AzureResult, _from_description)
