"""Flows in buckets of S3."""

from typing import Any

from tenuto._base.object_store import Bucket, open_s3, translate_boto3_kwargs
from tenuto.engine.results.s3_result import S3Result
from tenuto.storage.bucket import BucketStorage

__all__ = ["S3"]


class S3(BucketStorage):
    """
    Keeps flows in an S3 bucket.

    Args:
        bucket: its name.
        key: of the object; made from the flow's name and the time when None.
        stored_as_script: the flow is a script.
        local_script_path: the script that `build` uploads.
        client_options: as `boto3_kwargs` of S3Result.
        upload_options: none is supported.
        **kwargs: those of `Storage`.
    """

    def __init__(
        self,
        bucket: str,
        key: str | None = None,
        stored_as_script: bool = False,
        local_script_path: str | None = None,
        client_options: dict[str, Any] | None = None,
        upload_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.bucket = bucket
        self.key = key
        self.local_script_path = local_script_path
        self.client_options = dict(client_options or {})
        translate_boto3_kwargs(self.client_options)
        kwargs.setdefault("result", S3Result(bucket, self.client_options, upload_options))
        super().__init__(stored_as_script=stored_as_script, **kwargs)

    def serialize(self) -> dict[str, Any]:
        """Return it as JSON data, without the keys that `client_options` may hold."""
        described = super().serialize()
        options = described["client_options"]
        described["client_options"] = {
            name: value for name, value in options.items() if not name.startswith("aws_")
        }
        return described

    def _open(self) -> Bucket:
        return open_s3(self.bucket, self.client_options)
