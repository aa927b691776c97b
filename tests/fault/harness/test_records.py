"""Figures, seeds, histories and samples say what happened, also when several processes write."""

import json
import multiprocessing
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fault.harness.figures import NothingFailed, figure, read_figures
from tests.fault.harness.history import History, read_history
from tests.fault.harness.sampler import Sampler, slope
from tests.fault.harness.seeds import kept_seeds, seeded, seeds_of

# ---------------------------------------------------------------------------------------------- figures


def test_figure_is_one_line_and_one_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "build" / "figures.json"
    figure("kill9", path=path, store="sqlite", kills=3, lost=0, p99_recover_ms=12.345678)
    assert capsys.readouterr().out == "FIG kill9 store=sqlite kills=3 lost=0 p99_recover_ms=12.35\n"
    (entry,) = read_figures(path)
    assert entry["name"] == "kill9"
    assert entry["values"] == {"store": "sqlite", "kills": 3, "lost": 0, "p99_recover_ms": 12.345678}
    assert entry["cores"] >= 1
    assert entry["fsync_p50_ms"] >= 0


def test_newer_figure_replaces_that_of_the_same_texts(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    for store, lost in [("sqlite", 1), ("postgresql", 2), ("sqlite", 3)]:
        figure("kill9", path=path, store=store, lost=lost)
    assert [entry["values"] for entry in read_figures(path)] == [
        {"store": "postgresql", "lost": 2},
        {"store": "sqlite", "lost": 3},
    ]


@pytest.mark.parametrize("count", ["faults", "kills", "cuts"])
def test_figure_of_a_fault_that_never_happened_is_refused(count: str, tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    with pytest.raises(NothingFailed, match=f"{count}=0"):
        figure("kill9", path=path, lost=0, **{count: 0})
    assert not read_figures(path)


def write_figures(path: Path, first: int) -> None:
    for number in range(first, first + 5):
        figure(f"test{number:02}", path=path, faults=1)


def test_figures_of_processes_at_once_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=write_figures, args=(path, first)) for first in (0, 5)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert [entry["name"] for entry in read_figures(path)] == [f"test{number:02}" for number in range(10)]


# ------------------------------------------------------------------------------------------------ seeds


def test_seeds_that_failed_run_for_ever_before_new_ones(tmp_path: Path) -> None:
    (tmp_path / "storm.txt").write_text("12  # lost an event\n\n# a remark\n7\n")
    assert kept_seeds("storm", tmp_path) == [12, 7]
    assert kept_seeds("other", tmp_path) == []
    first, second = seeds_of("storm", 2, tmp_path), seeds_of("storm", 2, tmp_path)
    assert first[:2] == second[:2] == [12, 7]
    assert len({*first[2:], *second[2:]}) == 4


def test_failure_says_its_seed_and_how_to_keep_it() -> None:
    with pytest.raises(AssertionError) as failure, seeded("storm", 12) as chance:
        assert chance.random() == random.Random(12).random()
        raise AssertionError("lost")
    assert "echo '12 " in failure.value.__notes__[0]
    assert "seeds/storm.txt" in failure.value.__notes__[0]


# ---------------------------------------------------------------------------------------------- history


def test_history_tells_what_was_done_what_not_and_what_nobody_knows(tmp_path: Path) -> None:
    history = History(tmp_path / "history")
    with history.operation("ingest", run="a") as operation:
        operation.ok(acked=3)
    with history.operation("ingest", run="b") as operation:
        operation.fail(code=409)
    with history.operation("ingest", run="c"):
        pass
    with pytest.raises(TimeoutError), history.operation("ingest", run="d"):
        raise TimeoutError("no answer")
    history.close()
    operations = read_history(tmp_path / "history")
    assert [(each.values["run"], each.outcome) for each in operations] == [
        ("a", "ok"),
        ("b", "fail"),
        ("c", "unknown"),
        ("d", "unknown"),
    ]
    assert operations[0].answer == {"acked": 3}
    assert operations[3].answer == {"error": "TimeoutError: no answer"}
    assert all(each.ended is not None and each.ended >= each.invoked for each in operations)


KILLED_CLIENT = """
import os, pathlib, sys
from tests.fault.harness.history import History
history = History(pathlib.Path(sys.argv[1]))
for number in range(200):
    with history.operation("claim", number=number, text="x" * 2000) as operation:
        operation.ok()
with history.operation("claim", number=200):
    os.kill(os.getpid(), 9)
"""


def test_histories_of_killed_processes_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "history"
    command = [sys.executable, "-c", KILLED_CLIENT, str(path)]
    clients = [subprocess.Popen(command, cwd=Path(__file__).resolve().parents[3]) for _ in range(2)]
    assert [client.wait() for client in clients] == [-9, -9]
    outcomes = [operation.outcome for operation in read_history(path)]
    assert (outcomes.count("ok"), outcomes.count(None)) == (400, 2)
    assert all(json.loads(line) for line in path.read_text().splitlines())


# ---------------------------------------------------------------------------------------------- sampler


def test_slope_is_that_of_the_line_through_the_values() -> None:
    assert slope([0, 1, 2, 3], [5, 7, 9, 11]) == pytest.approx(2)
    assert slope([10, 20, 30], [3, 3, 3]) == 0
    assert slope([0, 1, 2], [0, 3, 0]) == 0
    assert slope([5], [1]) == 0


GROWS = """
import os, sys
kept = []
for line in sys.stdin:
    kept.append((bytearray(os.urandom(1) * (8 << 20)), os.open(os.devnull, os.O_RDONLY)))
    print(flush=True)
"""


def test_growing_process_is_seen_and_a_dead_one_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", GROWS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with Sampler(process.pid, every=1000) as sampler:
        for _ in range(4):
            process.stdin.write("\n")
            process.stdin.flush()
            process.stdout.readline()
            sampler.look()
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not sampler.look()
    process.communicate()
    values = sampler.values()
    assert values["samples"] == 5
    assert sampler.rss_mb[-1] - sampler.rss_mb[0] > 24
    assert sampler.descriptors[-1] - sampler.descriptors[0] == 4
    assert values["fds_slope"] > 0
    assert values["rss_slope_mb_h"] > 0
