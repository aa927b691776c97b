from datetime import UTC, datetime, timedelta

import pytest

from tenuto.journal.event import Event, Kind
from tenuto.journal.home import Home
from tenuto.journal.logs import LogLine
from tenuto.journal.process import host_name
from tenuto.journal.runs import list_runs, read_run, run_logs
from tests.unit.journal.runs import DAY, NOW, dead_header, header, home, record, run_id, state, task

__all__ = ["home"]


def test_a_finished_run_is_its_first_and_last_event(home: Home) -> None:
    made = record(home, state("Running"), task("Success"), state("Success", "All reference tasks succeeded."))

    [run] = list_runs(home)

    assert (run.run_id, run.name, run.state) == (made, "amber-otter", "Success")
    assert run.message == "All reference tasks succeeded."
    assert run.duration_seconds == 3.0
    assert not run.alive
    assert run.is_successful


def test_a_run_whose_process_is_gone_has_crashed(home: Home) -> None:  # kill -9
    made = record(home, state("Running"), task("Running"))
    before = (home.run_folder(made) / "1.journal").read_bytes()

    [run] = list_runs(home)

    assert (run.state, run.cause) == ("Failed", "crashed")
    assert f"on {host_name()}) is gone" in run.message
    assert run.duration_seconds == 2.0
    assert (home.run_folder(made) / "1.journal").read_bytes() == before


def test_a_run_whose_process_is_there_is_running(home: Home) -> None:
    record(home, state("Running"), task("Success"), first=header())

    [run] = list_runs(home)

    assert (run.state, run.alive, run.ended, run.duration_seconds) == ("Running", True, None, None)


def test_a_run_that_waits_for_somebody_has_not_crashed(home: Home) -> None:
    made = record(home, state("Running"), state("Paused", "approve"))

    [run] = list_runs(home)

    assert (run.state, run.cause, run.ended) == ("Paused", "", None)
    view = read_run(home, made)
    assert view is not None
    assert view.state == "Paused"


def test_a_record_that_ends_early_says_that_the_end_is_not_known(home: Home) -> None:
    mark = Event(kind=Kind.INCOMPLETE, data={"reason": "No space left on device"})
    made = record(home, state("Running"), mark)

    [run] = list_runs(home)

    assert (run.state, run.cause) == ("Failed", "storage")
    assert "No space left on device" in run.message
    view = read_run(home, made)
    assert view is not None
    assert (view.state, view.cause, view.message) == (run.state, run.cause, run.message)


def test_a_record_that_ends_early_with_a_state_keeps_it(home: Home) -> None:
    record(home, Event(kind=Kind.INCOMPLETE, state="Success", data={"reason": "full"}))

    assert list_runs(home)[0].state == "Success"


def test_runs_are_filtered(home: Home) -> None:
    record(home, state("Success"), made=NOW - 3 * DAY, first=dead_header(flow="other"))
    record(home, state("TimedOut"), made=NOW - 2 * DAY)
    record(home, state("Running"), made=NOW - DAY)
    record(home, state("Success"), made=NOW)

    def states(**options: object) -> list[str]:
        return [run.state for run in list_runs(home, **options)]  # type: ignore[arg-type]

    assert states() == ["Success", "Failed", "TimedOut", "Success"]
    assert states(flow="sums") == ["Success", "Failed", "TimedOut"]
    assert states(state="Success") == ["Success", "Success"]
    assert states(state="failed") == ["Failed", "TimedOut"]
    assert states(state="crashed") == ["Failed"]
    assert states(limit=2) == ["Success", "Failed"]
    assert states(limit=0) == []
    moment = datetime.fromtimestamp(NOW, UTC)
    assert states(since=moment - timedelta(days=1.5)) == ["Success", "Failed"]
    assert states(since=moment.replace(tzinfo=None)) == ["Success"]
    assert states(since=moment + timedelta(days=9)) == []


def test_what_cannot_be_read_is_left_out(home: Home) -> None:
    record(home, state("Success"), made=NOW - DAY)
    home.run_folder(run_id(NOW)).mkdir()
    broken = home.run_folder(run_id(NOW + 1))
    broken.mkdir()
    (broken / "1.journal").write_bytes(b"")

    assert len(list_runs(home)) == 1


def test_a_run_as_rest_has_the_keys_of_the_interface(home: Home) -> None:
    made = record(
        home,
        state("Failed", "m", "storage"),
        first=dead_header(parameters={"n": 1}, labels=["l"], project="p"),
    )

    [run] = list_runs(home)

    assert run.as_rest() == {
        "id": made,
        "name": "amber-otter",
        "flow_id": None,
        "flow_group_id": None,
        "flow_name": "sums",
        "flow_version": None,
        "project_name": "p",
        "state": {
            "type": "Failed",
            "message": "m",
            "cause": "storage",
            "timestamp": "2027-01-15T08:00:01Z",
            "start_time": None,
        },
        "parameters": {"n": 1},
        "labels": ["l"],
        "context": {},
        "scheduled_start_time": None,
        "start_time": "2027-01-15T08:00:00Z",
        "end_time": "2027-01-15T08:00:01Z",
        "duration_seconds": 1.0,
        "attempt": 1,
        "version": None,
        "resumed_from": None,
    }


def test_a_run_is_read_with_its_tasks(home: Home) -> None:
    made = record(home, state("Running"), task("Running"), task("Running", "b-1"), task("Success"))

    view = read_run(home, made)

    assert view is not None
    assert (view.state, view.cause) == ("Failed", "crashed")
    assert view.ended == view.updated
    assert view.tasks["a-1", -1].state == "Success"
    lost = view.tasks["b-1", -1]
    assert (lost.state, lost.cause) == ("Failed", "crashed")
    assert "process was gone" in lost.message


def test_a_run_that_goes_on_is_read_as_it_is(home: Home) -> None:
    made = record(home, state("Running"), task("Running"), first=header())

    view = read_run(home, made)

    assert view is not None
    assert view.tasks["a-1", -1].state == "Running"


@pytest.mark.parametrize("content", [None, b"", b"rubbish\n"])
def test_a_run_that_cannot_be_read_is_none(home: Home, content: bytes | None) -> None:
    folder = home.run_folder(run_id(NOW))
    folder.mkdir(parents=True)
    if content is not None:
        (folder / "1.journal").write_bytes(content)

    assert read_run(home, run_id(NOW)) is None
    assert list(run_logs(home, run_id(NOW))) == []


def test_logs_of_a_run_lie_beside_its_journal(home: Home) -> None:
    made = record(home)
    path = home.run_folder(made) / "1.logs.jsonl"
    path.write_text('{"lseq":1,"message":"m"}\n{"lseq":2,"mess')

    assert list(run_logs(home, made)) == [LogLine(1, message="m")]
