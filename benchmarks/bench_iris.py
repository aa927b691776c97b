"""
How much longer does a real project take with Tenuto? Milliseconds of the whole process, from start to exit.

Held constant: the iris project of `examples/iris`, its raw data saved before. The floor are the same
functions called one after the other. `data_engineering.py` is measured in its first run, in which it writes
its target, and with the target there, in which the last task is not run.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.harness import Figure, environment, figure, in_turns, main, scratch_folder, seconds

PROJECT = Path(__file__).resolve().parent.parent / "examples" / "iris"
ADDED_MS_MAX = 150


def measure(quick: bool) -> list[Figure]:
    with scratch_folder() as folder:
        project = folder / "iris"
        shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("data", "__pycache__"))
        variables = environment(folder / "home")

        def run(*arguments: str) -> float:
            command = [sys.executable, *arguments]
            return 1000 * seconds(
                lambda: subprocess.run(
                    command, cwd=project, env=variables, check=True, stdout=subprocess.DEVNULL
                )
            )

        def plain(function: str) -> float:
            return run("-c", f"import plain_functions; plain_functions.{function}()")

        def first_run() -> float:
            for target in (project / "data" / "processed").glob("split*"):
                target.unlink()
            return run("data_engineering.py")

        plain("data_engineer")
        cases = {
            "data_engineering.py, first run": first_run,
            "data_engineering.py, target there": lambda: run("data_engineering.py"),
            "data_science.py": lambda: run("data_science.py"),
            "data_engineer": lambda: plain("data_engineer"),
            "data_science": lambda: plain("data_science"),
        }
        measured = in_turns(cases, rounds=2 if quick else 15)
    floors = {name: "data_science" if "science" in name else "data_engineer" for name in list(cases)[:3]}
    figures = []
    for name, floor in floors.items():
        pairs = list(zip(measured[name], measured[floor], strict=True))
        added = [flow - functions for flow, functions in pairs]
        figures.append(
            figure(
                f"{name}: beyond the plain functions",
                "ms",
                added,
                floor_name=f"(they take {sorted(measured[floor])[len(pairs) // 2]:.0f} ms)",
                median_max=ADDED_MS_MAX,
            )
        )
    return figures


if __name__ == "__main__":
    main(measure, __doc__)
