"""The recorder of power cuts tells programs that sync from those that do not."""

import random
import shutil
import sqlite3
import sys
import textwrap
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fault.harness.figures import figure
from tests.fault.harness.powercut import ACKS, Cut, Entry, Recording, record
from tests.fault.harness.seeds import seeded, seeds_of
from tests.snippets import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is recorded are calls of Linux")

CUTS = 900

BEGIN = """
import os, sqlite3, sys
folder = sys.argv[1]
acks = os.open(folder + "/acks", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def acknowledge(what):
    os.write(acks, f"{what}\\n".encode())
"""

COMMITS = """
connection = sqlite3.connect(folder + "/test.db", isolation_level=None)
for setting in ("journal_mode=WAL", f"synchronous={sys.argv[2]}", "wal_autocheckpoint=20", "cache_size=10"):
    connection.execute(f"PRAGMA {setting}")
connection.execute("BEGIN")
connection.execute("CREATE TABLE line (n INTEGER PRIMARY KEY, text BLOB)")
connection.execute("CREATE TABLE total (n INTEGER)")
connection.execute("INSERT INTO total VALUES (0)")
connection.execute("COMMIT")
acknowledge(0)
for n in range(1, 251):
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO line VALUES (?, randomblob(?))", (n, 37 * n % 3000))
    connection.execute("UPDATE line SET text = randomblob(200) WHERE n = ?", (n // 2,))
    connection.execute("UPDATE total SET n = n + 1")
    connection.execute("COMMIT")
    acknowledge(n)
connection.close()
"""


def recorded(program: str, folder: Path, *arguments: str) -> Recording:
    """Record a program that is given the folder and further arguments."""
    folder.mkdir(exist_ok=True)
    text = BEGIN + textwrap.dedent(program)
    return record([sys.executable, "-c", text, str(folder.resolve()), *arguments], folder, cwd=ROOT)


# --------------------------------------------------------------------------------------------------- SQLite


@dataclass
class Judged:
    """What many cuts did to a database: how many it was damaged by, and acknowledged commits that it lost."""

    cuts: int = 0
    corrupt: int = 0
    gaps: int = 0
    lost_acked: int = 0
    max_lost: int = 0

    def look_at(self, cut: Cut) -> None:
        """Open the database as a program would after the cut. The first acknowledgement is of its tables."""
        self.cuts += 1
        try:
            numbers, total = read(cut.folder / "test.db")
        except sqlite3.DatabaseError as error:
            self.corrupt += not isinstance(error, NoTables)
            lost = len(cut.acked)
        else:
            self.gaps += numbers != list(range(1, len(numbers) + 1)) or total != [len(numbers)]
            lost = max(0, len(cut.acked) - 1 - len(numbers))
        self.lost_acked += lost
        self.max_lost = max(self.max_lost, lost)


class NoTables(sqlite3.DatabaseError):
    """The database is empty."""


def read(path: Path) -> tuple[list[int], list[int]]:
    """Return the numbers of the lines, and the total, by which half a transaction shows."""
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA synchronous=OFF")  # Nobody needs what closing would sync.
        (answer,) = connection.execute("PRAGMA integrity_check").fetchone()
        if answer != "ok":
            raise sqlite3.DatabaseError(answer)
        if not connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
            raise NoTables
        lines = connection.execute("SELECT n FROM line ORDER BY n").fetchall()
        totals = connection.execute("SELECT n FROM total").fetchall()
    finally:
        connection.close()
    return [n for (n,) in lines], [n for (n,) in totals]


def judged(recording: Recording, synchronous: str, seed: int, cuts: int = CUTS) -> Judged:
    judged = Judged()
    with seeded("powercut", seed) as chance:
        for cut in recording.cuts(cuts, chance):
            judged.look_at(cut)
            if synchronous == "FULL":
                assert (judged.corrupt, judged.gaps, judged.lost_acked) == (0, 0, 0), f"cut at {cut.at}"
    return judged


def test_full_loses_no_acknowledged_commit(tmp_path: Path) -> None:
    recording = recorded(COMMITS, tmp_path / "disk", "FULL")
    for seed in seeds_of("powercut"):
        found = judged(recording, "FULL", seed)
        figure("powercut", what="sqlite-alone", mode="FULL", seed=seed, **vars(found))


def test_normal_is_seen_to_lose_commits_and_nothing_else(tmp_path: Path) -> None:
    found = judged(recorded(COMMITS, tmp_path / "disk", "NORMAL"), "NORMAL", seed=1)
    figure("powercut", what="sqlite-alone", mode="NORMAL", **vars(found))
    assert found.lost_acked > 0
    assert (found.corrupt, found.gaps) == (0, 0)


def test_off_is_seen_to_lose_commits_and_to_damage_the_database(tmp_path: Path) -> None:
    found = judged(recorded(COMMITS, tmp_path / "disk", "OFF"), "OFF", seed=1, cuts=100)
    figure("powercut", what="sqlite-alone", mode="OFF", **vars(found))
    assert found.lost_acked > 0
    assert found.corrupt > 0


@pytest.mark.soak
def test_full_loses_no_acknowledged_commit_for_long(tmp_path: Path, soak_seconds: float) -> None:
    end = time.monotonic() + soak_seconds
    whole = Judged()
    while time.monotonic() < end:
        seed = seeds_of("powercut")[-1]
        found = judged(recorded(COMMITS, tmp_path / str(seed), "FULL"), "FULL", seed)
        whole.cuts += found.cuts
        shutil.rmtree(tmp_path / str(seed))
    figure("powercut", what="sqlite-alone", mode="FULL-soak", **vars(whole))


# ---------------------------------------------------------------------------------------------------- files


def outcomes(program: str, folder: Path, name: str, cuts: int = 300) -> Counter[tuple[int, bytes | None]]:
    """Return how often a file was what, by the number of acknowledgements before the cut."""
    found: Counter[tuple[int, bytes | None]] = Counter()
    for cut in recorded(program, folder).cuts(cuts, random.Random(1)):
        path = cut.folder / name
        found[len(cut.acked), path.read_bytes() if path.exists() else None] += 1
    return found


def test_file_is_surely_there_when_it_and_its_folder_were_synced(tmp_path: Path) -> None:
    program = """
        file = os.open(folder + "/file", os.O_WRONLY | os.O_CREAT)
        os.write(file, b"content")
        os.fsync(file)
        acknowledge("content")
        os.fsync(os.open(folder, os.O_RDONLY))
        acknowledge("name")
        os.write(acks, b"end\\n")
    """
    found = outcomes(program, tmp_path / "disk", "file")
    assert {what for acks, what in found if acks >= 2} == {b"content"}
    assert {what for acks, what in found if acks == 1} == {b"content", None}
    assert {what for acks, what in found if acks == 0} >= {b"content", b"", None}


def test_sync_counts_from_its_beginning_and_for_its_file_only(tmp_path: Path) -> None:
    program = """
        for name in ("one", "other"):
            open(folder + "/" + name, "w").close()
        os.fsync(os.open(folder, os.O_RDONLY))
        acknowledge("names")
        one, other = (os.open(folder + "/" + name, os.O_WRONLY) for name in ("one", "other"))
        os.write(one, b"one")
        os.write(other, b"other")
        os.fsync(other)
        acknowledge("other")
        os.write(acks, b"end\\n")
    """
    assert {what for acks, what in outcomes(program, tmp_path / "first", "one") if acks >= 2} == {
        b"one",
        b"",
        b"\0\0\0",
    }
    assert {what for acks, what in outcomes(program, tmp_path / "second", "other") if acks >= 2} == {b"other"}


def test_appended_sectors_may_be_torn_and_what_was_synced_stays(tmp_path: Path) -> None:
    program = """
        file = os.open(folder + "/file", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, b"a" * 512)
        os.fsync(file)
        os.fsync(os.open(folder, os.O_RDONLY))
        acknowledge("a")
        os.write(file, b"b" * 1024)
        acknowledge("b")
    """
    found = {what for acks, what in outcomes(program, tmp_path / "disk", "file") if acks >= 1}
    a, b, zeros = b"a" * 512, b"b" * 512, bytes(512)
    assert found == {a, a + b, a + b + b, a + zeros + b, a + b + zeros, a + zeros + zeros}


def contents(*entries: Entry) -> set[bytes]:
    """Return what a file may hold after these, from an empty one on."""
    whole = Recording({"file": (1, b"")}, [*entries, Entry("W", 9, 0, b"end\n", ACKS)])
    return {
        (cut.folder / "file").read_bytes()
        for cut in whole.cuts(600, random.Random(1))
        if cut.acked == ["end"]
    }


def test_what_is_written_during_a_sync_is_not_part_of_it() -> None:
    early, late = Entry("W", 1, 0, b"early", "file"), Entry("W", 1, 5, b"late", "file")
    begin, end = Entry("B", 1, 1, b"", "file"), Entry("E", 1, 1, b"", "file")
    assert contents(early, begin, late, end) == {b"early", b"earlylate", b"early\0\0\0\0"}
    assert contents(early, late, begin, end) == {b"earlylate"}
    assert contents(early, begin, late) >= {b"", b"early", b"earlylate"}


def test_tears_are_between_sectors_of_the_disk() -> None:
    written = Entry("W", 1, 500, b"a" * 12 + b"b" * 512 + b"c" * 12, "file")
    found = contents(written)
    assert {content[500:512] for content in found} == {b"", bytes(12), b"a" * 12}
    assert {content[512:1024] for content in found} == {b"", bytes(512), b"b" * 512}
    assert {content[1024:] for content in found} == {b"", bytes(12), b"c" * 12}


# I-12
def test_atomic_write_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    program = """
        from tenuto._base.files import write_atomic
        for n in range(1, 20):
            write_atomic(folder + "/file", [b"%d" % n * 2000], private=False, fsync=True)
            acknowledge(n)
    """
    for acks, what in outcomes(program, tmp_path / "disk", "file"):
        whole = {b"%d" % n * 2000 if n else None for n in (acks, acks + 1)}
        assert what in whole


def test_atomic_write_without_sync_is_seen_to_leave_parts(tmp_path: Path) -> None:
    program = """
        from tenuto._base.files import write_atomic
        for n in range(1, 20):
            write_atomic(folder + "/file", [b"%d" % n * 2000], private=False, fsync=False)
            acknowledge(n)
    """
    whole = {b"%d" % n * 2000 for n in range(1, 20)} | {None}
    assert {what for _, what in outcomes(program, tmp_path / "disk", "file")} - whole


def test_what_was_there_before_stays_and_a_removed_file_may_come_back(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "file").write_bytes(b"old")
    program = """
        acknowledge("nothing yet")
        os.unlink(folder + "/file")
        acknowledge("removed")
        os.fsync(os.open(folder, os.O_RDONLY))
        acknowledge("for ever")
        os.write(acks, b"end\\n")
    """
    found = outcomes(program, tmp_path / "disk", "file")
    assert {what for acks, what in found if acks <= 1} >= {b"old"}
    assert {what for acks, what in found if acks == 2} == {b"old", None}
    assert {what for acks, what in found if acks >= 3} == {None}


def test_program_that_fails_or_does_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="planned"):
        recorded("raise SystemExit('planned')", tmp_path / "disk")
    with pytest.raises(AssertionError, match="did nothing"):
        record([sys.executable, "-c", ""], tmp_path / "disk")
