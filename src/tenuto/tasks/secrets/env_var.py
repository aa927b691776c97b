"""Secrets in environment variables."""

import os
from collections.abc import Callable
from typing import Any

from tenuto._base.masking import register_secret
from tenuto.tasks.secrets.base import PrefectSecret

__all__ = ["EnvVarSecret"]


class EnvVarSecret(PrefectSecret):
    """
    Reads an environment variable of the process in which the task runs.

    Args:
        name: the variable, and the name of the task; it may also be given by an upstream task.
        cast: applied to a value that is there.
        raise_if_missing: fail instead of returning None.
        **kwargs: those of `Task`, but for `result`.
    """

    def __init__(
        self,
        name: str | None = None,
        cast: Callable[[str], Any] | None = None,
        raise_if_missing: bool = False,
        **kwargs: Any,
    ) -> None:
        self.cast = cast
        self.raise_if_missing = raise_if_missing
        super().__init__(name=name, **kwargs)

    def run(self, name: str | None = None) -> Any:
        """
        Return the variable's value, or None without one.

        Raises:
            ValueError: if no name is given, or the variable is not set and `raise_if_missing` is true.
        """
        variable = self._chosen(name)
        value = os.environ.get(variable)
        if value is None:
            if self.raise_if_missing:
                raise ValueError(f"Environment variable not set: {variable}")
            return None
        register_secret(value)
        return value if self.cast is None else self.cast(value)
