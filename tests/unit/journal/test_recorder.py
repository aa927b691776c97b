import errno
import hashlib
import logging
import os
import shutil
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tenuto._base.ids import new_flow_run_id, task_run_id
from tenuto._base.logging import get_logger
from tenuto._base.masking import register_secret
from tenuto.configuration import config
from tenuto.journal import writer as writer_module
from tenuto.journal.event import Event, Kind, ResultRef
from tenuto.journal.fold import RunView, fold
from tenuto.journal.process import this_process
from tenuto.journal.reader import read_events
from tenuto.journal.recorder import Recorder
from tenuto.journal.settings import RecordSettings
from tenuto.journal.values import NotKept, load


@pytest.fixture
def warnings() -> Iterator[list[logging.LogRecord]]:
    """What is logged as a warning or worse."""
    records: list[logging.LogRecord] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    collector = Collector(logging.WARNING)
    get_logger().addHandler(collector)
    yield records
    get_logger().removeHandler(collector)


def start(home: Path, **fields: Any) -> Recorder:
    defaults: dict[str, Any] = {"flow_run_id": new_flow_run_id(), "name": "amber-otter", "flow": "sums"}
    return Recorder.start(home, **(defaults | fields))


def task_state(slug: str, index: int, state: str, **fields: Any) -> Event:
    return Event(kind=Kind.TASK_STATE, slug=slug, index=index, state=state, **fields)


def events(recorder: Recorder) -> list[Event]:
    assert recorder.folder is not None
    return list(read_events(recorder.folder / f"{recorder.epoch}.journal"))


def view(recorder: Recorder) -> RunView:
    return fold(events(recorder))


def failing_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writer_module, "_write", full)


def test_the_first_event_tells_all_that_is_known_at_the_start(tenuto_home: Path, tmp_path: Path) -> None:
    source = tmp_path / "flow.py"
    source.write_text("flow = 1")

    recorder = start(
        tenuto_home,
        source_path=str(source),
        graph=b'{"tasks":[]}',
        parameters={"n": 4},
        context={"a": [1]},
        labels=["gpu"],
        resumed_from="r",
        parent="p",
        project="iris",
        scheduled_start_time=5,
        executor="LocalExecutor",
    )
    recorder.close()

    [first] = events(recorder)
    header = first.header
    assert first.kind is Kind.RUN_STARTED
    assert header is not None
    me = this_process()
    assert (header.v, header.flow_run_id, header.name, header.flow) == (
        1,
        recorder.flow_run_id,
        "amber-otter",
        "sums",
    )
    assert (header.pid, header.host, header.boot_id, header.start_ticks) == (
        os.getpid(),
        me.host,
        me.boot_id,
        me.start_ticks,
    )
    assert header.python == ".".join(map(str, sys.version_info[:3]))
    assert header.tenuto
    assert len(header.distributions_sha256) == 64
    assert header.source_sha256 == hashlib.sha256(b"flow = 1").hexdigest()
    assert recorder.home.objects_get(header.graph_sha256) == b'{"tasks":[]}'
    assert (header.parameters, header.context, header.labels) == ({"n": 4}, {"a": [1]}, ["gpu"])
    assert (header.resumed_from, header.parent, header.project) == ("r", "p", "iris")
    assert (header.scheduled_start_time, header.executor) == (5, "LocalExecutor")


def test_a_run_folds_to_what_was_told(tenuto_home: Path) -> None:
    recorder = start(tenuto_home)
    recorder.run_state("Running")
    recorder.task_state(task_state("add-1", -1, "Running", inputs={"x": "ab"}, code="c"))
    ref = recorder.keeper.keep("add-1", -1, [1, 2])
    recorder.task_state(task_state("add-1", -1, "Success", message="m", seconds=0.5, result=ref))
    recorder.run_state("Success", "All reference tasks succeeded.")
    recorder.close()

    found = view(recorder)
    assert (found.state, found.message) == ("Success", "All reference tasks succeeded.")
    task = found.tasks["add-1", -1]
    assert (task.state, task.message, task.inputs, task.code, task.seconds) == (
        "Success",
        "m",
        {"x": "ab"},
        "c",
        0.5,
    )
    assert task.result is not None
    assert recorder.folder is not None
    assert load(task.result, recorder.folder) == [1, 2]


def test_a_plain_task_run_is_two_events(tenuto_home: Path) -> None:
    recorder = start(tenuto_home)

    recorder.task_state(task_state("add-1", -1, "Running", code="c"))
    recorder.task_state(task_state("add-1", -1, "Success"))
    recorder.close()

    assert [event.state for event in events(recorder)] == ["", "Running", "Success"]


def test_names_notes_and_artifacts_are_recorded(tenuto_home: Path) -> None:
    recorder = start(tenuto_home)

    recorder.run_name("new")
    recorder.task_name("add-1", 2, "second")
    recorder.note("again", "add-1", why="code")
    recorder.artifact("add-1", 2, "link", "k", {"url": "u"})
    recorder.close()

    found = view(recorder)
    assert found.name == "new"
    assert found.tasks["add-1", 2].name == "second"
    assert found.notes == ["again"]
    assert found.artifacts == [
        {"slug": "add-1", "index": 2, "kind": "link", "key": "k", "body": {"url": "u"}}
    ]


def test_everything_is_private(tenuto_home: Path) -> None:
    recorder = start(tenuto_home, graph=b"{}")
    recorder.keeper.keep("add-1", -1, (1, 2))
    recorder.log_handler(logging.INFO)
    recorder.close()

    for path in [tenuto_home, *tenuto_home.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_secrets_are_masked_in_all_that_is_recorded(tenuto_home: Path) -> None:  # I-21, S-18
    register_secret("hunter2-hunter2")
    recorder = start(
        tenuto_home,
        parameters={
            "url": "x hunter2-hunter2",
            "password": "other-word",
            "n": 1,
            "d": {"a": "hunter2-hunter2"},
        },
        context={"token": "other-word"},
    )
    recorder.run_name("hunter2-hunter2")
    recorder.note("hunter2-hunter2", x="hunter2-hunter2")
    recorder.artifact("s", -1, "k", "hunter2-hunter2", ["hunter2-hunter2"])
    ref = recorder.keeper.keep("s", -1, "hunter2-hunter2")
    recorder.task_state(task_state("s", -1, "Failed", message="hunter2-hunter2", result=ref))
    recorder.run_state("Failed", "hunter2-hunter2")
    recorder.close()

    assert recorder.folder is not None
    text = (recorder.folder / "1.journal").read_text()
    assert "hunter2" not in text
    assert "other-word" not in text
    header = view(recorder).header
    assert header.parameters["n"] == 1


def test_a_final_state_is_forced_to_the_disk(
    tenuto_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # I-2
    synced: list[int] = []
    recorder = start(tenuto_home)
    monkeypatch.setattr(os, "fsync", synced.append)

    recorder.run_state("Running")
    assert synced == []
    recorder.run_state("Success")
    assert len(synced) == 3  # The journal, and the folders that name it.
    recorder.close()


def test_two_runs_at_once_do_not_touch_each_other(tenuto_home: Path) -> None:
    one, other = start(tenuto_home), start(tenuto_home)
    for number in range(50):
        for recorder in (one, other):
            ref = recorder.keeper.keep("add-1", number, (number, recorder.flow_run_id))
            recorder.task_state(task_state("add-1", number, "Success", result=ref))
    one.close()
    other.close()

    for recorder in (one, other):
        assert recorder.folder is not None
        for (_, number), task in view(recorder).tasks.items():
            assert task.result is not None
            assert load(task.result, recorder.folder) == (number, recorder.flow_run_id)


# The disk


def test_a_home_that_cannot_be_written_costs_one_warning(  # I-19
    tmp_path: Path, warnings: list[logging.LogRecord]
) -> None:
    (tmp_path / "file").write_text("")

    recorder = start(tmp_path / "file" / "home", graph=b"{}")
    recorder.run_state("Running")
    recorder.task_state(task_state("s", -1, "Running", code=""))
    assert recorder.keeper.keep("s", -1, (1,)) is None
    assert len(recorder.put_object(b"x")) == 64
    assert recorder.log_handler(logging.INFO) is None
    recorder.task_state(task_state("s", -1, "Success"))
    recorder.note("n")
    recorder.run_state("Success")
    recorder.close()

    assert not recorder.recording
    assert not recorder.resumable
    [record] = warnings
    assert record.levelname == "WARNING"
    assert "not recorded and cannot be resumed" in record.getMessage()
    assert str(tmp_path / "file" / "home") in record.getMessage()


def test_a_run_that_is_recorded_already_is_not_overwritten(
    tenuto_home: Path, warnings: list[logging.LogRecord]
) -> None:
    first = start(tenuto_home)
    first.run_state("Running")

    second = start(tenuto_home, flow_run_id=first.flow_run_id)
    second.run_state("Failed")
    second.close()
    first.close()

    assert not second.recording
    assert view(first).state == "Running"


def test_a_disk_that_is_full_later_ends_the_record_with_one_warning(
    tenuto_home: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[logging.LogRecord]
) -> None:  # I-17
    recorder = start(tenuto_home)
    recorder.run_state("Running")
    with monkeypatch.context() as patch:
        failing_writes(patch)
        recorder.task_state(task_state("s", -1, "Running", code=""))
        recorder.task_state(task_state("s", -1, "Success"))

    assert not recorder.recording
    assert not recorder.resumable
    assert recorder.keeper.keep("s", -1, 1) is None
    recorder.run_state("Success")  # There is room again: how the run ended can be told.
    recorder.close()

    [record] = warnings
    assert "cannot be resumed" in record.getMessage()
    found = view(recorder)
    assert events(recorder)[-1].kind is Kind.INCOMPLETE
    assert found.incomplete == os.strerror(errno.ENOSPC)
    assert found.state == "Success"
    assert not found.tasks


def test_a_source_that_cannot_be_stored_ends_the_record(
    tenuto_home: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[logging.LogRecord]
) -> None:
    recorder = start(tenuto_home)
    (tenuto_home / "objects").write_text("no folder")

    assert len(recorder.put_object(b"source")) == 64
    recorder.close()

    assert len(warnings) == 1
    assert view(recorder).incomplete


@pytest.mark.parametrize("allowed", [3_000, 3_300, 5_000, 9_000])
def test_user_code_runs_on_when_the_file_may_not_grow(tenuto_home: Path, allowed: int) -> None:
    program = f"""
        import resource, sys
        from tenuto.journal.recorder import Recorder
        from tests.unit.journal.test_recorder import task_state
        recorder = Recorder.start({str(tenuto_home)!r}, flow_run_id="0196b3a0-0000-7000-8000-000000000000",
                                  name="n", flow="f")
        resource.setrlimit(resource.RLIMIT_FSIZE, ({allowed}, resource.RLIM_INFINITY))
        for number in range(100):
            recorder.task_state(task_state("s", number, "Running", inputs={{"x": "0" * 64}}, code="1" * 64))
            ref = recorder.keeper.keep("s", number, (number, "x" * number * 50))
            recorder.task_state(task_state("s", number, "Success", result=ref))
        recorder.run_state("Success")
        recorder.close()
        print("the end")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "the end"
    [path] = tenuto_home.glob("runs/*/1.journal")
    assert path.stat().st_size <= allowed
    found = fold(read_events(path))
    assert found.header.flow == "f"
    kept = [task.result for task in found.tasks.values() if task.result is not None]
    assert all(load(ref, path.parent) for ref in kept)


def test_kill_9_leaves_every_event_that_was_recorded(tenuto_home: Path) -> None:  # I-2
    program = f"""
        import os, signal
        from tenuto.journal.recorder import Recorder
        from tests.unit.journal.test_recorder import task_state
        recorder = Recorder.start({str(tenuto_home)!r}, flow_run_id="0196b3a0-0000-7000-8000-000000000000",
                                  name="n", flow="f")
        for number in range(100):
            ref = recorder.keeper.keep("s", number, (number,))
            recorder.task_state(task_state("s", number, "Success", result=ref))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)

    assert done.returncode == -9
    [path] = tenuto_home.glob("runs/*/1.journal")
    tasks = fold(read_events(path)).tasks
    assert len(tasks) == 100
    refs = [task.result for task in tasks.values()]
    assert [load(ref, path.parent) for ref in refs if ref is not None] == [(n,) for n in range(100)]


# Kept results


def test_what_is_not_kept_is_told_in_one_line(tenuto_home: Path, warnings: list[logging.LogRecord]) -> None:
    recorder = start(tenuto_home)

    outcome = recorder.keeper.keep("load-1", 3, (number for number in range(3)))
    assert isinstance(outcome, NotKept)
    recorder.keeper.tell_not_kept("load[3]", outcome)
    recorder.close()

    [record] = warnings
    assert "'load[3]'" in record.getMessage()
    assert "cannot be pickled" in record.getMessage()
    assert recorder.recording is False
    assert view(recorder).incomplete == ""


def test_a_kept_file_is_named_after_task_run_and_epoch(tenuto_home: Path) -> None:
    recorder = start(tenuto_home, epoch=2)

    ref = recorder.keeper.keep("a-1", 0, (1,))
    recorder.close()

    assert isinstance(ref, ResultRef)
    assert ref.location == f"{task_run_id(recorder.flow_run_id, 'a-1', 0)}.2"
    assert recorder.folder is not None
    assert (recorder.folder / "kept" / ref.location).is_file()
    assert (recorder.folder / "2.journal").is_file()


def test_one_value_is_kept_up_to_the_cap_of_the_settings(tenuto_home: Path) -> None:
    config.flows.keep_results_max_mb = 1
    recorder = start(tenuto_home)

    assert isinstance(recorder.keeper.keep("a-1", -1, np.zeros(100_000)), ResultRef)
    outcome = recorder.keeper.keep("a-2", -1, np.zeros(200_000))
    recorder.close()

    assert isinstance(outcome, NotKept)
    assert "larger than 1 MB" in outcome.reason


def test_a_run_keeps_no_more_than_all_runs_together_may(tenuto_home: Path) -> None:
    recorder = start(tenuto_home, settings=RecordSettings(results_bytes_max=1_000_000))

    assert isinstance(recorder.keeper.keep("a-1", -1, np.zeros(100_000)), ResultRef)
    outcome = recorder.keeper.keep("a-2", -1, np.zeros(100_000))
    assert isinstance(recorder.keeper.keep("a-3", -1, np.zeros(10_000)), ResultRef)
    recorder.close()

    assert isinstance(outcome, NotKept)
    assert "results_max_gb" in outcome.reason


def test_nothing_is_kept_when_the_disk_is_nearly_full(
    tenuto_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def usage(path: object) -> Any:
        asked.append(path)
        return type("Usage", (), {"total": 1000, "free": 99})

    monkeypatch.setattr(shutil, "disk_usage", usage)
    recorder = start(tenuto_home)

    assert isinstance(recorder.keeper.keep("a-1", -1, 1), ResultRef)  # Inline: the disk is not asked.
    assert asked == []
    outcome = recorder.keeper.keep("a-1", -1, (1,))
    recorder.close()

    assert isinstance(outcome, NotKept)
    assert "less than 10 %" in outcome.reason


def test_a_run_is_resumable_only_where_results_are_kept(tenuto_home: Path) -> None:
    for policy, expected in (("last", True), ("until_success", True), ("never", False)):
        recorder = start(tenuto_home, settings=RecordSettings(keep_results=policy))
        assert recorder.resumable is expected
        recorder.close()


# Taking results over


def two_runs(home: Path, value: object) -> tuple[Recorder, ResultRef, Recorder]:
    old = start(home)
    ref = old.keeper.keep("a-1", -1, value)
    old.close()
    assert isinstance(ref, ResultRef)
    return old, ref, start(home)


def test_a_reused_result_is_linked_into_the_new_run(tenuto_home: Path) -> None:
    old, ref, new = two_runs(tenuto_home, (1, 2))
    assert old.folder is not None
    assert new.folder is not None

    linked = new.keeper.link(ref, old.folder, "a-1", -1)
    new.close()

    assert linked is not None
    assert linked.location != ref.location
    assert linked.sha256 == ref.sha256
    assert load(linked, new.folder) == (1, 2)
    assert os.path.samefile(old.folder / "kept" / ref.location, new.folder / "kept" / linked.location)


def test_where_links_cannot_be_made_the_file_is_copied(
    tenuto_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    old, ref, new = two_runs(tenuto_home, (1, 2))
    assert old.folder is not None
    assert new.folder is not None
    monkeypatch.setattr(os, "link", no_links)

    linked = new.keeper.link(ref, old.folder, "a-1", -1)
    new.close()

    assert linked is not None
    assert load(linked, new.folder) == (1, 2)
    assert stat.S_IMODE((new.folder / "kept" / linked.location).stat().st_mode) == 0o600


def test_inline_results_and_those_of_a_result_class_are_taken_as_they_are(tenuto_home: Path) -> None:
    old, ref, new = two_runs(tenuto_home, 5)
    assert old.folder is not None

    assert new.keeper.link(ref, old.folder, "a-1", -1) == ref
    other = ResultRef("result", "x/y.pickle", "tenuto.engine.serializers.PickleSerializer")
    assert new.keeper.link(other, old.folder, "a-1", -1) == other
    new.close()


@pytest.mark.parametrize("damage", ["gone", "shorter", "outside"])
def test_a_result_that_is_not_there_any_more_is_not_linked(tenuto_home: Path, damage: str) -> None:
    old, ref, new = two_runs(tenuto_home, (1, 2))
    assert old.folder is not None
    path = old.folder / "kept" / ref.location
    if damage == "gone":
        path.unlink()
    elif damage == "shorter":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        ref.location = "../1.journal"

    assert new.keeper.link(ref, old.folder, "a-1", -1) is None
    new.close()


def test_a_result_may_be_taken_over_twice(tenuto_home: Path) -> None:
    old, ref, new = two_runs(tenuto_home, (1, 2))
    assert old.folder is not None
    assert new.folder is not None
    new.keeper.keep("a-1", -1, (3, 4))

    assert new.keeper.link(ref, old.folder, "a-1", -1) is not None
    linked = new.keeper.link(ref, old.folder, "a-1", -1)
    new.close()

    assert linked is not None
    assert load(linked, new.folder) == (1, 2)


def test_a_new_result_never_changes_the_run_that_it_was_linked_from(tenuto_home: Path) -> None:
    old, ref, new = two_runs(tenuto_home, (1, 2))
    assert old.folder is not None
    new.keeper.link(ref, old.folder, "a-1", -1)

    new.keeper.keep("a-1", -1, (3, 4))
    new.close()

    assert load(ref, old.folder) == (1, 2)


def test_objects_are_stored_once(tenuto_home: Path) -> None:
    recorder = start(tenuto_home)

    assert recorder.put_object(b"source") == recorder.put_object(b"source")
    recorder.close()

    assert len([path for path in (tenuto_home / "objects").rglob("*") if path.is_file()]) == 1
