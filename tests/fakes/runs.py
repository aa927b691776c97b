"""What tests of runs share: small tasks, and eyes on states, log records and journals."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tenuto import Flow, task
from tenuto.configuration import home_path
from tenuto.engine import signals
from tenuto.engine.state import State
from tenuto.journal.fold import RunView, fold
from tenuto.journal.home import Home
from tenuto.journal.reader import read_events

NOW = timedelta(0)
Change = tuple[str, str]


@task
def one() -> int:
    return 1


@task
def plus(x: int, y: int = 1) -> int:
    return x + y


@task
def count(items: list[Any]) -> int:
    return len(items)


@task
def total(items: list[int]) -> int:
    return sum(items)


@task
def fails() -> int:
    raise ValueError("as it was")


@task
def fail_signal() -> None:
    raise signals.FAIL("no")


@task
def skips() -> int:
    raise signals.SKIP("not now")


class Changes:
    """A state handler that notes each change by the names of the classes."""

    def __init__(self) -> None:
        self.seen: list[Change] = []
        self.states: list[State] = []

    def __call__(self, obj: Any, old: State, new: State) -> None:
        self.seen.append((type(old).__name__, type(new).__name__))
        self.states.append(new)


def flow_of(made: Any, **kwargs: Any) -> tuple[Flow, Any]:
    """Return a flow with one call of a task, and what the call gave."""
    with Flow("single", **kwargs) as flow:
        called = made()
    return flow, called


def newest_run() -> RunView:
    """Return the newest run, as its journal tells it."""
    home = Home(home_path())
    return fold(read_events(home.run_folder(home.run_ids()[0]) / "1.journal"))


def records(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str]]:
    """Return level, logger and text of all log records."""
    return [(record.levelname, record.name, record.getMessage()) for record in caplog.records]
