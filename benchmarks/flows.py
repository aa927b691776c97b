"""Flows of tasks that do nothing, and the plain loops that they are compared with."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness import seconds, stdlib_logger, stdout_in
from tenuto import Flow, config, task
from tenuto.utilities.logging import get_logger

# The two lines of a no-op task are of this length on average; the floor writes as much.
JOURNAL_LINE = b"x" * 279 + b"\n"


@task
def noop(x: Any = None) -> Any:
    return x


@task
def count(items: list[Any]) -> int:
    return len(items)


def chain(length: int) -> Flow:
    """Return a flow of `length` tasks, each with the one before it as its input."""
    with Flow("chain") as flow:
        value = noop()
        for _ in range(length - 1):
            value = noop(value)
    return flow


def fan(width: int) -> Flow:
    """Return a flow of one source, `width - 3` tasks that take it, and a list of them that is counted."""
    with Flow("fan") as flow:
        source = noop()
        count([noop(source) for _ in range(width - 3)])
    return flow


def mapped(children: int) -> Flow:
    """Return a flow of one task mapped over `children` items; each child returns None."""
    with Flow("map") as flow:
        nothing.map(range(children))
    return flow


@task
def nothing(item: int) -> None:
    """Take an item and return nothing, so that what is left of a child is Tenuto's own."""


@contextmanager
def logs(folder: Path, level: str) -> Iterator[None]:
    """Let the package log at `level` into a file in `folder`, as after `python flow.py > run.log`."""
    logger = get_logger()
    before = logger.level
    logger.setLevel(level)
    with stdout_in(folder / "tenuto.log"):
        try:
            yield
        finally:
            logger.setLevel(before)


def run_seconds(flow: Flow, folder: Path, level: str = "INFO") -> float:
    """Run a flow once, in a home folder without earlier runs, and return its wall-clock seconds."""
    home = folder / "home"
    config.home_dir = str(home)
    shutil.rmtree(home / "runs", ignore_errors=True)
    with logs(folder, level):
        return seconds(lambda: check(flow))


def check(flow: Flow) -> None:
    """Run a flow; a benchmark of failing flows would be a fine thing, but not this one."""
    state = flow.run()
    if not state.is_successful():
        raise RuntimeError(f"The flow to measure ended in {state!r}")


def floor_seconds(calls: int, folder: Path, level: str = "INFO") -> float:
    """
    Do what cannot be done without: two `write(2)` a call, and two log records if they are wanted.

    Ten times as many calls as asked for, because two `write(2)` are over too soon to be measured well; the
    time is that of `calls` of them.
    """
    path = folder / "floor.journal"
    path.unlink(missing_ok=True)
    journal = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        with (folder / "floor.log").open("a", encoding="utf-8") as file, stdlib_logger(file) as logger:
            loop = plain_loop_with_logs if level == "INFO" else plain_loop
            return seconds(lambda: loop(10 * calls, journal, logger)) / 10
    finally:
        os.close(journal)


def plain_loop(calls: int, journal: int, logger: logging.Logger) -> None:
    function = noop.run
    for _ in range(calls):
        os.write(journal, JOURNAL_LINE)
        function()
        os.write(journal, JOURNAL_LINE)


def plain_loop_with_logs(calls: int, journal: int, logger: logging.Logger) -> None:
    function = noop.run
    for _ in range(calls):
        logger.info("Task '%s': Starting task run...", "noop")
        os.write(journal, JOURNAL_LINE)
        function()
        os.write(journal, JOURNAL_LINE)
        logger.info("Task '%s': Finished task run for task with final state: '%s'", "noop", "Success")
