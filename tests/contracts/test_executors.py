"""What every executor keeps: the product's own, and those that tests run flows on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tenuto import Flow, task
from tenuto.executors import Executor, LocalExecutor
from tests.fakes.executors import ThreadExecutor, TicketExecutor

EXECUTORS: list[Callable[[], Executor]] = [LocalExecutor, ThreadExecutor, TicketExecutor]


@pytest.fixture(params=EXECUTORS, ids=lambda make: make.__name__)
def executor(request: pytest.FixtureRequest) -> Executor:
    made: Executor = request.param()
    return made


def test_what_is_submitted_is_called_once_with_its_arguments(executor: Executor) -> None:
    # R-EXEC-1
    calls: list[tuple[int, int]] = []

    def add(x: int, y: int) -> int:
        calls.append((x, y))
        return x + y

    with executor.start():
        future = executor.submit(add, 1, y=2, extra_context={"task_name": "add", "map_index": -1})
        assert executor.wait(future) == 3
    assert calls == [(1, 2)]


def test_wait_resolves_lists_and_dicts_of_futures_and_leaves_values(executor: Executor) -> None:
    # R-EXEC-1
    with executor.start():
        three, four = executor.submit(lambda: 3), executor.submit(lambda: 4)
        assert executor.wait([three, {"a": [four, 5]}, "text"]) == [3, {"a": [4, 5]}, "text"]


def test_executor_can_be_used_for_one_run_after_another(executor: Executor) -> None:
    # R-EXEC-3
    with Flow("again") as flow:
        many = task(lambda x: 2 * x, name="double").map([1, 2, 3])
    for _ in range(2):
        assert flow.run(executor=executor).result[many].result == [2, 4, 6]


def test_nothing_is_left_running_after_a_run(executor: Executor) -> None:
    # R-EXEC-3
    before = threading.active_count()
    with Flow("tidy") as flow:
        task(lambda x: x, name="same").map(list(range(20)))
    assert flow.run(executor=executor).is_successful()
    assert threading.active_count() == before


def test_failure_of_a_task_is_not_the_executors(executor: Executor) -> None:
    # R-PIPE-3, R-EXEC-1
    def fails() -> Any:
        raise ValueError("as it was")

    with Flow("failing") as flow:
        bad = task(fails)()
        good = task(lambda: 1, name="good")()
    state = flow.run(executor=executor)
    assert state.result[bad].message == "Error during execution of task: ValueError('as it was')"
    assert state.result[good].result == 1
