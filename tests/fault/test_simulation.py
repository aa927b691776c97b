"""Histories of the store that seeds choose, judged after each step: `tests/fault/harness/simulation.py`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import pytest

from tests.contracts.server_stores import Clock, postgresql_store
from tests.fakes.postgres import PostgresServer
from tests.fault.harness.figures import figure
from tests.fault.harness.seeds import kept_seeds, new_seed, seeded
from tests.fault.harness.simulation import SimulatedStore, Tally, simulate, store_in_memory

HISTORY_STEPS = 200
STEPS = 30_000
STEPS_ON_POSTGRESQL = 1_000
STEPS_FOR_LONG = 300_000
SOMETIMES = ("fenced", "gap", "dup", "illegal", "expired", "crash_after_commit", "cancel_while_running")
SOMETIMES_MIN = 100


def go_through(store: SimulatedStore, seeds: Iterable[int], tally: Tally) -> None:
    for seed in seeds:
        with seeded("simulation", seed) as choose:
            simulate(store, choose, HISTORY_STEPS, tally)


def go_far(store: SimulatedStore, steps: int, seconds: float = 0.0) -> Tally:
    """Go through histories: first those that once failed, then new ones until both are used up."""
    end, tally = time.monotonic() + seconds, Tally()
    go_through(store, kept_seeds("simulation"), tally)
    while tally.steps < steps or time.monotonic() < end:
        go_through(store, [new_seed()], tally)
    return tally


def print_figure(tally: Tally, store: str) -> None:
    sometimes: dict[str, Any] = {name: tally.sometimes[name] for name in SOMETIMES}
    figure("simulation", store=store, steps=tally.steps, violations=0, **sometimes, faults=tally.faults)


# I-1, I-3, I-4, I-5, I-7, I-8, I-9
def test_store_keeps_its_promises_in_any_history() -> None:
    with store_in_memory() as store:
        tally = go_far(store, STEPS)
    print_figure(tally, "sqlite")
    seldom = {name: tally.sometimes[name] for name in SOMETIMES if tally.sometimes[name] < SOMETIMES_MIN}
    assert not seldom


def test_postgresql_keeps_them_too(postgres: PostgresServer) -> None:
    clock = Clock()
    with postgresql_store(postgres, clock) as database:
        tally = go_far(SimulatedStore(database, clock), STEPS_ON_POSTGRESQL)
    print_figure(tally, "postgresql")


@pytest.mark.soak
def test_store_keeps_its_promises_for_long(soak_seconds: float) -> None:
    with store_in_memory() as store:
        tally = go_far(store, STEPS_FOR_LONG, soak_seconds)
    print_figure(tally, "sqlite-soak")


def test_seed_chooses_the_same_history_again() -> None:
    tallies = [Tally(), Tally()]
    with store_in_memory() as store:
        for tally in tallies:
            go_through(store, [7], tally)
    assert tallies[0] == tallies[1]
