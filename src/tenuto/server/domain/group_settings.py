"""What people set for all versions of a flow: which runs may overlap, and what becomes of missed ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, get_args

from tenuto.exceptions import PrefectException
from tenuto.server.domain.horizon import CatchUp
from tenuto.server.domain.overlap import Overlap

__all__ = ["BadSettings", "GroupSettings", "check_settings"]

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "rescue": ("on", "off", "only-before-start"),
    "overlap": get_args(Overlap),
    "catchup": get_args(CatchUp),
}
_NUMBERS: Mapping[str, tuple[type, ...]] = {"max_concurrent_runs": (int,), "grace_seconds": (int, float)}


_MOST = 1_000_000_000


class BadSettings(PrefectException, ValueError):
    """A setting of a flow has a value that it cannot have."""

    def __init__(self, name: str, value: object) -> None:
        wanted = (
            f"one of {', '.join(_CHOICES[name])}" if name in _CHOICES else f"a number from 0 to {_MOST:,}"
        )
        super().__init__(f"The flow's setting {name} is {wanted}, not {value!r}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """
    The settings of a flow that the server acts on.

    Attributes:
        rescue: when a run whose worker is lost is run again (R-BE-115).
        overlap: what becomes of a run while others of its flow are under way (R-BE-72).
        max_concurrent_runs: how many may be; 0: any number, or one where `overlap` is not `allow`.
        catchup: what becomes of runs that were missed (R-BE-71).
        grace_seconds: up to so late a run is as good as on time.
    """

    rescue: str = "on"
    overlap: Overlap = "allow"
    max_concurrent_runs: int = 0
    catchup: CatchUp = "latest"
    grace_seconds: float = 300.0

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> GroupSettings:
        """Return the settings that are stored; what cannot be read is as if it was not set (S-26)."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: stored[name] for name in names if name in stored and _is_right(stored, name)})

    @property
    def runs_at_once(self) -> int:
        """How many runs may be under way; 0: any number."""
        return self.max_concurrent_runs or (0 if self.overlap == "allow" else 1)


def check_settings(given: Mapping[str, Any]) -> None:
    """
    Let through settings as the server can act on them, and those that it knows nothing of.

    Raises:
        BadSettings: for one that has a value that it cannot have.
    """
    for name in (*_CHOICES, *_NUMBERS):
        if name in given and not _is_right(given, name):
            raise BadSettings(name, given[name])


def _is_right(given: Mapping[str, Any], name: str) -> bool:
    value: Any = given[name]
    if name in _CHOICES:
        return isinstance(value, str) and value in _CHOICES[name]
    is_number = isinstance(value, _NUMBERS[name]) and not isinstance(value, bool)
    return is_number and bool(0 <= value <= _MOST)
