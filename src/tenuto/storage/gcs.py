"""Flows in buckets of Google Cloud Storage."""

from typing import Any

from tenuto._base.object_store import Bucket, open_gcs
from tenuto.engine.results.gcs_result import GCSResult
from tenuto.storage.bucket import BucketStorage

__all__ = ["GCS"]


class GCS(BucketStorage):
    """
    Keeps flows in a bucket of Google Cloud Storage.

    Args:
        bucket: its name.
        key: of the object; made from the flow's name and the time when None.
        project: kept as data; buckets are found without it.
        stored_as_script: the flow is a script.
        local_script_path: the script that `build` uploads.
        **kwargs: those of `Storage`.
    """

    def __init__(
        self,
        bucket: str,
        key: str | None = None,
        project: str | None = None,
        stored_as_script: bool = False,
        local_script_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.bucket = bucket
        self.key = key
        self.project = project
        self.local_script_path = local_script_path
        kwargs.setdefault("result", GCSResult(bucket))
        super().__init__(stored_as_script=stored_as_script, **kwargs)

    def _open(self) -> Bucket:
        return open_gcs(self.bucket)
