"""
What the benchmarks share: measuring several things in turns, and telling the figures.

Machines that measure are noisy, so nothing is believed for its microseconds. What is compared is measured in
the same process, one round after the other in turns, and each round gives one ratio; the median of those
ratios is the figure.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

Case = Callable[[], float]
"""Does its work once, and returns what it took in the unit of the figure (per piece of work)."""

# Set by `--cpu`, and so handed on to the processes of the benchmarks. On a machine that is busy with other
# things the clock tells more about those; the budgets are about the clock of a quiet one.
CPU_VARIABLE = "TENUTO_BENCH_CPU"

LOG_FORMAT = "[%(asctime)s] %(levelname)s - %(name)s | %(message)s"
LOG_DATE_FORMAT = "%Y-%m-%d %H:%M:%S%z"


@dataclass(frozen=True)
class Figure:
    """
    One measured figure.

    Attributes:
        question: what was measured, in a few words.
        unit: of `median`, `low`, `high` and `floor`.
        median: of all rounds; `low` and `high` are the quartiles.
        floor_name: what the same work costs without Tenuto; empty where there is no such thing.
        ratio: median of the rounds' ratios to the floor, with quartiles.
        budget: the promise, as text; `holds` whether it is kept, None where there is no promise.
    """

    question: str
    unit: str
    median: float
    low: float
    high: float
    rounds: int
    floor_name: str = ""
    floor: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    budget: str = ""
    holds: bool | None = None


def in_turns(cases: Mapping[str, Case], rounds: int) -> dict[str, list[float]]:
    """Run every case once a round, each round beginning with another one; a first round warms up."""
    names = list(cases)
    measured: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            gc.collect()
            took = cases[name]()
            if number:
                measured[name].append(took)
    return measured


def figure(
    question: str,
    unit: str,
    samples: Sequence[float],
    *,
    floor: Sequence[float] | None = None,
    floor_name: str = "",
    ratio_max: float | None = None,
    median_max: float | None = None,
) -> Figure:
    """
    Make a figure of the samples of a case, and of those of its floor in the same rounds.

    Args:
        ratio_max: the promise about the ratio to the floor.
        median_max: the promise about the median itself; only for what does not depend on the machine.
    """
    low, median, high = quartiles(samples)
    ratios = [sample / base for sample, base in zip(samples, floor, strict=True)] if floor else []
    ratio_low, ratio, ratio_high = quartiles(ratios) if ratios else (None, None, None)
    budget, holds = "", None
    if ratio_max is not None and ratio is not None:
        budget, holds = f"<= {ratio_max:g} x floor", ratio <= ratio_max
    elif median_max is not None:
        budget, holds = f"<= {median_max:g} {unit}", median <= median_max
    return Figure(
        question=question,
        unit=unit,
        median=median,
        low=low,
        high=high,
        rounds=len(samples),
        floor_name=floor_name,
        floor=statistics.median(floor) if floor else None,
        ratio=ratio,
        ratio_low=ratio_low,
        ratio_high=ratio_high,
        budget=budget,
        holds=holds,
    )


def quartiles(samples: Sequence[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile."""
    if len(samples) == 1:
        return samples[0], samples[0], samples[0]
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
    return low, median, high


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds that `work` takes once: by the clock, or with `--cpu` of the processor."""
    clock = cpu_seconds if CPU_VARIABLE in os.environ else time.perf_counter
    start = clock()
    work()
    return clock() - start


def cpu_seconds() -> float:
    """Return the processor time of this process, and of those that it has started and that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


# ------------------------------------------------------------------------------------------- places to write
# to


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a folder that is removed afterwards; TENUTO_BENCH_DIR says where (default: temporary files)."""
    with tempfile.TemporaryDirectory(
        prefix="tenuto-bench-", dir=os.environ.get("TENUTO_BENCH_DIR")
    ) as folder:
        yield Path(folder)


def environment(home: Path) -> dict[str, str]:
    """
    Return the environment of a process to be measured: a home folder of its own, byte code as for everybody.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "TENUTO__HOME_DIR": str(home)}


@contextmanager
def stdout_in(path: Path) -> Iterator[TextIO]:
    """Let `sys.stdout` be a file, as after `python flow.py > run.log`."""
    with path.open("a", encoding="utf-8") as file:
        before, sys.stdout = sys.stdout, file
        try:
            yield file
        finally:
            sys.stdout = before


@contextmanager
def stdlib_logger(file: TextIO) -> Iterator[logging.Logger]:
    """Give a plain logger of the standard library that writes to a file, in the format that Tenuto writes."""
    logger = logging.Logger("tenuto.TaskRunner")  # noqa: LOG001  # the floor: nothing of it may stay behind
    handler = logging.StreamHandler(file)
    handler.setFormatter(logging.Formatter(LOG_FORMAT, LOG_DATE_FORMAT))
    logger.addHandler(handler)
    yield logger
    handler.close()


# ----------------------------------------------------------------------------------------------- telling
# figures


def main(measure: Callable[[bool], list[Figure]], description: str | None) -> None:
    """Run one benchmark from the command line, and leave with exit code 1 if a budget does not hold."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    add_options(parser)
    arguments = parser.parse_args()
    prepare(arguments)
    figures = measure(arguments.quick)
    tell(figures, as_json=arguments.json)
    raise SystemExit(1 if any(one.holds is False for one in figures) else 0)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that one benchmark and the runner of all have in common."""
    parser.add_argument("--quick", action="store_true", help="fewer and smaller rounds: does it work at all?")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--cpu", action="store_true", help="measure processor time: for a busy machine")


def prepare(arguments: argparse.Namespace) -> None:
    """Carry out the options that hold for the whole process."""
    if arguments.cpu:
        os.environ[CPU_VARIABLE] = "1"


def tell(figures: Sequence[Figure], *, as_json: bool = False) -> None:
    """Print figures, as a table or as JSON with the machine they were measured on."""
    if as_json:
        print(json.dumps({"machine": machine(), "figures": [asdict(one) for one in figures]}, indent=1))
        return
    print(table(figures))


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as aligned text: the ratio first, then the median with its quartiles."""
    rows = [("question", "ratio", "(quartiles)", "median", "(quartiles)", "unit", "floor", "budget", "")]
    for one in figures:
        ratio = (f"{one.ratio:.2f}", f"({one.ratio_low:.2f}-{one.ratio_high:.2f})") if one.ratio else ("", "")
        floor = f"{short(one.floor)} {one.floor_name}" if one.floor is not None else one.floor_name
        verdict = {True: "holds", False: "MISSED", None: ""}[one.holds]
        spread = f"({short(one.low)}-{short(one.high)})"
        rows.append((one.question, *ratio, short(one.median), spread, one.unit, floor, one.budget, verdict))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def short(number: float) -> str:
    """Return a number with three digits that mean something."""
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"


def machine() -> dict[str, str | int | None]:
    """Say where the figures come from, without naming the machine."""
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "clock": "processor time" if CPU_VARIABLE in os.environ else "wall",
    }
