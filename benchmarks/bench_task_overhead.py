"""
What does Tenuto add to a task? Microseconds a task, wall clock of `flow.run()` divided by its tasks.

Held constant: no-op tasks, inline executor, journal on, results kept (inline, they are None), a home without
earlier runs. "Default logs" are the two INFO records of each task, written to a file; the floor is a plain
loop with two records of the standard library and two `write(2)` of the journal's size. At WARNING nothing is
logged, and the floor is the two `write(2)`. The last figures are what a run costs whatever its size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.flows import chain, fan, floor_seconds, run_seconds
from benchmarks.harness import Case, Figure, figure, in_turns, main, scratch_folder

RATIO_MAX = {"INFO": 3.0, "WARNING": 12.0}
FLOOR = {"INFO": "us: 2 log records + 2 write(2)", "WARNING": "us: 2 write(2)"}
LOGS = {"INFO": "default logs to a file", "WARNING": "at WARNING"}


def measure(quick: bool) -> list[Figure]:
    tasks = 100 if quick else 1000
    flows = {f"chain of {tasks} no-ops": chain(tasks), f"fan-out and reduce of {tasks}": fan(tasks)}
    single = chain(1)
    figures = []
    with scratch_folder() as folder:
        for level in ("INFO", "WARNING"):
            cases: dict[str, Case] = {
                name: partial(microseconds_each, tasks, run_seconds, flow, folder, level)
                for name, flow in flows.items()
            }
            cases["floor"] = partial(microseconds_each, tasks, floor_seconds, tasks, folder, level)
            cases["single"] = partial(microseconds_each, 1, run_seconds, single, folder, level)
            measured = in_turns(cases, rounds=5 if quick else 25)
            figures += [
                figure(
                    f"{name}, {LOGS[level]}",
                    "us",
                    measured[name],
                    floor=measured["floor"],
                    floor_name=FLOOR[level],
                    ratio_max=RATIO_MAX[level],
                )
                for name in flows
            ]
            figures.append(figure(f"a whole run of one task, {LOGS[level]}", "us", measured["single"]))
    return figures


def microseconds_each(count: int, took: Callable[..., float], *arguments: Any) -> float:
    return 1e6 * took(*arguments) / count


if __name__ == "__main__":
    main(measure, __doc__)
