"""The value that stands for "no default was given", where None is a default."""

from __future__ import annotations

from enum import Enum
from typing import Final

__all__ = ["NO_DEFAULT"]


class _Sentinel(Enum):
    # An enum, so that copies and pickles of it stay the same object.
    NO_DEFAULT = "no default"

    def __repr__(self) -> str:
        return "<no default>"


NO_DEFAULT: Final = _Sentinel.NO_DEFAULT
