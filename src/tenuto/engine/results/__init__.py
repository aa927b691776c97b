"""Where results are stored: one module per kind."""

from tenuto.engine.results.constant_result import ConstantResult
from tenuto.engine.results.local_result import LocalResult
from tenuto.engine.results.prefect_result import PrefectResult, TenutoResult
from tenuto.engine.results.secret_result import SecretResult

__all__ = ["ConstantResult", "LocalResult", "PrefectResult", "SecretResult", "TenutoResult"]
