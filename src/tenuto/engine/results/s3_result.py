"""Results in buckets of S3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenuto._base.object_store import Bucket, open_s3, translate_boto3_kwargs
from tenuto.engine.results.bucket import BucketResult
from tenuto.serialization.state import register_result

__all__ = ["S3Result"]


class S3Result(BucketResult):
    """
    Keeps values as objects of an S3 bucket (`pip install tenuto[s3]`).

    Args:
        bucket: its name.
        boto3_kwargs: of boto3's client: `endpoint_url`, `region_name`, `aws_access_key_id`,
            `aws_secret_access_key`, `aws_session_token`, `profile_name`, `verify`. Without keys, the secret
            `AWS_CREDENTIALS` counts, then boto3's session where it is installed, then the environment.
        upload_options: none is supported.
        **kwargs: those of `Result`.

    Raises:
        ValueError: for options that have no equal here.
    """

    bucket: str
    boto3_kwargs: dict[str, Any]
    upload_options: dict[str, Any]

    def __init__(
        self,
        bucket: str,
        boto3_kwargs: dict[str, Any] | None = None,
        upload_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.bucket = bucket
        self.boto3_kwargs = dict(boto3_kwargs or {})
        translate_boto3_kwargs(self.boto3_kwargs)
        if upload_options:
            raise ValueError(
                f"upload_options has {next(iter(upload_options))!r}, which has no equal here: leave it out."
            )
        self.upload_options = {}
        super().__init__(**kwargs)

    def _open(self) -> Bucket:
        return open_s3(self.bucket, self.boto3_kwargs)

    def described_settings(self) -> dict[str, Any]:
        """Return the bucket's name: keys and endpoints are not part of a state."""
        return {"bucket": self.bucket}


def _from_description(described: Mapping[str, Any]) -> S3Result:
    return S3Result(str(described.get("bucket", "")), location=described.get("location"))


register_result(S3Result, _from_description)
