"""
What does it cost to keep a result? Milliseconds a value, written to a file and read back, by kind and size.

Held constant: the file system (one folder), the values. The floor is `pickle.dump` with protocol 5 into a
plain file, without checksum, and `pickle.load` from it. What Tenuto adds is a SHA-256 of every byte, both
ways.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.harness import Case, Figure, figure, in_turns, main, scratch_folder, seconds
from tenuto.journal.event import ResultRef
from tenuto.journal.values import keep, load

CAP = 1 << 30


def measure(quick: bool) -> list[Figure]:
    figures = []
    with scratch_folder() as folder:
        (folder / "kept").mkdir()
        for name, value, megabytes in values():
            measured = in_turns(cases(folder, value), rounds=3 if quick else 15)
            for action, floor in (("keep", "pickle.dump"), ("load", "pickle.load")):
                samples = measured[action]
                speed = (
                    f" ({megabytes / (sorted(samples)[len(samples) // 2] / 1000):.0f} MB/s)"
                    if megabytes
                    else ""
                )
                figures.append(
                    figure(
                        f"{action} {name}{speed}",
                        "ms",
                        samples,
                        floor=measured[floor],
                        floor_name=f"ms: {floor}",
                    )
                )
    return figures


def values() -> list[tuple[str, Any, float]]:
    """Return name, value and size in MB (0 where it is too small for a speed to mean anything)."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.random((400_000, 10)), columns=[f"c{number}" for number in range(10)])
    return [
        ("a small object", {1, 2, 3}, 0),
        ("an array of 32 MB", random.random(1 << 22), 32),
        ("a frame of 32 MB", frame, 32),
        ("a list of 100,000 texts", [f"text {number}" for number in range(100_000)], 0),
    ]


def cases(folder: Path, value: Any) -> dict[str, Case]:
    kept, plain = folder / "kept" / "value", folder / "plain"
    ref = keep(value, kept, CAP)
    assert isinstance(ref, ResultRef)
    found = ref

    def dump() -> None:
        # A new file, as ours is: to truncate one makes some file systems wait for the disk.
        plain.unlink(missing_ok=True)
        with plain.open("wb") as file:
            pickle.dump(value, file, protocol=5)

    def read() -> None:
        with plain.open("rb") as file:
            pickle.load(file)

    dump()
    return {
        "keep": lambda: 1000 * seconds(lambda: keep(value, kept, CAP)),
        "pickle.dump": lambda: 1000 * seconds(dump),
        "load": lambda: 1000 * seconds(lambda: load(found, folder)),
        "pickle.load": lambda: 1000 * seconds(read),
    }


if __name__ == "__main__":
    main(measure, __doc__)
