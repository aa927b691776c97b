"""Flows on real clusters: killed workers, values that stay where they were made, clusters not there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from tenuto import Flow, Task, task
from tenuto.executors import DaskExecutor, Executor, RayExecutor
from tenuto.journal.home import Home
from tenuto.journal.reader import read_events
from tests.fakes.clusters import PLACES, dask_executor
from tests.fakes.killer import killing, lines

pytestmark = pytest.mark.usefixtures("clusters")


@pytest.fixture(params=["dask", "ray"])
def executor(request: pytest.FixtureRequest) -> Executor:
    return PLACES[request.param]()


@pytest.fixture
def killer(tmp_path: Path) -> Iterator[Path]:
    """Kill -9 the process that has written line 50 of the file that is returned."""
    with killing(tmp_path / "effects", line=50) as path:
        yield path


def test_map_survives_the_death_of_a_worker(executor: Executor, killer: Path, tenuto_home: Path) -> None:
    @task
    def child(number: int) -> tuple[int]:
        import time

        time.sleep(0.01)
        with open(killer, "a") as file:
            file.write(f"{number} {os.getpid()}\n")
        return (number,)  # Not plain JSON: it is held by the worker, and kept in a file.

    @task
    def total(values: list[tuple[int]]) -> int:
        return sum(value[0] for value in values)

    with Flow("mortal") as flow:
        many = child.map(list(range(200)))
        added = total(many)
    state = flow.run(executor=executor)

    assert state.is_successful()
    assert state.result[added].result == sum(range(200))
    [folder] = Home(tenuto_home).run_folders()
    finals = Counter(
        event.index
        for event in read_events(folder / "1.journal")
        if event.slug == flow.slugs[cast(Task, many)] and event.index >= 0 and event.state == "Success"
    )
    assert finals == dict.fromkeys(range(200), 1)
    executed = Counter(number for number, _ in lines(killer))
    assert executed.keys() == set(range(200))
    # What the dead worker was at when it died had not been kept. All that had been was taken from the copy.
    assert sum(executed.values()) - 200 <= 2
    assert not list((folder / "kept").glob("*.note"))


def test_values_do_not_pass_through_the_flows_process(tmp_path: Path) -> None:
    program = """
        import resource, sys
        from tenuto import Flow, task
        from tenuto.executors import DaskExecutor

        @task
        def produce():
            import numpy
            return numpy.ones(512 * 2**20, dtype="u1")

        @task
        def consume(array):
            return int(array[::4096].sum())

        @task
        def small():
            return (1,)

        with Flow("large") as flow:
            consumed = consume(produce())
        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

        executor = DaskExecutor(address=sys.argv[1])
        with Flow("warm") as warm:
            small()
        assert warm.run(executor=executor).is_successful()
        before = peak()
        state = flow.run(executor=executor)
        assert state.is_successful()
        assert state.result[consumed].result == 512 * 2**20 // 4096
        print("grown by", peak() - before)
    """
    import textwrap

    address = dask_executor().address
    assert address is not None
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), address], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    grown = int(done.stdout.rsplit("grown by", 1)[1])
    assert grown < 50


def test_results_can_be_looked_at_when_the_cluster_is_gone(tenuto_home: Path) -> None:
    @task
    def pair() -> tuple[int, int]:
        return (1, 2)

    @task(checkpoint=False)
    def unkept() -> tuple[int, int]:
        return (3, 4)

    with Flow("short-lived") as flow:
        kept, fetched = pair(), unkept()
    executor = DaskExecutor(cluster_kwargs={"n_workers": 1, "threads_per_worker": 1})
    state = flow.run(executor=executor)
    assert state.result[kept].result == (1, 2)
    assert state.result[fetched].result == (3, 4)


def test_cluster_of_a_run_takes_no_fixed_port(tenuto_home: Path) -> None:
    @task
    def ports() -> list[int]:
        from distributed import get_client

        client: Any = get_client()
        return list(client.scheduler_info()["services"].values())

    with Flow("ports") as flow:
        found = ports()
    state = flow.run(executor=DaskExecutor(cluster_kwargs={"n_workers": 1, "threads_per_worker": 1}))
    taken = state.result[found].result
    assert taken
    assert 8787 not in taken


def test_scheduler_that_does_not_answer_is_one_clear_error(caplog: pytest.LogCaptureFixture) -> None:
    with Flow("nowhere") as flow:
        task(lambda: 1, name="one")()
    executor = DaskExecutor(address="tcp://127.0.0.1:1", client_kwargs={"timeout": 1})
    state = flow.run(executor=executor)
    assert state.is_failed()
    assert "No Dask scheduler answers at tcp://127.0.0.1:1" in str(state.message)
    [error] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert error.exc_info is None


def test_address_and_cluster_exclude_each_other() -> None:
    # R-EXEC-4
    with pytest.raises(ValueError, match="Give either"):
        DaskExecutor(address="tcp://127.0.0.1:8786", cluster_kwargs={"n_workers": 1})


def test_unreachable_ray_is_one_clear_error() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            (
                "from tenuto import Flow, task\n"
                "from tenuto.executors import RayExecutor\n"
                "with Flow('nowhere') as flow: task(lambda: 1, name='one')()\n"
                "print(flow.run(executor=RayExecutor(address='127.0.0.1:1')).message)\n"
            ),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "No Ray cluster can be reached or started at 127.0.0.1:1" in done.stdout.splitlines()[-1]


def test_tasks_are_run_where_their_resources_are(tenuto_home: Path) -> None:
    # R-EXEC-4
    where: Any = task(lambda: os.getpid(), name="where", tags={"dask-resource:GPU=1"})
    options: Any = task(lambda: os.getpid(), name="options", executor_options={"resources": {"GPU": 1}})
    with Flow("placed") as flow:
        pids = [where(), options()]
    executor = DaskExecutor(
        cluster_kwargs={
            "n_workers": 1,
            "threads_per_worker": 1,
            "worker_kwargs": {"resources": {"GPU": 1}},
        }
    )
    state = flow.run(executor=executor)
    assert state.is_successful()
    assert state.result[pids[0]].result == state.result[pids[1]].result != os.getpid()


def test_report_of_dask_is_written(tmp_path: Path) -> None:
    # R-EXEC-4
    path = tmp_path / "report.html"
    with Flow("reported") as flow:
        task(lambda: 1, name="one")()
    address = dask_executor().address
    state = flow.run(executor=DaskExecutor(address=address, performance_report_path=str(path)))
    assert state.is_successful()
    assert "<html" in path.read_text()[:1000]


def test_ray_that_is_connected_already_is_used_and_left(tenuto_home: Path) -> None:
    import ray

    with Flow("guest") as flow:
        task(lambda: 1, name="one")()
    assert flow.run(executor=RayExecutor()).is_successful()
    assert ray.is_initialized()


def test_cluster_by_name_and_clients_of_dask_in_tasks(tenuto_home: Path) -> None:
    # R-REAL-18
    @task
    def spread(count: int) -> int:
        from distributed import get_client

        client: Any = get_client()
        return sum(client.gather(client.map(lambda number: number * 2, list(range(count)))))

    @task
    def secede(count: int) -> int:
        from distributed import worker_client

        client: Any
        with worker_client() as client:
            return sum(client.gather(client.map(lambda number: number * 3, list(range(count)))))

    with Flow("inside") as flow:
        sums = [spread(4), secede(4)]
    executor = DaskExecutor(
        cluster_class="distributed.LocalCluster",
        cluster_kwargs={
            "n_workers": 1,
            "threads_per_worker": 2,
            "processes": False,
            "dashboard_address": "127.0.0.1:0",
        },
        adapt_kwargs={"minimum": 1, "maximum": 1},
    )
    state = flow.run(executor=executor)
    assert [state.result[each].result for each in sums] == [12, 18]
