"""What the settings say about records, read once at the start of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from tenuto.journal.places import full_location

__all__ = ["RecordSettings"]

_MEGABYTE = 1 << 20
_GIGABYTE = 1 << 30
_POLICIES = ("last", "until_success", "never")


@dataclass(frozen=True, slots=True)
class RecordSettings:
    """Limits of what is recorded and kept. Sizes in bytes."""

    keep_results: str = "last"
    """`last`, `until_success` or `never`."""
    results_location: str = ""
    """The URL under which the results of all runs are kept; empty: each in its run's own folder."""
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
            ValueError: for a `flows.keep_results` that does not exist, or a `flows.results_location` that is
                no folder and no known URL.
        """
        policy = config.flows.keep_results
        if policy not in _POLICIES:
            raise ValueError(
                f"flows.keep_results is {policy!r}; it must be one of {', '.join(map(repr, _POLICIES))}."
            )
        try:
            location = full_location(config.flows.results_location)
        except ValueError as error:
            raise ValueError(f"flows.results_location cannot be used: {error}") from None
        history = config.history
        return cls(
            keep_results=policy,
            results_location=location,
            value_bytes_max=int(float(config.flows.keep_results_max_mb) * _MEGABYTE),
            results_bytes_max=int(float(history.results_max_gb) * _GIGABYTE),
            results_days=float(history.results_days),
            journals_bytes_max=int(float(history.journals_max_gb) * _GIGABYTE),
            journals_days=float(history.journals_days),
            min_free_percent=float(history.min_free_percent),
            allow_pickle=config.results.pickle == "own",
            durable=config.journal.durability == "full",
        )
