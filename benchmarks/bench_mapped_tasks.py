"""
What does a mapped child cost, and does it stay the same with 100,000 of them? Microseconds and bytes a child.

Held constant: children that return None, over a range; inline executor, journal on, default logs to a file.
Linear means that a child of the largest map costs about as much as one of the smallest. Memory is counted by
tracemalloc in processes of their own, at WARNING, as the difference between two sizes of map, so that what a
run costs by itself is not in it: at the peak of the run, and what stays while somebody holds the final state.
A None takes no memory, so all of it is Tenuto's.
"""

from __future__ import annotations

import subprocess
import sys

from benchmarks.flows import floor_seconds, mapped, run_seconds
from benchmarks.harness import Case, Figure, figure, in_turns, main, scratch_folder

LINEAR_MAX = 1.3
BYTES_MAX = 1536

MEMORY_PROGRAM = """
import sys, tracemalloc
from pathlib import Path
import tenuto
from benchmarks.flows import mapped
from benchmarks.harness import scratch_folder
from tenuto.utilities.logging import get_logger

get_logger().setLevel("WARNING")
flow = mapped(int(sys.argv[1]))
with scratch_folder() as folder:
    tenuto.config.home_dir = str(folder / "home")
    mapped(10).run()
    tracemalloc.start()
    state = flow.run()
    held, peak = tracemalloc.get_traced_memory()
    assert state.is_successful()
print(held, peak)
"""


def measure(quick: bool) -> list[Figure]:
    sizes = (100, 1_000, 5_000) if quick else (1_000, 10_000, 100_000)
    return times(sizes, rounds=3 if quick else 7) + memory(sizes[1:], rounds=1 if quick else 3)


def times(sizes: tuple[int, ...], rounds: int) -> list[Figure]:
    """Measure each size against the floor, and the largest against the smallest."""
    with scratch_folder() as folder:

        def mapping(children: int) -> Case:
            flow = mapped(children)
            return lambda: 1e6 * run_seconds(flow, folder) / children

        cases = {str(children): mapping(children) for children in sizes}
        cases["floor"] = lambda: 1e6 * floor_seconds(sizes[0], folder) / sizes[0]
        measured = in_turns(cases, rounds)
    smallest, largest = sizes[0], sizes[-1]
    return [
        *(
            figure(
                f"a child of {children:,}, default logs to a file",
                "us",
                measured[str(children)],
                floor=measured["floor"],
                floor_name="us: 2 log records + 2 write(2)",
                ratio_max=3.0,
            )
            for children in sizes
        ),
        figure(
            f"is it linear: a child of {largest:,}",
            "us",
            measured[str(largest)],
            floor=measured[str(smallest)],
            floor_name=f"us: a child of {smallest:,}",
            ratio_max=LINEAR_MAX,
        ),
    ]


def memory(sizes: tuple[int, ...], rounds: int) -> list[Figure]:
    """Measure bytes a child between two sizes."""
    small, large = sizes[0], sizes[-1]
    samples = [[bytes_used(large), bytes_used(small)] for _ in range(rounds)]
    held, peak = (
        [(big[which] - little[which]) / (large - small) for big, little in samples] for which in (0, 1)
    )
    return [
        figure(f"memory at the peak, a child of {large:,}", "bytes", peak, median_max=BYTES_MAX),
        figure(f"memory held by the final state, a child of {large:,}", "bytes", held),
    ]


def bytes_used(children: int) -> tuple[int, int]:
    command = [sys.executable, "-c", MEMORY_PROGRAM, str(children)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    held, peak = map(int, printed.split())
    return held, peak


if __name__ == "__main__":
    main(measure, __doc__)
