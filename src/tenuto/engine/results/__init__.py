"""Where results are stored: one module per kind."""

from tenuto.engine.results.azure_result import AzureResult
from tenuto.engine.results.constant_result import ConstantResult
from tenuto.engine.results.gcs_result import GCSResult
from tenuto.engine.results.local_result import LocalResult
from tenuto.engine.results.prefect_result import PrefectResult, TenutoResult
from tenuto.engine.results.s3_result import S3Result
from tenuto.engine.results.secret_result import SecretResult
from tenuto.engine.results.url_result import URLResult

__all__ = [
    "AzureResult",
    "ConstantResult",
    "GCSResult",
    "LocalResult",
    "PrefectResult",
    "S3Result",
    "SecretResult",
    "TenutoResult",
    "URLResult",
]
