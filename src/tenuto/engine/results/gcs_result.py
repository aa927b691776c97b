"""Results in buckets of Google Cloud Storage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenuto._base.object_store import Bucket, open_gcs
from tenuto.engine.results.bucket import BucketResult
from tenuto.serialization.state import register_result

__all__ = ["GCSResult"]


class GCSResult(BucketResult):
    """
    Keeps values as objects of a bucket of Google Cloud Storage (`pip install tenuto[gcs]`).

    Args:
        bucket: its name.
        **kwargs: those of `Result`.

    Credentials are the secret `GCP_CREDENTIALS` (a service account's key), else the environment's.
    """

    bucket: str | None

    def __init__(self, bucket: str | None = None, **kwargs: Any) -> None:
        self.bucket = bucket
        super().__init__(**kwargs)

    def _open(self) -> Bucket:
        if not self.bucket:
            raise ValueError("This GCSResult has no bucket: give its name, GCSResult('NAME').")
        return open_gcs(self.bucket)

    def described_settings(self) -> dict[str, Any]:
        """Return the bucket's name."""
        return {"bucket": self.bucket}


def _from_description(described: Mapping[str, Any]) -> GCSResult:
    return GCSResult(described.get("bucket"), location=described.get("location"))


register_result(GCSResult, _from_description)
