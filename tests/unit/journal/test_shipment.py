import multiprocessing
import os
from pathlib import Path

import pytest

from tenuto.journal.event import Event, Kind
from tenuto.journal.home import Home
from tenuto.journal.reader import read_events
from tenuto.journal.retention import prune
from tenuto.journal.runs import read_run, summarize
from tenuto.journal.settings import RecordSettings
from tenuto.journal.shipment import (
    JournalLock,
    close_if_gone,
    journal_path,
    mark_shipped,
    refused_runs,
    unshipped_runs,
    write_acked,
)
from tests.unit.journal.runs import DAY, NOW, dead_header, header, home, record, state, task

__all__ = ["home"]


def journal_of(home: Home, *events: Event, number: int = 0, **fields: object) -> Path:
    return journal_path(home.run_folder(record(home, *events, number=number, **fields)))  # type: ignore[arg-type]


def test_unshipped_runs_are_those_without_a_mark_newest_first(home: Home) -> None:
    assert unshipped_runs(home) == []
    runs = [record(home, made=NOW + number) for number in range(4)]
    mark_shipped(home, runs[1])
    mark_shipped(home, runs[2], "The server will not have it.")
    assert unshipped_runs(home) == [runs[3], runs[0]]
    assert refused_runs(home) == [runs[2]]


def test_mark_goes_with_its_run(home: Home) -> None:
    run = record(home, state("Success"), made=NOW)
    mark_shipped(home, run)
    prune(home, RecordSettings(journals_days=1), NOW + 2 * DAY)
    assert list(home.runs.glob(".shipped/*")) == []


def test_acknowledged_number_stands_beside_the_journal(home: Home) -> None:
    path = journal_of(home)
    write_acked(path, 17)
    assert (path.parent / "1.acked").read_text() == "17"


def test_lock_has_one_holder_who_hinders_nobody_from_reading(home: Home) -> None:
    path = journal_of(home)
    first, second = JournalLock(path), JournalLock(path)
    assert first.take()
    assert first.take()
    assert not second.take()
    assert list(read_events(path))
    first.release()
    assert second.take()
    second.release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_child_of_the_holder_does_not_go_on_holding(home: Home) -> None:
    path = journal_of(home)
    held, other = JournalLock(path), JournalLock(path)
    assert held.take()
    context = multiprocessing.get_context("fork")
    begun, go = context.Event(), context.Event()

    def live_on() -> None:
        begun.set()
        go.wait()

    child = context.Process(target=live_on)
    child.start()
    try:
        begun.wait()
        assert not other.take()
        held.forget()  # As when the holder is killed.
        assert other.take()
    finally:
        other.release()
        go.set()
        child.join()


def test_journal_that_is_gone_cannot_be_locked(home: Home) -> None:
    assert not JournalLock(home.runs / "x" / "1.journal").take()


def test_killed_run_is_closed_once_as_it_was_shown_before(home: Home) -> None:
    events = [
        state("Running"),
        task("Running"),
        task("Success"),
        task("Running", "b-1"),
        task("Looped", "c-1"),
    ]
    path = journal_of(home, *events, task("Retrying", "d-1"))
    run_id = path.parent.name
    before, view_before = summarize(path.parent), read_run(home, run_id)

    assert close_if_gone(path)
    data = path.read_bytes()
    assert not close_if_gone(path)

    assert path.read_bytes() == data
    after, view = summarize(path.parent), read_run(home, run_id)
    assert after == before
    assert view is not None
    assert view_before is not None
    assert (view.state, view.cause, view.message, view.ended) == (
        view_before.state,
        view_before.cause,
        view_before.message,
        view_before.ended,
    )
    assert {slug: each.state for (slug, _), each in view.tasks.items()} == {
        "a-1": "Success",
        "b-1": "Failed",
        "c-1": "Failed",
        "d-1": "Retrying",
    }


def test_run_without_a_beginning_of_its_tasks_is_closed_too(home: Home) -> None:
    path = journal_of(home)
    assert close_if_gone(path)
    assert [event.state for event in read_events(path)] == ["", "Failed"]


@pytest.mark.parametrize("end", ["Success", "Failed", "Cancelled", "Paused", "Scheduled"])
def test_run_that_has_ended_or_waits_is_left_as_it_is(home: Home, end: str) -> None:
    path = journal_of(home, state("Running"), state(end))
    data = path.read_bytes()
    assert not close_if_gone(path)
    assert path.read_bytes() == data


def test_run_whose_process_lives_or_cannot_be_looked_for_is_left_as_it_is(home: Home) -> None:
    alive = journal_of(home, state("Running"), first=header())
    elsewhere = journal_of(home, state("Running"), number=1, first=dead_header(host="elsewhere"))
    assert not close_if_gone(alive)
    assert not close_if_gone(elsewhere)


def test_record_that_the_disk_ended_stays_one_that_cannot_be_continued(home: Home) -> None:
    path = journal_of(home, state("Running"), Event(kind=Kind.INCOMPLETE, data={"reason": "no space"}))
    assert close_if_gone(path)
    summary = summarize(path.parent)
    assert summary is not None
    assert (summary.state, summary.cause, summary.incomplete) == ("Failed", "storage", True)


def test_half_a_line_is_put_aside_before_the_end_is_written(home: Home) -> None:
    path, half = journal_of(home, state("Running")), b'deadbeef {"kind":"note"' + b" " * 5000
    with open(path, "ab") as file:
        file.write(half)
    assert close_if_gone(path)
    assert [event.state for event in read_events(path)] == ["", "Running", "Failed"]
    aside = path.with_suffix(".damaged")
    assert aside.read_bytes() == half
    assert path.read_bytes().endswith(b"}\n")
    assert aside.stat().st_mode & 0o777 == 0o600
