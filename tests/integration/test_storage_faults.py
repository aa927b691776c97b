"""A disk that is full, broken or not there never stops user code, and never costs what was there before."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import tenuto
from tenuto import Flow, task
from tenuto._base.ids import new_flow_run_id
from tenuto.configuration import config, home_path
from tenuto.engine.results import LocalResult
from tenuto.engine.state import Failed, State, Success
from tenuto.exceptions import PrefectException
from tenuto.journal import writer
from tenuto.journal.event import Kind
from tenuto.journal.fold import RunView, fold
from tenuto.journal.home import Home
from tenuto.journal.logs import read_logs
from tenuto.journal.reader import read_events
from tenuto.journal.runs import summarize
from tenuto.utilities.configuration import set_temporary_config
from tests.fakes.runs import NOW, records

DID: list[str] = []


def did(name: str) -> None:
    """Note that a task ran; the list is not named by the tasks, and so not part of their code."""
    DID.append(name)


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    DID.clear()


def varied_flow() -> tuple[Flow, Any]:
    """Return a flow that writes all that runs write: events, small and large results, a cache, logs."""

    @task
    def small() -> dict[str, int]:
        did("small")
        return {"rows": 3}

    @task
    def large(x: dict[str, int]) -> list[int]:
        did("large")
        return list(range(3000))

    @task(cache_for=timedelta(hours=1), cache_key=new_flow_run_id())
    def cached(x: dict[str, int]) -> int:
        did("cached")
        return x["rows"]

    @task(max_retries=1, retry_delay=NOW)
    def flaky(x: int) -> int:
        did(f"flaky {x}")
        tenuto.context.logger.warning("flaky is at %d", x)
        if tenuto.context.task_run_count == 1 and x == 1:
            raise ValueError("as it was")
        return 10 * x

    @task
    def end(rows: list[int], number: int, many: list[int]) -> int:
        did("end")
        return len(rows) + number + sum(many)

    with Flow("varied") as flow:
        first = small()
        last = end(large(first), cached(first), flaky.map([0, 1, 2]))
    return flow, last


ALL_DONE = sorted(["small", "large", "cached", "flaky 0", "flaky 1", "flaky 1", "flaky 2", "end"])


def assert_finished(state: State, last: Any) -> None:
    """The run came to what it comes to on a healthy disk."""
    assert type(state) is Success
    assert state.result[last].result == 3000 + 3 + 30
    assert sorted(DID) == ALL_DONE
    DID.clear()


def own_warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the package warned about; the tasks' own warnings and error records are left out."""
    return [
        text
        for level, name, text in records(caplog)
        if level not in ("INFO", "DEBUG") and name == "tenuto.Recorder"
    ]


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def journal_of(run_id: str) -> Path:
    return Home(home_path()).run_folder(run_id) / "1.journal"


# ------------------------------------------------------------------------------------------- the home folder


def a_file(home: Path) -> None:
    home.write_text("not a folder")


def runs_is_a_file(home: Path) -> None:
    home.mkdir()
    (home / "runs").write_text("not a folder")


def objects_is_a_file(home: Path) -> None:
    home.mkdir()
    (home / "objects").write_text("not a folder")


def nowhere(home: Path) -> None:
    config.home_dir = "/proc/nowhere/home"


def a_link_to_nowhere(home: Path) -> None:
    home.symlink_to(home.parent / "gone" / "home")


@pytest.mark.parametrize("spoil", [a_file, runs_is_a_file, objects_is_a_file, nowhere, a_link_to_nowhere])
def test_home_that_cannot_be_written_costs_one_warning(
    spoil: Callable[[Path], None], tenuto_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # I-19
    spoil(tenuto_home)
    flow, last = varied_flow()
    assert_finished(flow.run(), last)
    (text,) = own_warnings(caplog)
    assert text.startswith("This run is not recorded and cannot be resumed:")
    assert str(home_path()) in text


def test_failed_run_without_a_record_says_that_it_cannot_be_continued(
    tenuto_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tenuto_home.write_text("not a folder")

    def fails() -> None:
        raise ValueError("as it was")

    with Flow("failing") as flow:
        task(fails)()
    assert type(flow.run()) is Failed
    assert "cannot be continued" in caplog.messages[-1]
    with pytest.raises(PrefectException, match="There is no unsuccessful run"):
        flow.run(resume=True)


# ---------------------------------------------------------------------------------------------- a full disk


class Disk:
    """
    Counts the writes of this package, and refuses some of them.

    Args:
        first: number of the first write that fails.
        count: so many fail; None for all that follow.
        half: the first that fails has written half of its bytes before.
        error: number of the error.
        journal_only: count only the writes of events.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        first: int = 10**9,
        count: int | None = None,
        *,
        half: bool = False,
        error: int = errno.ENOSPC,
        journal_only: bool = False,
    ) -> None:
        self.first = first
        self.last = 10**9 if count is None else first + count - 1
        self.half = half
        self.error = error
        self.writes = 0
        self.failed = 0
        self._write = os.write
        if not journal_only:
            monkeypatch.setattr(os, "write", self.write)
        monkeypatch.setattr(writer, "_write", self.write)

    def write(self, fd: int, data: Any) -> int:
        self.writes += 1
        if not self.first <= self.writes <= self.last:
            return self._write(fd, data)
        self.failed += 1
        if self.half and self.writes == self.first:
            return self._write(fd, bytes(data)[: len(data) // 2])
        raise OSError(self.error, os.strerror(self.error))


def writes_of_a_run() -> int:
    with pytest.MonkeyPatch.context() as monkeypatch:
        disk = Disk(monkeypatch)
        flow, last = varied_flow()
        assert_finished(flow.run(), last)
    assert disk.writes > 20
    return disk.writes


def states_of(view: RunView) -> dict[tuple[str, int], str]:
    return {key: told.state for key, told in view.tasks.items() if told.is_finished}


def assert_record_is_right_as_far_as_it_goes(run_id: str, healthy: RunView, marked: bool) -> None:
    """Each line is whole, each final state is that of the run, and an end that is missing is said so."""
    path = journal_of(run_id)
    if not path.exists() or not path.stat().st_size:
        return
    events = list(read_events(path))
    assert len(events) == path.read_bytes().count(b"\n"), "a line that is not whole hides what follows"
    view = fold(events)
    truth = states_of(healthy)
    assert all(truth[key] == state for key, state in states_of(view).items())
    if view.is_finished:
        assert view.state == healthy.state
    else:
        assert not marked or view.incomplete or not events
    if view.incomplete:
        assert events[-1].kind is Kind.INCOMPLETE
        assert [event.kind for event in events].count(Kind.INCOMPLETE) == 1 or events[-1].state


@pytest.mark.parametrize(
    ("count", "half", "error"),
    [
        (None, False, errno.ENOSPC),
        (None, True, errno.ENOSPC),
        (1, False, errno.ENOSPC),
        (3, True, errno.EDQUOT),
        (1, False, errno.EIO),
    ],
    ids=["full", "full in the middle of a write", "once", "thrice over quota", "broken once"],
)
def test_disk_that_fails_at_any_write_stops_nothing(
    count: int | None, half: bool, error: int, caplog: pytest.LogCaptureFixture
) -> None:
    # I-2, I-12, I-17
    logging.getLogger("tenuto").setLevel(logging.WARNING)
    flow, last = varied_flow()
    healthy_id = new_flow_run_id()
    assert_finished(flow.run(flow_run_id=healthy_id), last)
    healthy = fold(read_events(journal_of(healthy_id)))
    total = writes_of_a_run()
    # What is kept of a successful run goes when a newer one succeeds; the record stays.
    before = journal_of(healthy_id).read_bytes()
    warned = 0
    for first in range(1, total + 1):
        caplog.clear()
        flow, last = varied_flow()
        run_id = new_flow_run_id()
        with pytest.MonkeyPatch.context() as monkeypatch:
            disk = Disk(monkeypatch, first, count, half=half, error=error)
            state = flow.run(flow_run_id=run_id)
            assert disk.failed
        assert_finished(state, last)
        texts = own_warnings(caplog)
        ended = [text for text in texts if "record of this run ends" in text or "not recorded" in text]
        assert len(ended) <= 1, texts
        assert len(texts) <= 2, texts
        warned += len(ended)
        if not ended:
            view = fold(read_events(journal_of(run_id)))
            assert (view.state, view.incomplete) == ("Success", ""), (first, texts)
        assert_record_is_right_as_far_as_it_goes(run_id, healthy, marked=count is not None)
    assert warned > total // 4
    assert journal_of(healthy_id).read_bytes() == before
    leftovers = [path for path in home_path().rglob("*") if path.name.startswith(".tmp-")]
    assert not leftovers


def test_record_that_ended_early_cannot_be_resumed_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    # I-17
    ran: list[str] = []

    def note(name: str) -> str:
        ran.append(name)
        if name == "c":
            raise ValueError
        return name

    with Flow("early") as flow:
        noted = task(note)
        first = noted("a")
        second = noted("b", upstream_tasks=[first])
        noted("c", upstream_tasks=[second])
    run_id = new_flow_run_id()
    with pytest.MonkeyPatch.context() as monkeypatch:
        disk = Disk(monkeypatch, 5, 1, journal_only=True)
        assert flow.run(flow_run_id=run_id).is_failed()
        assert disk.failed
    (text,) = own_warnings(caplog)
    assert text == (
        "The record of this run ends here: No space left on device. The run goes on, but it cannot be "
        "resumed."
    )
    assert "cannot be continued" in caplog.messages[-1]
    view = fold(read_events(journal_of(run_id)))
    assert view.incomplete == "No space left on device"
    ran.clear()
    for wanted in (True, run_id):
        with pytest.raises(
            PrefectException, match="incomplete .*No space left on device.* cannot be continued"
        ):
            flow.run(resume=wanted)
    assert not ran


def test_end_of_a_run_is_told_once_there_is_room_again() -> None:
    """The record stopped; the final state is written behind the mark, where there is room for it."""
    flow, last = varied_flow()
    run_id = new_flow_run_id()
    with pytest.MonkeyPatch.context() as monkeypatch:
        Disk(monkeypatch, 7, 2, journal_only=True)
        assert_finished(flow.run(flow_run_id=run_id), last)
    view = fold(read_events(journal_of(run_id)))
    assert view.incomplete
    assert view.state == "Success"
    summary = summarize(journal_of(run_id).parent)
    assert summary is not None
    assert summary.state == "Success"


def test_sync_that_fails_ends_the_record_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    # I-2
    flow, last = varied_flow()

    def broken(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(os, "fsync", broken)
        assert_finished(flow.run(), last)
    (text,) = own_warnings(caplog)
    assert "Input/output error" in text


def test_log_that_cannot_be_written_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    # I-13
    @task
    def talks() -> None:
        for number in range(5):
            with pytest.MonkeyPatch.context() as monkeypatch:
                if number in (1, 2):
                    Disk(monkeypatch, 1)
                tenuto.context.logger.info("line %d", number)

    with Flow("talks") as flow:
        talks()
    run_id = new_flow_run_id()
    assert flow.run(flow_run_id=run_id).is_successful()
    lines = list(read_logs(journal_of(run_id).with_suffix(".logs.jsonl")))
    told = [(line.message, line.dropped) for line in lines if "line" in line.message or line.dropped]
    assert told == [("line 0", 0), ("", 2), ("line 3", 0), ("line 4", 0)]
    assert [line.lseq for line in lines] == list(range(1, len(lines) + 1))


# The limit on the size of files is the kernel's own full disk: writes are cut short, then fail.
LIMITED = """
import os, resource, sys, traceback
from tenuto import Flow, task
from tenuto._base.ids import new_flow_run_id
from tenuto.configuration import home_path
from tenuto.journal.fold import fold
from tenuto.journal.home import Home
from tenuto.journal.reader import read_events
import tenuto.engine.launch

@task
def rows():
    return list(range(2000))

@task
def page(x):
    return 2 * x

@task
def total(rows, pages):
    return len(rows) + sum(pages)

with Flow("limited") as flow:
    last = total(rows(), page.map([1, 2, 3]))

def run(limit):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            run_id = new_flow_run_id()
            state = flow.run(flow_run_id=run_id)
            assert state.is_successful() and state.result[last].result == 2012
            path = Home(home_path()).run_folder(run_id) / "1.journal"
            data = path.read_bytes() if path.exists() else b""
            events = list(read_events(path))
            assert len(events) == data.count(b"\\n") and data.endswith((b"\\n", b"")), data[-200:]
            view = fold(events)
            assert view.is_finished == (view.state == "Success")
            if not view.is_finished and events:
                assert view.incomplete or len(data) + 200 > limit
            code = 0
        except Exception:
            print(limit, len(data), [e.kind for e in events][-2:], traceback.format_exc(), flush=True)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

assert run(None) == 0
size = max(path.stat().st_size for path in home_path().glob("runs/*/1.journal"))
wrong = [limit for limit in range(0, size + 100, 61) if run(limit)]
print(f"limits {(size + 100) // 61 + 1} wrong {wrong}")
"""


def test_limit_on_the_size_of_files_stops_nothing(tmp_path: Path) -> None:
    # I-2, I-12
    (tmp_path / "limited.py").write_text(LIMITED)
    done = subprocess.run(
        [sys.executable, "limited.py"],
        cwd=tmp_path,
        env={**os.environ, "TENUTO__LOGGING__LEVEL": "CRITICAL"},
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].endswith("wrong []"), done.stdout + done.stderr


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KB."""
    place = tmp_path / "tiny"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small file system; the tests above fill the disk in other ways")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_real_full_disk_stops_nothing(tiny_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    # I-12, I-17
    logging.getLogger("tenuto").setLevel(logging.WARNING)
    config.home_dir = str(tiny_disk / "home")
    config.history.min_free_percent = 0
    flow, last = varied_flow()
    good = new_flow_run_id()
    assert_finished(flow.run(flow_run_id=good), last)
    before = contents(journal_of(good).parent)
    page = 4096
    free = shutil.disk_usage(tiny_disk).free // page
    ended = 0
    for left in range(min(free, 14), -1, -1):
        caplog.clear()
        filler = tiny_disk / "filler"
        filler.unlink(missing_ok=True)
        filler.write_bytes(bytes(max(shutil.disk_usage(tiny_disk).free - left * page, 0)))
        flow, last = varied_flow()
        run_id = new_flow_run_id()
        assert_finished(flow.run(flow_run_id=run_id), last)
        texts = [text for text in own_warnings(caplog) if "record" in text]
        assert len(texts) <= 1, texts
        ended += len(texts)
        view = fold(read_events(journal_of(run_id)))
        assert view.state in ("Success", "Running", "Pending")
        assert bool(texts) == (view.state != "Success" or bool(view.incomplete))
        filler.unlink(missing_ok=True)
        shutil.rmtree(journal_of(run_id).parent, ignore_errors=True)
    assert ended >= 2
    journal = {name: digest for name, digest in before.items() if not name.startswith("kept")}
    assert journal.items() <= contents(journal_of(good).parent).items()
    assert not [path for path in tiny_disk.rglob("*") if path.name.startswith(".tmp-")]


# ---------------------------------------------------------------------------------------- results asked for


def read_only(folder: Path) -> Callable[[], None]:
    """Make a folder that nobody may write to, root included; return what undoes it."""
    folder.mkdir()
    subprocess.run(["chattr", "+i", str(folder)], check=True, capture_output=True)

    def undo() -> None:
        subprocess.run(["chattr", "-i", str(folder)], check=True)

    return undo


def test_result_folder_that_cannot_be_written_fails_its_task_only(tmp_path: Path) -> None:
    # R-CKPT-5, R-LOC-4
    folder = tmp_path / "results"
    place = LocalResult(dir=str(folder), validate_dir=False)
    good = LocalResult(dir=str(tmp_path / "good"), location="kept")
    folder.write_text("a file in the way")
    ran: list[str] = []

    @task(result=good)
    def first() -> int:
        ran.append("first")
        return 1

    @task(result=place, max_retries=1, retry_delay=NOW)
    def second(x: int) -> int:
        ran.append("second")
        return x + 1

    @task
    def other() -> int:
        ran.append("other")
        return 5

    with Flow("results") as flow:
        a = first()
        b = second(a)
        c = other()
    run_id = new_flow_run_id()
    with set_temporary_config({"flows.checkpointing": True}):
        state = flow.run(flow_run_id=run_id)
    reached = state.result[b]
    assert type(reached) is Failed
    assert str(reached.message).startswith("Unexpected error: NotADirectoryError(")
    assert isinstance(reached.result, OSError)
    assert sorted(ran) == ["first", "other", "second", "second"]
    assert state.result[c].result == 5
    assert good.read("kept").value == 1
    assert folder.read_text() == "a file in the way"


def test_read_only_result_folder_fails_its_task_and_keeps_what_is_there(tmp_path: Path) -> None:
    # R-CKPT-5, R-CKPT-6
    folder = tmp_path / "results"
    try:
        undo = read_only(folder)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this file system knows no immutable folders; a file in the way is tested above")
    try:

        @task(target="there", result=LocalResult(dir=str(folder)))
        def stored() -> int:
            return 1

        with Flow("results") as flow:
            called = stored()
        with set_temporary_config({"flows.checkpointing": True}):
            reached = flow.run().result[called]
        assert type(reached) is Failed
        assert str(reached.message).startswith("Unexpected error: ")
        assert not list(folder.iterdir())
    finally:
        undo()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_result_that_the_disk_refuses_leaves_the_old_one(tmp_path: Path, error: int) -> None:
    # I-12, R-CKPT-5, R-CKPT-6
    place = LocalResult(dir=str(tmp_path / "results"), location="fixed")
    old = place.write({"rows": 1})
    full: list[pytest.MonkeyPatch] = []

    @task(result=place)
    def stored() -> dict[str, int]:
        monkeypatch = pytest.MonkeyPatch()
        full.append(monkeypatch)
        Disk(monkeypatch, 1, 1, error=error)
        return {"rows": 2}

    with Flow("results") as flow:
        called = stored()
    run_id = new_flow_run_id()
    with set_temporary_config({"flows.checkpointing": True}):
        reached = flow.run(flow_run_id=run_id).result[called]
    full[0].undo()
    assert type(reached) is Failed
    assert os.strerror(error) in str(reached.message)
    assert place.read(str(old.location)).value == {"rows": 1}
    assert fold(read_events(journal_of(run_id))).tasks["stored-1", -1].cause == "storage"
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == [".fixed.meta.json", "fixed"]


def test_value_that_cannot_be_serialised_fails_its_task_under_result(tmp_path: Path) -> None:
    # R-CKPT-5
    place = LocalResult(dir=str(tmp_path / "results"))

    @task(result=place)
    def lock() -> Any:
        import threading

        return threading.Lock()

    with Flow("results") as flow:
        called = lock()
    with set_temporary_config({"flows.checkpointing": True}):
        reached = flow.run().result[called]
    assert type(reached) is Failed
    assert "cannot pickle" in str(reached.message)
    assert not (tmp_path / "results").exists() or not list((tmp_path / "results").iterdir())


# ------------------------------------------------------------------------------- what somebody else removes


def remove_journal(run_id: str) -> None:
    journal_of(run_id).unlink()


def remove_run_folder(run_id: str) -> None:
    shutil.rmtree(journal_of(run_id).parent)


def remove_home(run_id: str) -> None:
    shutil.rmtree(home_path())


def replace_run_folder(run_id: str) -> None:
    shutil.rmtree(journal_of(run_id).parent)
    journal_of(run_id).parent.write_text("not a folder")


@pytest.mark.parametrize("remove", [remove_journal, remove_run_folder, remove_home, replace_run_folder])
def test_record_removed_in_the_middle_stops_nothing(
    remove: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    run_id = new_flow_run_id()

    @task
    def removes() -> dict[str, int]:
        did("small")
        if tenuto.context.flow_run_id == run_id:
            remove(run_id)
        return {"rows": 3}

    @task
    def large(x: dict[str, int], number: int) -> list[int]:
        did(f"large {number}")
        return list(range(3000))

    @task
    def end(parts: list[list[int]]) -> int:
        did("end")
        return sum(map(len, parts))

    with Flow("removed") as flow:
        first = removes()
        last = end([large(first, number) for number in range(3)])
    state = flow.run(flow_run_id=run_id)
    assert state.is_successful()
    assert state.result[last].result == 9000
    assert DID == ["small", "large 0", "large 1", "large 2", "end"]
    assert len(own_warnings(caplog)) <= 1, own_warnings(caplog)
    path = journal_of(run_id)
    if path.exists():
        view = fold(read_events(path))
        assert view.incomplete or view.is_finished
    DID.clear()
    assert flow.run(flow_run_id=new_flow_run_id()).is_successful()


def test_files_of_another_run_are_never_touched() -> None:
    # I-12
    flow, _ = varied_flow()
    good = new_flow_run_id()

    def fails(x: Any) -> None:
        raise ValueError

    with Flow("failing") as failing:
        task(fails)(task(lambda: list(range(3000)), name="rows")())
    failing.run(flow_run_id=good)
    before = contents(journal_of(good).parent)
    for first in (3, 9, 15):
        with pytest.MonkeyPatch.context() as monkeypatch:
            Disk(monkeypatch, first)
            flow.run()
    DID.clear()
    flow.run()
    assert contents(journal_of(good).parent) == before
