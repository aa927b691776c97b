"""
What does it cost to recognise an input? Microseconds a value, by type and size.

Held constant: the values, made once. The floor of large values is SHA-256 of as many bytes; that of small
ones is what anybody would write by hand: SHA-256 of `json.dumps(value, sort_keys=True)`.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.harness import Case, Figure, figure, in_turns, main, seconds
from tenuto._base.digests import digest


def measure(quick: bool) -> list[Figure]:
    figures = []
    for name, value, size in values():
        repeats = max(1, (2_000 if quick else 20_000) // max(1, size // 200))
        measured = in_turns(
            {"digest": digesting(value, repeats), "floor": hashing(value, size, repeats)},
            rounds=3 if quick else 11,
        )
        figures.append(
            figure(
                f"digest of {name}",
                "us",
                measured["digest"],
                floor=measured["floor"],
                floor_name="us: SHA-256 of the bytes" if size >= LARGE_BYTES else "us: SHA-256 of json.dumps",
            )
        )
    return figures


LARGE_BYTES = 100_000


def values() -> list[tuple[str, Any, int]]:
    """Return name, value and size in bytes; the size matters for large ones only."""
    random = np.random.default_rng(0)
    rows = 10_000
    frame = pd.DataFrame(random.random((rows, 10)), columns=[f"c{number}" for number in range(10)])
    mixed = pd.DataFrame(
        {
            "id": np.arange(rows),
            "name": [f"name {number % 97}" for number in range(rows)],
            "when": pd.date_range("2020-01-01", periods=rows, freq="h"),
        }
    )
    return [
        ("an int", 7, 8),
        ("a text of 20 characters", "twenty characters!!!", 20),
        ("a dict of 5 items", {"a": 1, "b": [1, 2, 3], "c": "text", "d": None, "e": 1.5}, 60),
        ("a list of 1,000 ints", list(range(1000)), 4890),
        ("a float array of 1 KB", random.random(128), 1024),
        ("a float array of 1 MB", random.random(131_072), 1 << 20),
        ("a float array of 32 MB", random.random(1 << 22), 32 << 20),
        ("a frame of 10,000 x 10 floats", frame, 800_000),
        ("a frame of 10,000 ids, names and times", mixed, 300_000),
    ]


def digesting(value: Any, repeats: int) -> Case:
    def work() -> None:
        for _ in range(repeats):
            digest(value)

    return lambda: 1e6 * seconds(work) / repeats


def hashing(value: Any, size: int, repeats: int) -> Case:
    data = bytes(size)

    def work() -> None:
        for _ in range(repeats):
            hashlib.sha256(data).hexdigest()

    def work_small() -> None:
        for _ in range(repeats):
            hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

    small = isinstance(value, (int, str, dict, list))
    return lambda: 1e6 * seconds(work_small if small else work) / repeats


if __name__ == "__main__":
    main(measure, __doc__)
