"""The log lines about maps that take long, by a clock that tasks put forward."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from tenuto import Flow, task
from tenuto.engine import FlowRunner
from tenuto.engine.state import State
from tenuto.executors import LocalDaskExecutor


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def run(clock: Clock) -> Callable[..., State]:
    class Runner(FlowRunner):
        pass

    Runner.clock = staticmethod(clock)

    def run(flow: Flow, **options: Any) -> State:
        return flow.run(runner_cls=Runner, **options)

    return run


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, "tenuto")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "tenuto.Progress"]


def taking(clock: Clock, seconds: float, failing: int = 0) -> Any:
    """Return a task that takes so long by the clock, and fails for each number that `failing` divides."""

    @task
    def work(x: int) -> int:
        clock.seconds += seconds
        if failing and x % failing == failing - 1:
            raise ValueError(x)
        return x

    return work


def test_long_map_tells_how_far_it_is_every_ten_seconds(
    clock: Clock, run: Callable[..., State], lines: Callable[[], list[str]]
) -> None:
    with Flow("long") as flow:
        taking(clock, 0.5).map(list(range(50)))
    run(flow)
    assert lines() == [
        "Task 'work': 20 of 50, 2.0/s, 15 s left",
        "Task 'work': 40 of 50, 2.0/s, 5 s left",
        "Task 'work': 50 of 50, after 25 s",
    ]


def test_short_map_says_nothing(
    clock: Clock, run: Callable[..., State], lines: Callable[[], list[str]]
) -> None:
    with Flow("short") as flow:
        taking(clock, 0.1).map(list(range(90)))
        taking(clock, 100)(1)
    assert run(flow).is_successful()
    assert lines() == []


def test_failures_are_told(clock: Clock, run: Callable[..., State], lines: Callable[[], list[str]]) -> None:
    with Flow("failing") as flow:
        taking(clock, 2, failing=4).map(list(range(8)))
    run(flow)
    assert lines() == [
        "Task 'work': 5 of 8, 1 failed, 30/min, 6 s left",
        "Task 'work': 8 of 8, 2 failed, after 16 s",
    ]


def test_lines_become_fewer_the_longer_it_takes(
    clock: Clock, run: Callable[..., State], lines: Callable[[], list[str]]
) -> None:
    with Flow("very long") as flow:
        taking(clock, 6).map(list(range(6000)))  # ten hours
    run(flow)
    told = lines()
    assert 60 < len(told) < 120
    assert told[0] == "Task 'work': 2 of 6,000, 10/min, 9 h 59 min left"
    assert told[-1] == "Task 'work': 6,000 of 6,000, after 10 h"


def test_children_taken_over_do_not_count_for_the_rate(
    clock: Clock, run: Callable[..., State], lines: Callable[[], list[str]]
) -> None:
    # R-CACHE-12
    broken = [True]

    @task
    def work(x: int) -> int:
        if broken and x >= 400:
            raise OSError("not yet")
        clock.seconds += 2
        return x

    with Flow("resumed") as flow:
        work.map(list(range(430)))
    run(flow)
    before = len(lines())
    broken.clear()
    run(flow, resume="last")
    assert lines()[before] == "Task 'work': 405 of 430, 30/min, 50 s left"


def test_maps_beside_each_other_are_told_one_by_one(
    clock: Clock, run: Callable[..., State], lines: Callable[[], list[str]]
) -> None:
    with Flow("two") as flow:
        first = taking(clock, 1).copy(name="first").map(list(range(12)))
        taking(clock, 1).copy(name="second").map(first)
    run(flow, executor=LocalDaskExecutor(scheduler="threads", num_workers=1))
    assert lines() == [
        "Task 'first': 5 of 12, 30/min, 14 s left",
        "Task 'second': 5 of 12, 30/min, 14 s left",
        "Task 'first': 10 of 12, 30/min, 4 s left",
        "Task 'second': 10 of 12, 30/min, 4 s left",
        "Task 'first': 12 of 12, after 23 s",
        "Task 'second': 12 of 12, after 24 s",
    ]


def test_line_belongs_to_the_task_that_is_mapped(
    clock: Clock, run: Callable[..., State], caplog: pytest.LogCaptureFixture, tenuto_home: Any
) -> None:
    from tenuto.journal.home import Home
    from tenuto.journal.logs import read_logs

    with Flow("recorded") as flow:
        taking(clock, 6).map([1, 2, 3])
    run(flow)
    [folder] = Home(tenuto_home).run_folders()
    told = [line for line in read_logs(folder / "1.logs.jsonl") if line.logger == "tenuto.Progress"]
    assert [(line.slug, line.index) for line in told] == [("work-1", -1)] * 2


def test_at_warning_nothing_is_followed(
    clock: Clock, run: Callable[..., State], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "tenuto")
    with Flow("quiet") as flow:
        taking(clock, 60).map([1, 2, 3])
    assert run(flow).is_successful()
    assert not caplog.records
