"""Tasks that fetch secrets at run time. What they return is never written anywhere."""

from tenuto.tasks.secrets.base import PrefectSecret, SecretBase, TenutoSecret
from tenuto.tasks.secrets.env_var import EnvVarSecret

__all__ = ["EnvVarSecret", "PrefectSecret", "SecretBase", "TenutoSecret"]
