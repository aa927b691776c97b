"""Object stores that the contracts are checked on."""

from collections.abc import Iterator

import pytest

from tests.fakes.object_stores import KEYS, s3_endpoint


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    with s3_endpoint("results", "other") as url:
        yield url


@pytest.fixture
def s3_environment(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have S3 clients speak to the test's server, as an environment would say it."""
    for name, value in {"AWS_ENDPOINT": s3_url, "AWS_ENDPOINT_URL": s3_url}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS["aws_access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS["aws_secret_access_key"])
    monkeypatch.setenv("AWS_DEFAULT_REGION", KEYS["region_name"])
    return s3_url
