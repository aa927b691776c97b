"""What the flow's process notes of the calls that it has handed to Dask."""

import gc
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from tenuto.executors.dask import _Reports

FIRST = 4000


@pytest.fixture
def collector_that_lets_others_go_on() -> Iterator[None]:
    """Have the garbage collector run at every other allocation, and let another thread go on meanwhile."""
    before = gc.get_threshold()

    def pause(phase: str, info: dict[str, int]) -> None:
        time.sleep(0)

    gc.callbacks.append(pause)
    gc.set_threshold(2, 1000, 1000)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(pause)


@pytest.mark.usefixtures("collector_that_lets_others_go_on")
def test_calls_are_handed_over_while_others_are_looked_for() -> None:
    executor: Any = None
    reports = _Reports(executor, SimpleNamespace(status="running"))
    pending = SimpleNamespace(status="pending")

    def hand_over(number: int) -> None:
        handle: Future[Any] = Future()
        reports.watch(str(number), handle, pending)

    def go_on_handing_over() -> None:
        number = FIRST
        while not stopped.is_set():
            hand_over(number := number + 1)
            time.sleep(0)

    # So many that Python has to allocate for a copy: of a few thousand tuples, it has spare ones.
    for number in range(FIRST):
        hand_over(number)
    stopped = threading.Event()
    thread = threading.Thread(target=go_on_handing_over)
    thread.start()
    try:
        for _ in range(5):
            reports._look()
    finally:
        stopped.set()
        thread.join()
    assert len(reports._all_watched()) >= FIRST
