"""JSON sent to an address that somebody listens at: Slack, and everything that takes posts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenuto._base.masking import register_secret

__all__ = ["post_json"]

_TIMEOUT_SECONDS = 10.0


def post_json(
    url: str,
    payload: Any,
    *,
    headers: Mapping[str, str] | None = None,
    proxies: Mapping[str, str] | None = None,
) -> int:
    """
    Post JSON and return the status of the answer; one attempt, at most ten seconds.

    Args:
        url: where to. It is taken for a secret, and hidden in logs from now on.
        payload: anything that JSON can express.
        headers: added to the request.
        proxies: `{"https": "http://proxy:3128"}`, by scheme of the URL.

    Raises:
        urllib3.exceptions.HTTPError: if there is no answer.
    """
    import urllib3  # Late: most flows send nothing.

    register_secret(url)
    parsed = urllib3.util.parse_url(url)
    # The HTTP client's own log lines tell the path alone, and in it the URL as a whole would not be found.
    register_secret(parsed.request_uri)
    proxy = (proxies or {}).get(parsed.scheme or "https")
    pool = urllib3.ProxyManager(proxy) if proxy else urllib3.PoolManager()
    with pool:
        answer = pool.request(
            "POST", url, json=payload, headers=dict(headers or {}), timeout=_TIMEOUT_SECONDS, retries=False
        )
        return answer.status
