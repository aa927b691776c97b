"""
What does a server cost that nobody uses, and how long does it take to start? Seconds, megabytes, per cent.

Start: from the command to the line that says that it is ready, with a database that is there already; the
floor is a process that imports the same libraries. Idle: the processor time and the memory of a server that
has been ready for ten seconds, over the next twenty; the budgets are those of design 7 for server and agent
together. SQLite and PostgreSQL in turns.

Held constant: byte code is there, no agent, no browser, no run.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil

from benchmarks.harness import Figure, environment, figure, in_turns, main, scratch_folder, seconds
from tests.fakes.postgres import postgres_server

LIBRARIES = (
    "import fastapi, uvicorn, sqlalchemy.dialects.sqlite, psycopg, msgspec, urllib3, click, websockets"
)
IDLE_MB_MAX = 150.0
IDLE_PERCENT_MAX = 1.0
MB = 1 << 20


def measure(quick: bool) -> list[Figure]:
    with scratch_folder() as folder, postgres_server() as server, server.database() as url:
        stores = {"sqlite": ["--db", str(folder / "store.db")], "postgresql": ["--db", url]}
        for arguments in stores.values():
            start(folder, arguments)  # It makes the tables, and the key of this machine.
        found = [
            *started(folder, stores, rounds=1 if quick else 7),
            *idle(folder, stores, 2.0 if quick else 20.0),
        ]
    return found


def started(folder: Path, stores: dict[str, list[str]], rounds: int) -> list[Figure]:
    """Measure from the command to readiness."""
    libraries = partial(
        subprocess.run, [sys.executable, "-c", LIBRARIES], env=environment(folder), check=True
    )
    cases = {name: partial(seconds, partial(start, folder, arguments)) for name, arguments in stores.items()}
    measured = in_turns({"libraries": partial(seconds, libraries), **cases}, rounds)
    return [
        figure(
            f"start to ready, {name}",
            "s",
            measured[name],
            floor=measured["libraries"],
            floor_name="import of the libraries",
        )
        for name in stores
    ]


def start(folder: Path, arguments: list[str]) -> None:
    """Start a server, and stop it when it is ready."""
    with running(folder, arguments):
        pass


@contextmanager
def running(folder: Path, arguments: list[str]) -> Iterator[psutil.Popen]:
    """Give a server that is ready; it is killed afterwards."""
    command = [sys.executable, "-m", "tenuto", "server", "start", "--port", "0", *arguments]
    process = psutil.Popen(
        command, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        for line in process.stdout:
            if line.startswith("Tenuto server ready"):
                break
        else:
            raise RuntimeError("The server did not start.")
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def idle(folder: Path, stores: dict[str, list[str]], length: float) -> list[Figure]:
    """Measure what a server takes when nothing happens."""
    figures = []
    for name, arguments in stores.items():
        with running(folder, arguments) as process:
            time.sleep(length / 2)
            before, began = processor_seconds(process), time.perf_counter()
            time.sleep(length)
            share = 100 * (processor_seconds(process) - before) / (time.perf_counter() - began)
            memory = process.memory_info().rss / MB
        figures += [
            figure(f"memory when idle, {name}", "MB", [memory], median_max=IDLE_MB_MAX),
            figure(f"processor when idle, {name}", "%", [share], median_max=IDLE_PERCENT_MAX),
        ]
    return figures


def processor_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    used: float = times.user + times.system
    return used


if __name__ == "__main__":
    main(measure, __doc__)
