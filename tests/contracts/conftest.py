"""Object stores that the contracts are checked on."""

from tests.fakes.object_stores import s3_environment, s3_url

__all__ = ["s3_environment", "s3_url"]
