"""
Seeds of tests that choose at random: those that once failed, for ever, and new ones.

`tests/fault/seeds/NAME.txt` holds the failed ones, one a line, with what was wrong behind a `#`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["SEEDS", "kept_seeds", "new_seed", "seeded", "seeds_of"]

SEEDS = Path(__file__).resolve().parents[1] / "seeds"


def seeds_of(name: str, new: int = 1, folder: Path = SEEDS) -> list[int]:
    """Return the seeds that a test runs with: all that once failed, then as many new ones as wanted."""
    return [*kept_seeds(name, folder), *(new_seed() for _ in range(new))]


def new_seed() -> int:
    """Return a seed that nobody chose."""
    return random.SystemRandom().getrandbits(32)


def kept_seeds(name: str, folder: Path = SEEDS) -> list[int]:
    """Return the seeds of a test that once failed."""
    try:
        lines = (folder / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    numbers = [line.partition("#")[0].strip() for line in lines]
    return [int(number) for number in numbers if number]


@contextmanager
def seeded(name: str, seed: int) -> Iterator[random.Random]:
    """Give the randomness of a seed; what fails inside says how to keep it."""
    try:
        yield random.Random(seed)
    except Exception as error:
        error.add_note(
            f"Seed {seed}. Keep it: echo '{seed}  # WHAT WAS WRONG' >>tests/fault/seeds/{name}.txt"
        )
        raise
