"""The class of the settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tenuto._base.collections import DotDict
from tenuto._base.masking import MASK

__all__ = ["Config", "ConfigKeyError", "masked"]

_SECRET_KEY = re.compile(r"(key|token|password|secret)$", re.IGNORECASE)


class ConfigKeyError(AttributeError, KeyError):
    """A setting that does not exist; caught as AttributeError and as KeyError."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class Config(DotDict):
    """
    Nested settings with attribute access. Mappings put into it become `Config`s too; `update` merges them.

    Values of secrets are not shown when it is printed.

    Raises:
        ConfigKeyError: for a key that does not exist.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise ConfigKeyError(f"{type(self).__name__!r} object has no attribute {name!r}") from None

    def __missing__(self, key: str) -> Any:
        raise ConfigKeyError(f"There is no setting {key!r} here.")

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, self._converted(key, value))

    def setdefault(self, key: str, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set keys; where both old and new value are mappings, merge them."""
        for key, value in dict(*args, **kwargs).items():
            old = self.get(key)
            if isinstance(old, Config) and isinstance(value, Mapping):
                old.update(value)
            else:
                self[key] = value

    def copy(self) -> Config:
        return type(self)(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {masked(self)}>"

    def _converted(self, key: str, value: Any) -> Any:
        kind = _SecretConfig if key == "secrets" or isinstance(self, _SecretConfig) else Config
        if isinstance(value, Mapping) and not isinstance(value, kind):
            return kind(value)
        return value


class _SecretConfig(Config):
    """Settings of which no value is ever shown."""


def masked(settings: Config) -> dict[str, Any]:
    """Return settings to be shown: what is a secret by its place or its name is `****`."""
    hide = isinstance(settings, _SecretConfig)
    shown: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Config):
            shown[key] = masked(value)
        elif hide or (value and _SECRET_KEY.search(key)):
            shown[key] = MASK
        else:
            shown[key] = value
    return shown
