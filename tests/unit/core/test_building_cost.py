"""Building is linear: ten thousand tasks cost five times what two thousand cost."""

import sys
from collections.abc import Callable
from time import process_time
from typing import Any

import pytest

from tenuto import Flow, Task, case, task

SMALL, LARGE = 400, 2000
RATIO_MAX = 1.4 * LARGE / SMALL


@task
def add(x: Any, y: Any = 1) -> Any:
    return x


def chain(count: int) -> Flow:
    with Flow("chain") as flow:
        node: Any = add(0)
        for _ in range(count):
            node = add(node)
    return flow


def fan_in(count: int) -> Flow:
    with Flow("fan in") as flow:
        add([add(number) for number in range(count)])
    return flow


def wide_upstream(count: int) -> Flow:
    with Flow("upstream tasks") as flow:
        add(1, upstream_tasks=[add(number) for number in range(count)])
    return flow


def fan_out(count: int) -> Flow:
    with Flow("fan out") as flow:
        source: Any = add(0)
        for _ in range(count):
            add(source, upstream_tasks=[source])
    return flow


def one_block(count: int) -> Flow:
    with Flow("one block") as flow:
        condition = Task(name="condition")()
        with case(condition, True):
            for number in range(count):
                add(number)
    return flow


def items(count: int) -> Flow:
    with Flow("items") as flow:
        source: Any = add(0)
        for number in range(count):
            source[number] + 1
    return flow


def function_calls(work: Callable[[], object]) -> int:
    """Count the calls of Python functions that some work makes: the same number on every machine."""
    count = 0

    def profile(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("build", [chain, fan_in, wide_upstream, fan_out, one_block, items])
def test_calls_made_while_building_grow_with_the_tasks(build: Callable[[int], Flow]) -> None:
    small = function_calls(lambda: build(SMALL))
    large = function_calls(lambda: build(LARGE))
    assert large / small < RATIO_MAX


@pytest.mark.parametrize("build", [chain, fan_in, fan_out])
def test_calls_made_while_checking_and_sorting_grow_with_the_tasks(build: Callable[[int], Flow]) -> None:
    def look(flow: Flow) -> None:
        flow.validate()
        flow.sorted_tasks()
        flow.reference_tasks()
        flow.copy()
        flow.serialize()

    small, large = build(SMALL), build(LARGE)
    assert function_calls(lambda: look(large)) / function_calls(lambda: look(small)) < RATIO_MAX


@pytest.mark.parametrize("build", [chain, fan_in, fan_out])
def test_ten_thousand_tasks_take_about_five_times_as_long_as_two_thousand(
    build: Callable[[int], Flow],
) -> None:
    # Copies and comparisons inside C code are not calls; they would show in the time. The best of some
    # attempts, and twice what a linear step takes, keep a busy machine from deciding.
    def seconds(count: int) -> float:
        started = process_time()
        build(count).sorted_tasks()
        return process_time() - started

    small = min(seconds(2000) for _ in range(3))
    assert any(seconds(10_000) / small < 10 for _ in range(3))
