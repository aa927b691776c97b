"""
The figure that a fault test ends with: one line, and an entry of `build/figures.json`.

    FIG kill9 store=sqlite kills=34 acked=1201 lost=0 dup=0
"""

from __future__ import annotations

import functools
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from tenuto._base.files import write_atomic
from tenuto._base.locks import file_lock
from tests.snippets import ROOT

__all__ = ["FIGURES", "NothingFailed", "figure", "read_figures"]

FIGURES = ROOT / "build" / "figures.json"
Value = str | int | float | bool


class NothingFailed(AssertionError):
    """The fault that a test is about never happened, so it has shown nothing."""


def figure(name: str, /, *, path: Path = FIGURES, **values: Value) -> None:
    """
    Print a figure and keep it, in place of an older one of the same name and the same texts.

    Args:
        name: of the test, as in the table of reliability 4.3.
        path: of the collection; processes may write to it at the same time.
        values: texts say what was measured (`store="sqlite"`), numbers what came out.

    Raises:
        NothingFailed: if `faults`, `kills` or `cuts` is given and 0.
    """
    for count in ("faults", "kills", "cuts"):
        if values.get(count, 1) == 0:
            raise NothingFailed(f"The test {name!r} has {count}=0: nothing failed, so it shows nothing.")
    print(" ".join(["FIG", name, *(f"{key}={shown(value)}" for key, value in values.items())]), flush=True)
    entry = {"name": name, "values": values, "at": int(time.time()), **surroundings()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(path.with_name(path.name + ".lock")):
        others = [other for other in read_figures(path) if identity(other) != identity(entry)]
        entries = sorted([*others, entry], key=identity)
        text = json.dumps(entries, indent=1, allow_nan=False) + "\n"
        write_atomic(path, [text.encode()], private=False, fsync=False)


def read_figures(path: Path = FIGURES) -> list[dict[str, Any]]:
    """Return what was collected."""
    try:
        entries: list[dict[str, Any]] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return []
    return entries


def identity(entry: dict[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    texts = ((key, value) for key, value in entry["values"].items() if isinstance(value, str))
    return entry["name"], sorted(texts)


def shown(value: Value) -> str:
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value).replace(" ", "-")
    return f"{value:.4g}"


def surroundings() -> dict[str, Any]:
    """Return what a figure may only be quoted with: the machine, and how busy it was."""
    return {
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "fsync_p50_ms": fsync_p50_ms(),
    }


@functools.cache
def fsync_p50_ms() -> float:
    with tempfile.TemporaryFile() as file:
        times = []
        for _ in range(21):
            file.write(b"x" * 4096)
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return round(sorted(times)[10] * 1000, 2)
