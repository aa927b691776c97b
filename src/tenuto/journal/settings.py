"""What the settings say about records, read once at the start of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

__all__ = ["RecordSettings"]

_MEGABYTE = 1 << 20
_GIGABYTE = 1 << 30
_POLICIES = ("last", "until_success", "never")


@dataclass(frozen=True, slots=True)
class RecordSettings:
    """Limits of what is recorded and kept. Sizes in bytes."""

    keep_results: str = "last"
    """`last`, `until_success` or `never`."""
    value_bytes_max: int = 256 * _MEGABYTE
    results_bytes_max: int = 10 * _GIGABYTE
    results_days: float = 14
    journals_bytes_max: int = 5 * _GIGABYTE
    journals_days: float = 30
    min_free_percent: float = 10
    allow_pickle: bool = True
    """False unless `results.pickle` is `own`: signed pickles are for runs that a server knows."""
    durable: bool = False
    """True when `journal.durability` is `full`: each event is forced to the disk."""

    @classmethod
    def from_config(cls, config: Any) -> Self:
        """
        Read the `flows`, `history`, `journal` and `results` sections.

        Raises:
            ValueError: for a `flows.keep_results` that does not exist.
        """
        policy = config.flows.keep_results
        if policy not in _POLICIES:
            raise ValueError(
                f"flows.keep_results is {policy!r}; it must be one of {', '.join(map(repr, _POLICIES))}."
            )
        history = config.history
        return cls(
            keep_results=policy,
            value_bytes_max=int(float(config.flows.keep_results_max_mb) * _MEGABYTE),
            results_bytes_max=int(float(history.results_max_gb) * _GIGABYTE),
            results_days=float(history.results_days),
            journals_bytes_max=int(float(history.journals_max_gb) * _GIGABYTE),
            journals_days=float(history.journals_days),
            min_free_percent=float(history.min_free_percent),
            allow_pickle=config.results.pickle == "own",
            durable=config.journal.durability == "full",
        )
