"""Commands on a terminal: the footer below a run, questions, colours."""

import re
from pathlib import Path

import pytest

from tests.acceptance.commands import TENUTO, OnTerminal, tenuto
from tests.fakes.terminal import ERASE

WAITING = """
import pathlib, sys, time
from tenuto import Flow, task
from tenuto.core.authoring import pause_task

FOLDER = pathlib.Path(__file__).parent

def wait_for(name):
    while not (FOLDER / name).exists():
        time.sleep(0.02)

@task
def first():
    return [1, 2, 3]

@task
def slow(number):
    wait_for(f"go-{number}")
    print("printed", number)
    sys.stderr.write("warned\\n")
    return number

@task
def last(numbers):
    wait_for("go-last")

with Flow("waiting") as flow:
    last(slow.map(first()))
"""
PAUSING = """
from tenuto import Flow, task
from tenuto.core.authoring import pause_task

@task
def ask():
    pause_task()
    print("resumed")

with Flow("asking") as flow:
    ask()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "flow.py").write_text(WAITING)
    return tmp_path


def test_a_footer_shows_what_goes_on_and_leaves_nothing_behind(folder: Path) -> None:
    with OnTerminal(TENUTO, "run", "-p", "flow.py", cwd=folder, env={"NO_COLOR": "1"}) as command:
        command.until(lambda output: "1 finished · 1 running · 3 left · slow[0] · " in output)
        assert "slow: 0 of 3\n1 finished · " in command.output
        for number in (1, 2, 3):
            (folder / f"go-{number}").touch()
        command.until(lambda output: "4 finished · 1 running · 0 left · last · " in output)
        (folder / "go-last").touch()
        code, screen = command.end()
    assert code == 0
    assert "finished ·" not in screen
    lines = re.sub(r"\d\d:\d\d:\d\d", "TIME", screen).splitlines()
    assert lines[:2] == ["Retrieving local flow... Done", "Running flow locally..."]
    assert lines[-1] == "Flow run succeeded!"
    for number in (1, 2, 3):
        start = lines.index(f"└── TIME | INFO    | Task 'slow[{number - 1}]': Starting task run...")
        assert lines[start + 1 : start + 3] == [f"printed {number}", "warned"]
    assert all(line.isprintable() for line in lines), "no colours (NO_COLOR), no remains"


def test_a_quick_run_shows_no_footer(folder: Path) -> None:
    (folder / "quick.py").write_text("from tenuto import Flow\nflow = Flow('quick')\n")
    with OnTerminal(TENUTO, "run", "-p", "quick.py", cwd=folder) as command:
        code, _ = command.end()
        assert (code, ERASE in command.output) == (0, False)


@pytest.mark.parametrize(("options", "env"), [(["-q"], {}), ([], {"TERM": "dumb"})])
def test_quiet_and_dumb_terminals_have_no_footer(
    folder: Path, options: list[str], env: dict[str, str]
) -> None:
    for name in ("go-1", "go-2", "go-3", "go-last"):
        (folder / name).touch()
    with OnTerminal(TENUTO, "run", "-p", "flow.py", *options, cwd=folder, env=env) as command:
        code, _ = command.end()
        assert code == 0
        assert "\x1b" not in command.output


def test_states_and_the_end_have_colours(folder: Path) -> None:  # R-CLI-7, R-CLI-19
    (folder / "bad.py").write_text(PAUSING.replace("pause_task()", "1 / 0"))
    with OnTerminal(TENUTO, "run", "-p", "bad.py", "--run-name", "red-elk", cwd=folder) as command:
        assert command.end()[0] == 1
        assert "\x1b[31mFlow run failed!\x1b[0m" in command.output
    with OnTerminal(TENUTO, "history", cwd=folder) as command:
        assert command.end()[0] == 0
        assert re.search(r"red-elk.*\x1b\[[\d;]*48;[\d;]*m Failed \x1b\[0m", command.output)
    with OnTerminal(TENUTO, "history", "--no-color", cwd=folder) as command:
        command.end()
        assert "\x1b" not in command.output


def test_tables_fit_the_terminal(folder: Path) -> None:  # R-CLI-5
    (folder / "long.py").write_text(f"from tenuto import Flow\nflow = Flow({'f' * 100 + 'end'!r})\n")
    tenuto("run", "-p", "long.py", "--run-name", "n" * 100 + "-end", cwd=folder)
    with OnTerminal(TENUTO, "history", "--no-color", cwd=folder) as command:
        _, screen = command.end()
    assert max(map(len, screen.splitlines())) <= 80
    assert "…" in screen
    assert "-end" in screen
    assert "Success" in screen


def test_a_paused_task_asks_below_the_log_and_goes_on(folder: Path) -> None:  # R-PAUSE-1
    (folder / "ask.py").write_text(PAUSING)
    with OnTerminal(TENUTO, "run", "-p", "ask.py", cwd=folder) as command:
        question = "<Task: ask> is currently Paused; enter 'y' to resume:"
        command.until(lambda output: output.count(question) == 1)
        command.type("n\n")
        command.until(lambda output: output.count(question) == 2)
        command.type("y\n")
        code, screen = command.end()
    assert code == 0
    assert "resumed" in screen.splitlines()
    assert screen.count(question) == 2


def test_who_ends_the_input_leaves_the_task_paused(folder: Path) -> None:  # R-PAUSE-2
    (folder / "ask.py").write_text(PAUSING)
    with OnTerminal(TENUTO, "run", "-p", "ask.py", "--no-color", cwd=folder) as command:
        command.until(lambda output: "enter 'y' to resume:" in output)
        command.type("\x04")
        code, screen = command.end()
    assert code == 1
    assert screen.splitlines()[-1].startswith("Flow run is in unexpected state: <Running")
    assert "EOFError" not in screen


def test_progress_bars_keep_their_line(folder: Path) -> None:
    (folder / "bar.py").write_text(
        """
import sys, time, pathlib
from tenuto import Flow, task
FOLDER = pathlib.Path(__file__).parent
@task
def bar():
    while not (FOLDER / "go").exists():
        time.sleep(0.02)
    for percent in range(0, 101, 50):
        sys.stderr.write(f"\\r{percent} %")
        sys.stderr.flush()
        time.sleep(0.3)
    sys.stderr.write(" done\\n")
with Flow("bar") as flow:
    bar()
"""
    )
    with OnTerminal(TENUTO, "run", "-p", "bar.py", cwd=folder, env={"NO_COLOR": "1"}) as command:
        command.until(lambda output: "running" in output)
        (folder / "go").touch()
        code, screen = command.end()
        raw = command.output
    assert code == 0
    assert (
        "\r0 %\r50 %\r100 % done\n" in raw.replace(ERASE, "").replace("\r\n", "\n")
        or "\r50 %\r100 % done" in screen
    )
    assert screen.count("done") == 1


def test_a_forked_child_can_print(folder: Path) -> None:
    (folder / "fork.py").write_text(
        """
import os, time, pathlib
from tenuto import Flow, task
FOLDER = pathlib.Path(__file__).parent
@task
def fork():
    while not (FOLDER / "go").exists():
        time.sleep(0.02)
    child = os.fork()
    if child == 0:
        print("from the child", flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
with Flow("fork") as flow:
    fork()
"""
    )
    env = {"NO_COLOR": "1", "PYTHONWARNINGS": "ignore"}
    with OnTerminal(TENUTO, "run", "-p", "fork.py", cwd=folder, env=env) as command:
        command.until(lambda output: "running" in output)
        (folder / "go").touch()
        code, screen = command.end()
    assert code == 0
    assert screen.count("from the child") == 1
