"""Disks, folders, names and coroutines that turn against a run: it says what is wrong and loses nothing."""

from __future__ import annotations

import asyncio
import errno
import os
from datetime import timedelta
from pathlib import Path

import pytest

from tenuto import Flow, Parameter, task
from tenuto._base.files import write_atomic
from tenuto._base.templates import fill
from tenuto.configuration import home_path
from tenuto.engine.results import LocalResult
from tenuto.journal.event import Kind
from tenuto.journal.home import Home
from tenuto.journal.reader import read_ends
from tenuto.journal.runs import RunSummary, summarize
from tenuto.utilities.configuration import set_temporary_config
from tests.fakes.runs import NOW, newest_run, records
from tests.unit.cli.command_line import CommandLine
from tests.unit.cli.conftest import cli, process_restored

__all__ = ["cli", "process_restored"]

SECRET = "hunter2-parameter"


def everything_below(folder: Path) -> bytes:
    return b"\0".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def newest_summary() -> RunSummary:
    home = Home(home_path())
    summary = summarize(home.run_folder(home.run_ids()[0]))
    assert summary is not None
    return summary


# S-18
@pytest.mark.parametrize("name", ["password", "db_token"])
def test_value_of_a_parameter_with_a_secrets_name_is_nowhere_in_the_home_folder(name: str) -> None:
    @task(cache_for=timedelta(hours=1))
    def connect(secret: str) -> int:
        return len(secret)

    with Flow("connects") as flow:
        connect(Parameter(name))
    assert flow.run({name: SECRET}).is_successful()
    assert SECRET.encode() not in everything_below(home_path())


def test_run_whose_record_is_incomplete_is_not_listed_as_resumable(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Flow("fails") as flow:
        task(lambda: 1 / 0, name="fails")()

    with monkeypatch.context() as patched:
        patched.setattr(
            "tenuto.journal.recorder.Recorder.put_object", lambda self, data: self._end_with(full_disk())
        )
        assert flow.run().is_failed()
    _, last = read_ends(newest_summary().folder / "1.journal")
    assert last is not None
    assert last.kind is Kind.INCOMPLETE
    assert newest_summary().incomplete
    assert "yes" not in cli("history").out


def full_disk() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_run_of_an_id_that_is_there_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with Flow("twice") as flow:
        task(lambda: 1, name="one")()
    run_id = "01a20ba1-cb06-7042-a219-ad2df839463a"
    flow.run(flow_run_id=run_id)
    before = everything_below(home_path() / "runs" / run_id)
    assert flow.run(flow_run_id=run_id).is_successful()
    assert any(run_id in message and "not recorded" in message for _, _, message in records(caplog))
    assert everything_below(home_path() / "runs" / run_id) == before


def test_object_that_was_cut_off_is_stored_again(tmp_path: Path) -> None:
    home = Home(tmp_path)
    digest = home.objects_put(b"source of a task")
    path = home.objects / digest[:2] / digest[2:]
    path.write_bytes(b"sour")
    assert home.objects_put(b"source of a task") == digest
    assert home.objects_get(digest) == b"source of a task"


def test_error_of_a_full_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: object) -> int:
        raise full_disk()

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left") as failure:
            write_atomic(tmp_path / "x", [b"data"], private=False, fsync=False)
    assert failure.value.filename == str(tmp_path / "x")


def test_failure_to_store_a_result_says_whose_it_was(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with Flow("stores") as flow:
        only = task(lambda: 1, name="only", result=LocalResult(dir=tmp_path / "file"))()
    with set_temporary_config({"flows.checkpointing": True}):
        state = flow.run()
    assert any(
        "task 'only'" in note and "LocalResult" in note for note in state.result[only].result.__notes__
    )


@pytest.mark.parametrize("location", ["", ".", "a/.."])
def test_folder_of_results_is_no_location(location: str, tmp_path: Path) -> None:
    result = LocalResult(dir=tmp_path / "results", location=location)
    with pytest.raises(ValueError, match="names no file"):
        result.write(1)
    assert not (tmp_path / "results").exists()


def test_name_that_a_template_misses_is_explained() -> None:
    with pytest.raises(KeyError) as failure:
        fill("{nokey}", {}, as_path=True)
    assert any("{nokey}" in note for note in failure.value.__notes__)


def test_coroutine_that_cancels_itself_fails_its_task_only() -> None:
    async def cancels() -> None:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        await asyncio.sleep(1)

    with Flow("cancels") as flow:
        first = task(cancels, name="first")()
        second = task(lambda: 2, name="second")()
    state = flow.run()
    assert state.result[first].is_failed()
    assert state.result[second].result == 2


def test_command_line_survives_what_is_no_exception(cli: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "flow.py"
    path.write_text(
        "from tenuto import Flow, task\n@task\ndef ends():\n    raise GeneratorExit('over')\n"
        "with Flow('ends') as flow:\n    ends()\n"
    )
    done = cli("run", "-p", path)
    assert done.code == 1
    assert "GeneratorExit: over" in done.err
    assert os.path.join("tenuto", "cli") not in done.err


@pytest.mark.parametrize(
    "line", ["os.chdir(os.path.dirname(os.getcwd()))", "os.chdir(folder)\n    os.rmdir(folder)"]
)
def test_command_to_continue_holds_where_the_user_is(
    line: str, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flow.py").write_text(
        "import os, tempfile\nfrom tenuto import Flow, task\n@task\ndef moves():\n"
        f"    folder = tempfile.mkdtemp()\n    {line}\n    raise ValueError('planned')\n"
        "with Flow('moves') as flow:\n    moves()\n"
    )
    assert "To continue this run: tenuto run -p flow.py --resume" in cli("run", "-p", "flow.py").out


def test_very_long_parameter_is_cut_where_it_is_shown(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(
        "from tenuto import Flow, Parameter\nwith Flow('long') as flow:\n    flow.add_task(Parameter('x'))\n"
    )
    (tmp_path / "long.json").write_text('{"x": "' + "a" * 100_000 + '"}')
    done = cli("run", "-p", tmp_path / "flow.py", "--param-file", tmp_path / "long.json")
    assert done.code == 0
    assert len(done.out) < 10_000


@pytest.mark.parametrize("timeout", [-1, timedelta(seconds=-1), timedelta(seconds=-0.5)])
def test_negative_timeout_is_refused_where_it_is_written(timeout: int | timedelta) -> None:
    with pytest.raises(ValueError, match="negative"):
        task(lambda: 1, name="never", timeout=timeout)


def test_why_a_task_runs_again_is_said_once_however_often_it_is_tried(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails() -> None:
        raise ValueError("planned")

    with Flow("tries") as flow:
        task(fails, name="fails", max_retries=2, retry_delay=NOW)()
    flow.run()
    caplog.clear()
    flow.run(resume=True)
    assert [message for _, _, message in records(caplog) if "runs again" in message] == [
        "Task 'fails' runs again: it ended Failed."
    ]
    assert newest_run().tasks[("fails-1", -1)].run_count == 3
