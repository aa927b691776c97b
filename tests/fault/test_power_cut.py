"""The power of a server's machine is cut at any moment: what it had acknowledged is there, without gaps."""

from __future__ import annotations

import random
import sys
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.sqlite import SqliteDatabase
from tests.contracts.server_stores import Clock, migrated_file
from tests.fault.harness.check import check_store
from tests.fault.harness.figures import figure
from tests.fault.harness.powercut import Cut, Recording, record
from tests.fault.harness.seeds import seeded, seeds_of
from tests.snippets import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is recorded are calls of Linux")

CUTS = 40
CUTS_OF_RELAXED = 20
CUTS_OF_SOAK = 900
# Four producers report to the store at once, in events so large that the log is emptied a few times; what the
# store has acknowledged is written down.
PROGRAM = """
import os, random, sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from tenuto.server.store.sql.sqlite import SqliteDatabase
from tests.contracts.server_stores import Clock, Server, batch_of, run_state, task_state

folder, durability, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
acks = os.open(folder / "acks", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
clock = Clock()

def report(server, claim, choose):
    run_id, first = claim.run["id"], 1
    for turn in range(25):
        events = [run_state("Running")] if turn == 0 else []
        for number in range(choose.randint(1, 8)):
            events += [task_state(f"t{turn}-{number}", state, message="x" * choose.randint(0, 9000))
                       for state in ("Running", "Success")]
        acked = server.send(run_id, claim.token, batch_of(claim.epoch, first, *events)).acked
        os.write(acks, f"{run_id} {acked}\\n".encode())
        first = acked + 1

with closing(SqliteDatabase(folder / "store.db", clock, durability)) as database:
    server = Server(database, clock)
    for _ in range(4):
        server.new_run()
    claims = server.claim(limit=4)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(report, [server] * 4, claims, [random.Random(seed + number) for number in range(4)]))
"""


def recorded(folder: Path, durability: str, seed: int) -> Recording:
    folder.mkdir()
    (folder / "store.db").write_bytes(migrated_file())
    arguments = [str(folder.resolve()), durability, str(seed)]
    return record([sys.executable, "-c", PROGRAM, *arguments], folder, cwd=ROOT)


@dataclass
class Judged:
    """
    What many cuts did to a store.

    Attributes:
        gaps: stores in which something does not hold, a hole in a stream for instance.
        lost_acked: acknowledged events that are not there, over all cuts; `max_lost` by one cut.
    """

    cuts: int = 0
    gaps: int = 0
    lost_acked: int = 0
    max_lost: int = 0

    def look_at(self, cut: Cut) -> None:
        """Open the store as a server would after the cut."""
        self.cuts += 1
        acked = {run_id: int(number) for run_id, number in (line.split() for line in cut.acked)}
        with closing(SqliteDatabase(cut.folder / "store.db", Clock(), "relaxed")) as database:
            answer = database.read(lambda tx: tx.connection.execute(sa.text("PRAGMA quick_check")).scalar())
            assert answer == "ok", f"The database is damaged by the cut at {cut.at}: {answer}"
            self.gaps += bool(database.read(check_store))
            lost = database.read(partial(missing, acked=acked))
        self.lost_acked += lost
        self.max_lost = max(self.max_lost, lost)


def missing(transaction: Transaction, acked: dict[str, int]) -> int:
    """Return how many acknowledged events are not stored."""
    run = tables.flow_run
    rows = transaction.connection.execute(sa.select(run.c.id, run.c.pseq)).all()
    stored: dict[str, int] = {run_id: pseq for run_id, pseq in rows}  # noqa: C416  # rows are no tuples to mypy
    return sum(max(0, number - stored.get(run_id, 0)) for run_id, number in acked.items())


def judged(recording: Recording, cuts: int, choose: random.Random) -> Judged:
    found = Judged()
    for cut in recording.cuts(cuts, choose):
        found.look_at(cut)
    return found


@pytest.mark.parametrize("seed", seeds_of("power_cut"))
def test_full_durability_loses_nothing_that_was_acknowledged(tmp_path: Path, seed: int) -> None:
    judge_full(tmp_path, seed, CUTS)


@pytest.mark.soak
@pytest.mark.parametrize("seed", seeds_of("power_cut"))
def test_full_durability_loses_nothing_in_many_cuts(tmp_path: Path, seed: int) -> None:
    judge_full(tmp_path, seed, CUTS_OF_SOAK)


def judge_full(folder: Path, seed: int, cuts: int) -> None:
    with seeded("power_cut", seed) as choose:
        recording = recorded(folder / "disk", "full", seed)
        found = judged(recording, cuts, choose)
        mode = "FULL" if cuts == CUTS else "FULL-soak"
        figure("powercut", what="store", mode=mode, syncs=recording.counts["E"], **vars(found))
        assert (found.gaps, found.lost_acked) == (0, 0)


def test_relaxed_durability_is_seen_to_lose_the_end_and_nothing_else(tmp_path: Path) -> None:
    with seeded("power_cut", 1) as choose:
        found = judged(recorded(tmp_path / "disk", "relaxed", 1), CUTS_OF_RELAXED, choose)
        figure("powercut", what="store", mode="NORMAL", **vars(found))
        assert found.lost_acked > 0
        assert found.gaps == 0
