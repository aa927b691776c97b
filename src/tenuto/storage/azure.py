"""Flows in containers of Azure's Blob Storage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from tenuto._base.object_store import Bucket
from tenuto.engine.results.azure_result import AzureResult
from tenuto.storage.bucket import BucketStorage

if TYPE_CHECKING:
    from tenuto.storage.base import Storage

__all__ = ["Azure"]


class Azure(BucketStorage):
    """
    Keeps flows in a container of Azure.

    Args:
        container: its name.
        connection_string_secret: name of the secret that holds the connection string; without it the
            environment variable `AZURE_STORAGE_CONNECTION_STRING` counts.
        blob_name: made from the flow's name and the time when None.
        overwrite: whether `build` replaces a blob that is there.
        stored_as_script: the flow is a script, which the user has put there.
        **kwargs: those of `Storage`.
    """

    def __init__(
        self,
        container: str,
        connection_string_secret: str | None = None,
        blob_name: str | None = None,
        overwrite: bool = False,
        stored_as_script: bool = False,
        **kwargs: Any,
    ) -> None:
        self.container = container
        self.connection_string_secret = connection_string_secret
        self.blob_name = self.key = blob_name
        self.overwrite = self._overwrites = overwrite
        kwargs.setdefault("result", AzureResult(container, connection_string_secret=connection_string_secret))
        super().__init__(stored_as_script=stored_as_script, **kwargs)

    @classmethod
    def _from_description(cls, described: Mapping[str, Any]) -> Storage:
        new = cast("Azure", super()._from_description(described))
        new._overwrites = new.overwrite
        return new

    def _open(self) -> Bucket:
        return AzureResult(self.container, connection_string_secret=self.connection_string_secret)._open()
