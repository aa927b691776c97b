"""
What do executors cost, and what do they gain? Ratios, and microseconds a task.

Processes: a map of 200 items that compute for 50 ms each, on two worker processes against the same flow
inline; the start of the workers is in it. What a plain pool of two processes gains tells what the machine
gives at the moment. Threads: a map of 2,000 no-ops on two threads, default logs to a file. Its budget is 150
us where the two log records and two `write(2)` of a task take 40 / 3 us (design 7), which makes 11.25 times
those, measured in turns with it on whatever machine this is; a plain pool of two threads and the same map
inline are there to compare. Dask: the same map on two workers of one thread each, which are there already,
against 2,000 calls of plain `distributed` that are submitted one after the other without waiting, and
gathered at once. Chains, on the same workers: three maps of 500 that follow one another child by child,
against three times one such map; and two children through 20 maps, where nothing hides what a link costs,
against the same calls of plain `distributed`, each submitted with the future of the one before it.

Held constant: two workers, journal on, results kept, a home without earlier runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.flows import floor_seconds, mapped, noop, run_seconds
from benchmarks.harness import Figure, figure, in_turns, main, scratch_folder, seconds
from tenuto import Flow, task
from tenuto.executors import DaskExecutor, Executor, LocalDaskExecutor, LocalExecutor

WORKERS = 2
LINKS = 20
GAIN_MIN = 1.8
THREADS_RATIO_MAX = 150 / (40 / 3)
DASK_RATIO_MAX = 2.0


def measure(quick: bool) -> list[Figure]:
    children = 200 if quick else 2_000
    with scratch_folder() as folder:
        return [
            *processes(folder, items=20 if quick else 200, rounds=1 if quick else 3),
            *threads(folder, children, rounds=3 if quick else 15),
            *dask(folder, children, rounds=2 if quick else 9, of_a_chain=50 if quick else 500),
        ]


# ------------------------------------------------------------------------------------------------ computing


def compute(turns: int) -> int:
    """Keep a processor busy."""
    total = 0
    for number in range(turns):
        total += number * number % 7
    return total


def turns_of(milliseconds: float) -> int:
    """Return how many turns of `compute` take so long here, by the quickest of a few tries."""
    turns = 100_000
    fastest = min(seconds(partial(compute, turns)) for _ in range(5))
    return int(turns * milliseconds / 1000 / fastest)


def processes(folder: Path, items: int, rounds: int) -> list[Figure]:
    """Measure a map that computes: inline, on two processes, and by a plain pool."""
    turns = turns_of(50)
    work = task(compute, name="compute")

    def computing(executor: Executor) -> Flow:
        with Flow("computing", executor=executor) as flow:
            work.map([turns] * items)
        return flow

    inline = computing(LocalExecutor())
    parallel = computing(LocalDaskExecutor(scheduler="processes", num_workers=WORKERS))
    measured = in_turns(
        {
            "inline": lambda: run_seconds(inline, folder),
            "processes": lambda: run_seconds(parallel, folder),
            "pool": lambda: seconds(partial(plain_pool, [turns] * items)),
        },
        rounds,
    )
    return [
        figure(
            f"{items} items of 50 ms on {WORKERS} processes (gain {GAIN_MIN} x)",
            "s",
            measured["processes"],
            floor=measured["inline"],
            floor_name="s: inline",
            ratio_max=1 / GAIN_MIN,
        ),
        figure(
            f"{items} items of 50 ms on {WORKERS} processes, against a plain pool",
            "s",
            measured["processes"],
            floor=measured["pool"],
            floor_name="s: ProcessPoolExecutor",
        ),
    ]


def plain_pool(items: list[int]) -> None:
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        for future in [pool.submit(compute, turns) for turns in items]:
            future.result()


# -------------------------------------------------------------------------------------------------- no-ops


def threads(folder: Path, children: int, rounds: int) -> list[Figure]:
    """Measure no-ops on two threads."""
    flow, inline = mapped(children), mapped(children)
    flow.executor = LocalDaskExecutor(scheduler="threads", num_workers=WORKERS)
    inline.executor = LocalExecutor()
    measured = in_turns(
        {
            "flow": lambda: 1e6 * run_seconds(flow, folder) / children,
            "inline": lambda: 1e6 * run_seconds(inline, folder) / children,
            "floor": lambda: 1e6 * floor_seconds(children, folder) / children,
            "pool": lambda: 1e6 * seconds(partial(plain_threads, children)) / children,
        },
        rounds,
    )
    name = f"a task of {children:,} no-ops on {WORKERS} threads, default logs to a file"
    return [
        figure(
            name,
            "us",
            measured["flow"],
            floor=measured["floor"],
            floor_name="us: 2 log records + 2 write(2)",
            ratio_max=THREADS_RATIO_MAX,
        ),
        figure(
            f"{name}, against a plain pool",
            "us",
            measured["flow"],
            floor=measured["pool"],
            floor_name="us: ThreadPoolExecutor",
        ),
        figure(
            f"{name}, against inline",
            "us",
            measured["flow"],
            floor=measured["inline"],
            floor_name="us: LocalExecutor",
        ),
    ]


def plain_threads(calls: int) -> None:
    with ThreadPoolExecutor(WORKERS) as pool:
        for future in [pool.submit(nothing, number) for number in range(calls)]:
            future.result()


def nothing(item: int) -> None:
    """Take an item and return nothing."""


def dask(folder: Path, children: int, rounds: int, of_a_chain: int) -> list[Figure]:
    """Measure no-ops on a Dask cluster, and by plain `distributed` on the same one."""
    flow, one, three, long = (
        mapped(children),
        chained(of_a_chain, links=1),
        chained(of_a_chain, links=3),
        chained(WORKERS, links=LINKS),
    )
    with cluster() as client:
        for each in (flow, one, three, long):
            each.executor = DaskExecutor(address=client.scheduler.address)
        measured = in_turns(
            {
                "flow": lambda: 1e6 * run_seconds(flow, folder) / children,
                "floor": lambda: 1e6 * seconds(partial(plain_dask, client, children)) / children,
            },
            rounds,
        )
        chains = in_turns(
            {
                "one": lambda: 3e3 * run_seconds(one, folder),
                "three": lambda: 1e3 * run_seconds(three, folder),
                "long": lambda: 1e3 * run_seconds(long, folder) / LINKS,
                "floor": lambda: 1e3 * seconds(partial(plain_chains, client)) / LINKS,
            },
            rounds,
        )
    return [
        figure(
            f"a task of {children:,} no-ops on Dask, default logs to a file",
            "us",
            measured["flow"],
            floor=measured["floor"],
            floor_name="us: submit each, gather all",
            ratio_max=DASK_RATIO_MAX,
        ),
        figure(
            f"a chain of three maps of {of_a_chain} on Dask",
            "ms",
            chains["three"],
            floor=chains["one"],
            floor_name="ms: three times one map",
        ),
        figure(
            f"a link of {LINKS} maps of {WORKERS} on Dask",
            "ms",
            chains["long"],
            floor=chains["floor"],
            floor_name="ms: submit each after the one before",
        ),
    ]


def chained(children: int, links: int) -> Flow:
    """Return a flow of maps that follow one another, child by child."""
    with Flow("chained") as flow:
        value: Any = range(children)
        for _ in range(links):
            value = noop.map(value)
    return flow


def plain_dask(client: Any, calls: int) -> None:
    client.gather([client.submit(nothing, number, pure=False) for number in range(calls)])


def plain_chains(client: Any) -> None:
    links = [client.submit(nothing, number, pure=False) for number in range(WORKERS)]
    for _ in range(LINKS - 1):
        links = [client.submit(nothing, link, pure=False) for link in links]
    client.gather(links)


@contextmanager
def cluster() -> Iterator[Any]:
    """Give a client of two workers with one thread each, in processes of their own."""
    from distributed import Client
    from distributed.deploy import subprocess

    start: Any = subprocess.SubprocessCluster
    with start(n_workers=WORKERS, threads_per_worker=1, dashboard_address="127.0.0.1:0") as workers:
        connect: Any = Client
        with connect(workers, set_as_default=False) as client:
            yield client


if __name__ == "__main__":
    main(measure, __doc__)
