"""Results at any URL that obstore knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenuto._base.object_store import Bucket, check_url, open_url
from tenuto.engine.results.bucket import BucketResult
from tenuto.serialization.state import register_result

__all__ = ["URLResult"]


class URLResult(BucketResult):
    """
    Keeps values as objects below a URL (`pip install tenuto[s3]`, or another of the object stores' extras).

    Args:
        url: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, `file:///folder`,
            `memory:///` (of this object alone). Files have no metadata, so that damage goes unnoticed: prefer
            LocalResult.
        options: of obstore's store of that scheme, such as `{"region": "eu-central-1"}`.
        **kwargs: those of `Result`.

    Raises:
        ValueError: for a URL of another scheme, or one that holds a password.
    """

    url: str
    options: dict[str, Any]

    def __init__(self, url: str, options: dict[str, Any] | None = None, **kwargs: Any) -> None:
        check_url(url)
        self.url = url
        self.options = dict(options or {})
        super().__init__(**kwargs)

    def _open(self) -> Bucket:
        return open_url(self.url, self.options)

    def described_settings(self) -> dict[str, Any]:
        """Return the URL: options may hold keys and are not part of a state."""
        return {"url": self.url}


def _from_description(described: Mapping[str, Any]) -> URLResult:
    return URLResult(str(described.get("url", "")), location=described.get("location"))


register_result(URLResult, _from_description)
