"""Commands as tasks: real shells, on the executors of this machine."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tenuto import Flow, task
from tenuto.engine.signals import FAIL
from tenuto.engine.state import Failed, TimedOut
from tenuto.executors import Executor, LocalDaskExecutor, LocalExecutor
from tenuto.tasks.dbt import DbtShellTask
from tenuto.tasks.shell import ShellTask

EXECUTORS: dict[str, Callable[[], Executor]] = {
    "inline": LocalExecutor,
    "threads": lambda: LocalDaskExecutor(scheduler="threads", num_workers=2),
    "processes": lambda: LocalDaskExecutor(scheduler="processes", num_workers=1),
}


@pytest.fixture(params=EXECUTORS)
def executor(request: pytest.FixtureRequest) -> Executor:
    return EXECUTORS[request.param]()


def messages(caplog: pytest.LogCaptureFixture, name: str = "ShellTask") -> list[tuple[int, str]]:
    return [
        (record.levelno, record.getMessage()) for record in caplog.records if record.name == f"tenuto.{name}"
    ]


def ends(pids: list[int]) -> bool:
    """Say whether the processes end; they have been told to."""
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=5)
    for process in alive:
        process.kill()
    return not alive


# ------------------------------------------------------------------------------------------------ output


def test_last_line_is_the_result(executor: Executor) -> None:
    # R-INV-8: shell tasks
    with Flow("shell") as flow:
        last = ShellTask()(command="echo one; echo two")
        whole = ShellTask(return_all=True)(command="echo one; echo; echo 'two  '")
        nothing = ShellTask(command="true")()
    state = flow.run(executor=executor)
    assert state.result[last].result == "two"
    assert state.result[whole].result == ["one", "", "two"]
    assert state.result[nothing].result is None


def test_stderr_stands_in_its_place_and_odd_bytes_do_no_harm() -> None:
    out = ShellTask(return_all=True).run("echo out; echo err >&2; printf 'a\\xffb\\n'; printf 'x\\ry'")
    assert out == ["out", "err", "a\N{REPLACEMENT CHARACTER}b", "x", "y"]


def test_arguments_of_the_call_win_over_those_of_the_constructor() -> None:
    # R-INV-8: library tasks
    shell = ShellTask(command="echo $A $B", env={"A": "a"}, helper_script="B=helper")
    assert shell.run() == "a helper"
    assert shell.run(env={"A": "c"}) == "c helper"
    assert shell.run(command="echo $B", helper_script="B=other") == "other"
    assert ShellTask(command="echo $HOME").run() == os.environ["HOME"]


def test_upstream_tasks_give_the_command_and_the_variables() -> None:
    @task
    def variables() -> dict[str, str]:
        return {"WORD": "from a task"}

    with Flow("given") as flow:
        said = ShellTask(command="echo $WORD")(env=variables())
    assert flow.run().result[said].result == "from a task"


def test_missing_command_and_missing_shell_are_told() -> None:
    with pytest.raises(TypeError, match="Give ShellTask a `command`"):
        ShellTask().run()
    with pytest.raises(FileNotFoundError, match="The shell 'no-such-shell' was not found"):
        ShellTask(shell="no-such-shell").run("true")


def test_command_that_reads_gets_nothing_to_read() -> None:
    assert ShellTask().run("cat; echo done") == "done"


def test_other_programs_can_be_the_shell() -> None:
    assert ShellTask(shell=sys.executable).run("print(6 * 7)") == "42"


def test_script_is_no_argument_that_others_see_and_is_removed() -> None:
    path = ShellTask().run("tr '\\0' ' ' < /proc/$$/cmdline; : canary; stat -c %a $(dirname $0); echo $0")
    assert isinstance(path, str)
    assert not Path(path).exists()
    assert not Path(path).parent.exists()
    shown = ShellTask(return_all=True).run(
        "tr '\\0' ' ' < /proc/$$/cmdline; echo; stat -c %a $(dirname $0) # canary"
    )
    assert isinstance(shown, list)
    assert "canary" not in shown[0]
    assert shown[1] == "700"


# --------------------------------------------------------------------------------------------------- log


@pytest.mark.parametrize(
    ("stream_output", "level"),
    [(True, logging.INFO), (logging.WARNING, logging.WARNING), ("error", logging.ERROR)],
)
def test_lines_are_logged_at_the_level_that_was_asked_for(
    stream_output: Any, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    ShellTask(name="talks", stream_output=stream_output).run("echo one; echo 50% two")
    assert messages(caplog, "talks") == [(level, "one"), (level, "50% two")]


def test_no_line_is_logged_unless_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    ShellTask().run("echo one")
    assert messages(caplog) == []
    with pytest.raises(ValueError, match="`stream_output` is 'LOUD', which is no level"):
        ShellTask(stream_output="LOUD")


def test_line_is_logged_while_the_command_still_runs(tmp_path: Path) -> None:
    # The command waits for the file that is made when its first line is logged.
    seen = tmp_path / "seen"

    class Answer(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.touch()

    logger = logging.getLogger("tenuto.ShellTask")
    logger.addHandler(Answer())
    command = f"echo first; until [ -e {seen} ]; do sleep 0.01; done; echo last"
    with Flow("live") as flow:
        lines = ShellTask(command=command, stream_output=True, return_all=True, timeout=30)()
    assert flow.run().result[lines].result == ["first", "last"]


def test_lines_come_from_other_processes_too(caplog: pytest.LogCaptureFixture) -> None:
    with Flow("far") as flow:
        ShellTask(command="echo from afar", stream_output=True)()
    assert flow.run(executor=EXECUTORS["processes"]()).is_successful()
    assert (logging.INFO, "from afar") in messages(caplog)


# ----------------------------------------------------------------------------------------------- failing


def test_other_exit_code_fails_the_task_with_the_output_as_result(
    executor: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    with Flow("fails") as flow:
        bad = ShellTask(command="echo why >&2; exit 3")()
    state = flow.run(executor=executor).result[bad]
    assert type(state) is Failed
    assert (state.message, state.result) == ("Command failed with exit code 3", "why")
    assert (logging.ERROR, "Command failed with exit code 3") in messages(caplog)


def test_output_of_a_failed_command_is_logged_if_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(FAIL, match="Command failed with exit code 1"):
        ShellTask(log_stderr=True).run("echo one; echo two >&2; false")
    assert messages(caplog) == [(logging.ERROR, "Command failed with exit code 1\none\ntwo")]


def test_command_that_was_killed_fails() -> None:
    with pytest.raises(FAIL, match="Command failed with exit code -9"):
        ShellTask().run("kill -9 $$")


TREE = """
sleep 1000 & echo $! >> {pids}
(sleep 1000 & echo $! >> {pids})
setsid sleep 1000 & echo $! >> {pids}
bash -c 'echo $$ >> {pids}; sleep 1000; true' | cat
"""


def test_timeout_kills_all_that_the_command_has_started(executor: Executor, tmp_path: Path) -> None:
    # R-TIME-4: the second sleep has lost its parent, the third has a session of its own
    pids = tmp_path / "pids"
    with Flow("long") as flow:
        late = ShellTask(command=TREE.format(pids=pids), timeout=1)()
    assert isinstance(flow.run(executor=executor).result[late], TimedOut)
    started = [int(line) for line in pids.read_text().split()]
    assert len(started) == 4
    assert ends(started)


def test_time_that_is_not_up_changes_nothing(executor: Executor) -> None:
    with Flow("short") as flow:
        done = ShellTask(command="echo done", timeout=60)()
    assert flow.run(executor=executor).result[done].result == "done"


INTERRUPTED = """
from tenuto.tasks.shell import ShellTask
try:
    ShellTask().run("sleep 1000 & echo $! > {pid}; kill -INT $PPID; wait")
except KeyboardInterrupt:
    print("interrupted")
"""


def test_interrupt_kills_the_command(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.format(pid=pid)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "interrupted\n"
    assert ends([int(pid.read_text())])


INTERRUPTED_AT_THE_START = """
import os, signal, subprocess
import psutil
from tenuto.tasks.shell import ShellTask

start = subprocess.Popen._execute_child

def start_and_interrupt(*args, **kwargs):
    start(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGINT)

subprocess.Popen._execute_child = start_and_interrupt
try:
    ShellTask().run("sleep 1000; true")
except KeyboardInterrupt:
    print("interrupted", [process.name() for process in psutil.Process().children(recursive=True)])
"""


def test_interrupt_in_the_middle_of_the_start_leaves_nothing_behind() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_AT_THE_START], capture_output=True, text=True, check=True
    )
    assert done.stdout == "interrupted []\n"


def test_process_left_in_the_background_goes_on_after_a_command_that_ended(tmp_path: Path) -> None:
    pid = ShellTask().run("sleep 1000 > /dev/null 2>&1 & echo $!")
    assert isinstance(pid, str)
    process = psutil.Process(int(pid))
    assert process.is_running()
    process.kill()


# --------------------------------------------------------------------------------------------------- dbt


@pytest.fixture
def fake_dbt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program `dbt` that prints its arguments and the profiles that it finds."""
    program = tmp_path / "bin" / "dbt"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@"\ncat "$DBT_PROFILES_DIR/profiles.yml" 2>/dev/null\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("DBT_PROFILES_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    return program


def profiles_in(output: Any) -> Any:
    return json.loads("\n".join(output[1:]))


def test_dbt_gets_the_profiles_that_the_arguments_describe(fake_dbt: Path, tmp_path: Path) -> None:
    # R-INV-8; spec 09, DbtShellTask
    folder = tmp_path / "profiles"
    dbt = DbtShellTask(
        profile_name="shop",
        environment="test",
        profiles_dir=str(folder),
        dbt_kwargs={"type": "postgres", "host": "db", "password": "opensesame"},
        return_all=True,
    )
    with Flow("models") as flow:
        done = dbt(command="dbt run")
    output = flow.run().result[done].result
    assert output[0] == "run"
    assert profiles_in(output) == {
        "shop": {
            "outputs": {"test": {"type": "postgres", "host": "db", "password": "opensesame"}},
            "target": "test",
        }
    }
    assert stat.S_IMODE((folder / "profiles.yml").stat().st_mode) == 0o600


def test_profiles_that_are_there_are_kept_unless_they_are_to_be_overwritten(
    fake_dbt: Path, tmp_path: Path
) -> None:
    place = tmp_path / "user" / ".dbt" / "profiles.yml"
    place.parent.mkdir(parents=True)
    place.write_text('{"mine": 1}')
    options: dict[str, Any] = {
        "command": "dbt test",
        "profile_name": "shop",
        "environment": "test",
        "return_all": True,
    }
    assert profiles_in(DbtShellTask(**options, dbt_kwargs={"type": "x"}).run()) == {"mine": 1}
    again = DbtShellTask(**options, overwrite_profiles=True)
    assert profiles_in(again.run(dbt_kwargs={"type": "y"}))["shop"]["outputs"] == {"test": {"type": "y"}}


def test_folder_of_the_profiles_may_be_left_to_dbt(
    fake_dbt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert DbtShellTask(set_profiles_envar=False).run("echo ${DBT_PROFILES_DIR-unset}") == "unset"
    default = DbtShellTask().run("echo $DBT_PROFILES_DIR")
    assert default == os.path.realpath(tmp_path / "user" / ".dbt")
    assert not os.path.exists(str(default))
    monkeypatch.setenv("DBT_PROFILES_DIR", str(tmp_path / "theirs"))
    assert DbtShellTask().run("echo $DBT_PROFILES_DIR") == os.path.realpath(tmp_path / "theirs")


def test_profiles_without_a_name_are_refused(fake_dbt: Path) -> None:
    with pytest.raises(ValueError, match="needs `profile_name` and `environment` to write"):
        DbtShellTask(command="dbt run", dbt_kwargs={"type": "postgres"}).run()
