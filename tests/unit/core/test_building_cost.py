"""
Building is linear: five times the tasks make five times the calls.

Calls are counted, not timed: their number is the same on every machine. Copies and comparisons inside C code
are no calls; `benchmarks/bench_building.py` shows those, in the time that ten thousand tasks take.
"""

import sys
from collections.abc import Callable
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
