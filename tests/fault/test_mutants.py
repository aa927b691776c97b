"""Each guard of the store is taken away in turn, and the simulation must notice: else it judges nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from tenuto.server.domain.timings import Timings
from tenuto.server.store.sql import ingest, leases, schedules, sqlite, stream
from tenuto.server.store.sql.database import Transaction
from tests.fault.harness.figures import figure
from tests.fault.harness.simulation import SimulatedStore, Tally, Violation, simulate, store_in_memory

HISTORY_STEPS = 200
HISTORIES_MAX = 100

Patch = Callable[[pytest.MonkeyPatch], None]


def always(value: object) -> Callable[..., object]:
    return lambda *given, **named: value


# ---------------------------------------------------------------------------------------------------- mutants


def without_grace(mutated: pytest.MonkeyPatch) -> None:
    is_lost = leases._is_lost

    def at_once(now: datetime, timings: Timings) -> sa.ColumnElement[bool]:
        return is_lost(now, replace(timings, grace=timedelta(0)))

    mutated.setattr(leases, "_is_lost", at_once)


def without_bump(mutated: pytest.MonkeyPatch) -> None:
    def stay(run: stream.RunStream) -> int:
        run.set(pseq=0)
        epoch: int = run.row["epoch"]
        return epoch

    mutated.setattr(stream.RunStream, "raise_epoch", stay)


def without_dedupe(mutated: pytest.MonkeyPatch) -> None:
    mutated.setattr(ingest, "_split", lambda batch, known: ([], batch.events))


def before_commit(mutated: pytest.MonkeyPatch) -> None:
    """Answer each piece of work when it is done, not when it is committed."""
    commit = sqlite.SqliteDatabase._commit

    def answered(transaction: Transaction, job: sqlite._Job) -> Any:
        try:
            result = job.work(transaction)
        except Exception as error:
            job.future.set_exception(error)
            raise
        job.future.set_result(result)
        return result

    def answer_and_commit(database: sqlite.SqliteDatabase, group: list[sqlite._Job]) -> None:
        commit(database, [sqlite._Job(partial(answered, job=job), Future()) for job in group])

    mutated.setattr(sqlite.SqliteDatabase, "_commit", answer_and_commit)


MUTANTS: dict[str, Patch] = {
    "epoch check": lambda mutated: mutated.setattr(leases, "_is_in_force", always(True)),
    "epoch bump": without_bump,
    "dedupe": without_dedupe,
    "gap check": lambda mutated: mutated.setattr(ingest, "_check_gap", always(None)),
    "unique slot": lambda mutated: mutated.setattr(schedules, "_is_new", always(True)),
    "transition table": lambda mutated: mutated.setattr(stream, "may_become", always(True)),
    "ack after commit": before_commit,
    "grace": without_grace,
    "digest": lambda mutated: mutated.setattr(ingest, "_check_digest", always(None)),
}


# ------------------------------------------------------------------------------------------------------ tests


def steps_to_find(store: SimulatedStore, remove: Patch) -> int | None:
    """Return how many steps it takes until a store without a guard breaks a promise; None: it never does."""
    tally = Tally()
    with pytest.MonkeyPatch.context() as mutated:
        remove(mutated)
        for seed in range(HISTORIES_MAX):
            try:
                simulate(store, random.Random(seed), HISTORY_STEPS, tally)
            except Violation:
                return tally.steps
    return None


def test_simulation_finds_each_guard_that_is_missing() -> None:
    with store_in_memory() as store:
        found = {name: steps_to_find(store, remove) for name, remove in MUTANTS.items()}
    steps: dict[str, Any] = {
        f"steps_{name.replace(' ', '_')}": steps for name, steps in found.items() if steps is not None
    }
    missed = [name for name, steps in found.items() if steps is None]
    figure("mutants", mutants=len(MUTANTS), found=len(MUTANTS) - len(missed), **steps)
    assert not missed
