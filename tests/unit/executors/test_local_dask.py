"""The executor with Dask's name that needs no Dask: its pools, and the order in which a map is run."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from tenuto import Flow, task
from tenuto.executors import LocalDaskExecutor


@pytest.mark.parametrize("scheduler", ["other", "", None, 3])
def test_unknown_scheduler_is_refused(scheduler: str) -> None:
    # R-EXEC-6
    with pytest.raises(ValueError, match=f"Unknown scheduler {scheduler!r}; it must be one of threads"):
        LocalDaskExecutor(scheduler=scheduler)


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "2"])
def test_number_of_workers_is_checked(number: int) -> None:
    # R-EXEC-6
    with pytest.raises(ValueError, match="must be a whole number of at least 1"):
        LocalDaskExecutor(num_workers=number)


def test_threads_work_beside_each_other() -> None:
    # R-EXEC-6
    meeting = threading.Barrier(2)

    @task
    def meet(number: int) -> int:
        meeting.wait(timeout=60)
        return number

    with Flow("meeting") as flow:
        many = meet.map([1, 2])
    assert flow.run(executor=LocalDaskExecutor("threads", num_workers=2)).result[many].result == [1, 2]


@pytest.mark.parametrize("scheduler", ["sync", "synchronous", "single-threaded"])
def test_sync_runs_in_the_calling_thread(scheduler: str) -> None:
    # R-EXEC-6
    with Flow("here") as flow:
        where = task(threading.current_thread, name="where")()
    assert flow.run(executor=LocalDaskExecutor(scheduler)).result[where].result is threading.current_thread()


def test_child_goes_on_to_the_next_map_as_soon_as_it_is_done() -> None:
    # R-EXEC-5
    order: list[str] = []

    @task
    def first(number: int) -> int:
        order.append(f"first {number}")
        return number

    @task
    def second(number: int) -> int:
        order.append(f"second {number}")
        return number

    with Flow("deep") as flow:
        second.map(first.map([0, 1, 2]))
    assert flow.run(executor=LocalDaskExecutor("threads", num_workers=1)).is_successful()
    assert order == ["first 0", "second 0", "first 1", "second 1", "first 2", "second 2"]


def test_dask_is_not_needed() -> None:
    # R-EXEC-6
    program = """
import sys
sys.modules["dask"] = sys.modules["distributed"] = None
from tenuto import Flow, task
from tenuto.executors import DaskExecutor, LocalDaskExecutor
with Flow("alone") as flow:
    task(lambda: 1, name="one")()
assert flow.run(executor=LocalDaskExecutor("processes", num_workers=1)).is_successful()
print(flow.run(executor=DaskExecutor()).message)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'tenuto[dask]'" in done.stdout.splitlines()[-1]
