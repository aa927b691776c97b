"""
What does it cost to build a flow, and does it stay the same with 10,000 tasks? Microseconds a task.

Held constant: tasks of one function, built in a `with Flow` block, then checked and sorted as each run does
first. The floor is the same shape of smaller size: linear means that a task of the larger flow costs about as
much as one of the smaller.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.flows import chain, fan
from benchmarks.harness import Case, Figure, figure, in_turns, main, seconds
from tenuto import Flow

LINEAR_MAX = 1.5
SHAPES: dict[str, Callable[[int], Flow]] = {"chain": chain, "fan-out and reduce": fan}


def measure(quick: bool) -> list[Figure]:
    small, large = (200, 1_000) if quick else (2_000, 10_000)
    cases = {
        f"{shape} of {tasks:,}": building(build, tasks)
        for shape, build in SHAPES.items()
        for tasks in (small, large)
    }
    measured = in_turns(cases, rounds=3 if quick else 9)
    return [
        figure(
            f"is it linear: a task of a {shape} of {large:,}",
            "us",
            measured[f"{shape} of {large:,}"],
            floor=measured[f"{shape} of {small:,}"],
            floor_name=f"us: a task of one of {small:,}",
            ratio_max=LINEAR_MAX,
        )
        for shape in SHAPES
    ]


def building(build: Callable[[int], Flow], tasks: int) -> Case:
    return lambda: 1e6 * seconds(lambda: build(tasks).validate()) / tasks


if __name__ == "__main__":
    main(measure, __doc__)
