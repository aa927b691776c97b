import os
from pathlib import Path

import pytest

from tenuto.journal.cache_index import CacheEntry
from tenuto.journal.cache_index import append as append_to_index
from tenuto.journal.event import Event, Kind
from tenuto.journal.home import Home
from tenuto.journal.recorder import Recorder
from tenuto.journal.retention import PruneReport, after_run, prune, prune_if_due
from tenuto.journal.settings import RecordSettings
from tests.unit.journal.runs import (
    DAY,
    NOW,
    dead_header,
    header,
    home,
    keep_some,
    record,
    run_id,
    state,
)

__all__ = ["home"]

MEGABYTE = 1_000_000


def holders(home: Home) -> set[str]:
    """Runs that still have kept results."""
    return {folder.name for folder in home.run_folders() if (folder / "kept").is_dir()}


def runs(home: Home) -> set[str]:
    return set(home.run_ids())


def test_results_of_the_newest_successful_run_and_of_failed_ones_stay(home: Home) -> None:
    failed = record(home, state("Failed"), made=NOW - 4 * DAY, kept=10)
    record(home, state("Success"), made=NOW - 3 * DAY, kept=10)
    newest = record(home, state("Success"), made=NOW - 2 * DAY, kept=10)
    crashed = record(home, state("Running"), made=NOW - DAY, kept=10)
    other = record(home, state("Success"), made=NOW - 5 * DAY, first=dead_header(flow="other"), kept=10)

    prune(home, RecordSettings(), NOW)

    assert holders(home) == {failed, newest, crashed, other}
    assert len(runs(home)) == 5


def test_until_success_keeps_nothing_of_what_a_success_has_overtaken(home: Home) -> None:
    record(home, state("Failed"), made=NOW - 3 * DAY, kept=10)
    record(home, state("Success"), made=NOW - 2 * DAY, kept=10)
    failed = record(home, state("Failed"), made=NOW - DAY, kept=10)

    prune(home, RecordSettings(keep_results="until_success"), NOW)

    assert holders(home) == {failed}


def test_results_go_after_their_days(home: Home) -> None:
    record(home, state("Failed"), made=NOW - 15 * DAY, kept=10)
    young = record(home, state("Failed"), made=NOW - 13 * DAY, kept=10)

    report = prune(home, RecordSettings(), NOW)

    assert holders(home) == {young}
    assert report.bytes_freed >= 10
    assert len(runs(home)) == 2


def test_the_oldest_results_go_when_all_are_too_large(home: Home) -> None:
    ids = [record(home, state("Failed"), made=NOW - day * DAY, kept=MEGABYTE) for day in (1, 2, 3, 4)]

    prune(home, RecordSettings(results_bytes_max=int(2.5 * MEGABYTE)), NOW)

    assert holders(home) == set(ids[:2])


def test_a_file_shared_by_two_runs_counts_once_and_for_the_newer(home: Home) -> None:
    old = record(home, state("Failed"), made=NOW - 2 * DAY, kept=MEGABYTE)
    new = record(home, state("Failed"), made=NOW - DAY, kept=1)
    [file] = (home.run_folder(old) / "kept").iterdir()
    os.link(file, home.run_folder(new) / "kept" / "linked.1")

    prune(home, RecordSettings(results_bytes_max=int(1.5 * MEGABYTE)), NOW)

    assert holders(home) == {old, new}


def test_live_runs_are_never_touched(home: Home) -> None:
    live = record(home, state("Running"), made=NOW - 100 * DAY, first=header(), kept=MEGABYTE)
    dead = record(home, state("Running"), made=NOW - 100 * DAY, number=1, kept=10)
    settings = RecordSettings(results_bytes_max=1, journals_bytes_max=1)

    report = prune(home, settings, NOW)

    assert holders(home) == {live}
    assert runs(home) == {live}
    assert report.runs_removed == [dead]


def test_a_run_that_starts_just_now_is_not_touched(home: Home) -> None:
    folder = home.run_folder(run_id(NOW))
    (folder / "kept").mkdir(parents=True)
    os.utime(folder, (NOW, NOW))

    prune(home, RecordSettings(journals_days=0.001, journals_bytes_max=1), NOW + 600)
    assert folder.is_dir()
    prune(home, RecordSettings(journals_days=0.001, journals_bytes_max=1), NOW + 2 * DAY)
    assert not folder.is_dir()


def test_an_unfinished_run_of_another_machine_goes_after_long_silence(home: Home) -> None:
    silent = record(home, state("Running"), made=NOW - 31 * DAY, first=header(host="other"), kept=10)
    recent = record(home, state("Running"), made=NOW - 29 * DAY, first=header(host="other"), kept=10)

    prune(home, RecordSettings(results_days=1), NOW)

    assert runs(home) == {recent}
    assert holders(home) == {recent}
    assert silent not in runs(home)


def test_runs_go_after_their_days_and_when_records_are_too_large(home: Home) -> None:
    note = "x" * MEGABYTE
    ids = [
        record(home, Event(kind=Kind.NOTE, message=note), state("Success"), made=NOW - day * DAY)
        for day in (1, 2, 3, 31)
    ]

    report = prune(home, RecordSettings(journals_bytes_max=int(2.5 * MEGABYTE)), NOW)

    assert runs(home) == set(ids[:2])
    assert report.runs_removed == ids[2:]
    assert not [name for name in os.listdir(home.runs) if name.startswith(".gone-")]


def test_a_limit_of_0_is_no_limit(home: Home) -> None:
    made = record(home, state("Failed"), made=NOW - 1000 * DAY, kept=MEGABYTE)
    settings = RecordSettings(results_days=0, results_bytes_max=0, journals_days=0, journals_bytes_max=0)

    assert prune(home, settings, NOW) == PruneReport()
    assert holders(home) == {made}


def test_an_unexpired_cached_result_outlives_its_run(home: Home) -> None:  # R-CACHE-2
    made = record(home, state("Success"), made=NOW - 20 * DAY)
    record(home, state("Success"), made=NOW - DAY, kept=10)
    ref = keep_some(home, made, 10, "cached-1")
    keep_some(home, made, 10, "plain-1")
    entry = CacheEntry(run=made, result=ref, expires=int((NOW + DAY) * 1e6))
    append_to_index(home.path, "key", entry, int(NOW * 1e6))
    kept = home.run_folder(made) / "kept"

    assert prune(home, RecordSettings(), NOW).kept_removed == [made]
    assert [path.name for path in kept.iterdir()] == [ref.location]
    assert prune(home, RecordSettings(), NOW).kept_removed == []
    prune(home, RecordSettings(), NOW + 15 * DAY)
    assert not kept.exists()


def test_a_run_with_an_unexpired_cached_result_stays(home: Home) -> None:
    made = record(home, state("Success"), made=NOW - 40 * DAY)
    ref = keep_some(home, made, 10)
    entry = CacheEntry(run=made, result=ref, expires=int((NOW + DAY) * 1e6))
    append_to_index(home.path, "key", entry, int(NOW * 1e6))

    prune(home, RecordSettings(), NOW)
    assert (home.run_folder(made) / "kept" / ref.location).is_file()
    prune(home, RecordSettings(), NOW + 2 * DAY)
    assert runs(home) == set()


def test_a_dry_run_changes_nothing_and_tells_the_same(home: Home) -> None:
    record(home, state("Failed"), made=NOW - 20 * DAY, kept=10)
    record(home, state("Failed"), made=NOW - 40 * DAY)

    told = prune(home, RecordSettings(), NOW, dry_run=True)

    assert len(runs(home)) == 2
    assert len(holders(home)) == 1
    assert prune(home, RecordSettings(), NOW) == told
    assert told.kept_removed
    assert told.runs_removed


def test_what_a_killed_prune_has_left_is_removed(home: Home) -> None:
    home.runs.mkdir(parents=True)
    (home.runs / ".gone-x" / "kept").mkdir(parents=True)

    prune(home, RecordSettings(), NOW)

    assert not (home.runs / ".gone-x").exists()


# At a run's start and end


def test_without_anything_new_a_start_looks_at_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    record(home, state("Failed"), made=NOW - 20 * DAY)
    prune_if_due(home, RecordSettings(), NOW)
    os.utime(home.runs / ".pruned-runs", (NOW, NOW))
    looked: list[object] = []
    monkeypatch.setattr(os, "scandir", looked.append)
    monkeypatch.setattr(os, "listdir", looked.append)

    prune_if_due(home, RecordSettings(), NOW + 60)

    assert looked == []


def test_a_start_looks_at_results_when_some_were_kept_since(home: Home) -> None:
    home.runs.mkdir(parents=True)
    prune_if_due(home, RecordSettings(), NOW)
    for marker in (".pruned-runs", ".pruned-kept"):
        os.utime(home.runs / marker, (NOW, NOW))
    record(home, state("Success"), made=NOW - 2, kept=10)
    newest = record(home, state("Success"), made=NOW - 1, kept=10)
    os.utime(home.runs / ".kept", (NOW + 30, NOW + 30))

    report = prune_if_due(home, RecordSettings(), NOW + 60)

    assert holders(home) == {newest}
    assert len(report.kept_removed) == 1


def test_a_start_looks_at_all_runs_once_an_hour(home: Home) -> None:
    record(home, state("Failed"), made=NOW - 40 * DAY)
    home.runs.mkdir(parents=True, exist_ok=True)
    (home.runs / ".pruned-runs").touch()
    os.utime(home.runs / ".pruned-runs", (NOW, NOW))

    assert prune_if_due(home, RecordSettings(), NOW + 3599).runs_removed == []
    assert len(prune_if_due(home, RecordSettings(), NOW + 3601).runs_removed) == 1


def test_a_start_makes_at_most_one_stat_for_each_run(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        record(home, state("Success"), made=NOW - number)
    asked: list[str] = []
    real = os.stat

    def stat(path: object, **options: object) -> object:
        asked.append(str(path))
        return real(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", stat)
    prune_if_due(home, RecordSettings(), NOW)

    of_runs = [path for path in asked if path.endswith(("1.journal", "/kept"))]
    assert len(of_runs) <= 50


def test_a_home_that_cannot_be_pruned_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert prune_if_due(Home(tmp_path / "file"), RecordSettings(), NOW) == PruneReport()


def test_a_successful_run_drops_its_own_results_with_until_success(home: Home) -> None:
    failed = record(home, state("Failed"), kept=10)
    successful = record(home, state("Success"), number=1, kept=10)
    settings = RecordSettings(keep_results="until_success")

    after_run(home, settings, home.run_folder(failed), succeeded=False)
    after_run(home, settings, home.run_folder(successful), succeeded=True)

    assert holders(home) == {failed}


def test_runs_in_a_row_keep_the_results_of_the_last_one(tenuto_home: Path) -> None:
    ids = [run_id(NOW + number) for number in range(4)]
    for number, found in enumerate(ids):
        recorder = Recorder.start(tenuto_home, flow_run_id=found, name="n", flow="f")
        recorder.keeper.keep("a-1", -1, (number,))
        recorder.run_state("Success")
        recorder.close()

    # The newest success when the fourth began was the third.
    assert holders(Home(tenuto_home)) == set(ids[2:])
