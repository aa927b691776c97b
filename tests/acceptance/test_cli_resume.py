"""Runs that fail, crash or are interrupted are continued by the command that they name."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.commands import TENUTO, OnTerminal, environment, shell, tenuto

SIX = """
import os, pathlib, signal, time
from tenuto import Flow, Parameter, context, task

FOLDER = pathlib.Path(__file__).parent

class Box:
    def __init__(self, content):
        self.content = content

def step(number):
    with open(FOLDER / "calls.txt", "a") as file:
        file.write(f"{number}\\n")
    trouble = FOLDER / f"trouble-{number}"
    if trouble.exists():
        what = trouble.read_text()
        if what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "wait":
            (FOLDER / "waiting").touch()
            time.sleep(600)
        raise OSError(what)

@task
def one(n):
    step(1)
    return Box(n)

@task
def two(box):
    assert isinstance(box, Box)
    step(2)
    return [box.content] * 3

@task
def three(number):
    step(3)
    return Box(number)

@task
def four(boxes):
    step(4)
    assert all(isinstance(box, Box) for box in boxes)
    return sum(box.content for box in boxes)

@task
def five(total):
    step(5)
    return total + 1

@task
def six(total):
    step(6)
    return total + context.get("extra", 0)

with Flow("six") as flow:
    result = six(five(four(three.map(two(one(Parameter("n", default=1)))))))

if __name__ == "__main__":
    raise SystemExit(0 if flow.run().is_successful() else 1)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my project"
    folder.mkdir()
    (folder / "flow.py").write_text(SIX)
    return folder


def calls(folder: Path) -> str:
    """Return the steps that ran since the last time that somebody asked."""
    path = folder / "calls.txt"
    if not path.exists():
        return ""
    text = "".join(path.read_text().split())
    path.unlink()
    return text


def named_command(output: str) -> str:
    """Return the command by which the last log line says that the run is continued."""
    lines = [line for line in output.splitlines() if "To continue this run: " in line]
    assert len(lines) == 1
    return lines[0].partition("To continue this run: ")[2]


def state_of_last(folder: Path) -> tuple[str, str | None]:
    state = json.loads(tenuto("history", "--json", "--limit", "1", cwd=folder).stdout)[0]["state"]
    return state["type"], state["cause"]


def result_of_last(folder: Path) -> object:
    shown = tenuto("show", "last", "--task", "six", "--json", cwd=folder)
    return json.loads(shown.stdout)["task_runs"][0]["result"]["value"]


def test_a_failed_run_goes_on_from_the_task_that_failed(folder: Path) -> None:
    (folder / "trouble-4").write_text("no connection")
    options = ["--param", "n=5", "--context", "extra=100"]
    failed = tenuto("run", "-p", "flow.py", *options, cwd=folder)
    assert failed.returncode == 1
    assert calls(folder) == "123334"
    command = named_command(failed.stdout)
    assert failed.stdout.splitlines()[-2].endswith(f"To continue this run: {command}"), (
        "it is the last log line"
    )
    assert re.fullmatch(r"tenuto run -p flow\.py --resume [a-z]+-[a-z]+", command)

    (folder / "trouble-4").unlink()
    continued = shell(command, folder)
    assert continued.returncode == 0, continued.stdout + continued.stderr
    assert calls(folder) == "456"
    assert result_of_last(folder) == 116, "parameters and context are those of the run that is continued"


def test_the_command_holds_from_elsewhere_too(folder: Path, tmp_path: Path) -> None:
    (folder / "trouble-4").write_text("no connection")
    failed = tenuto("run", "-p", str(folder / "flow.py"), cwd=tmp_path)
    calls(folder)
    (folder / "trouble-4").unlink()
    command = named_command(failed.stdout)
    assert command.startswith("tenuto run -p 'my project/flow.py' --resume ")
    assert shell(command, tmp_path).returncode == 0
    assert calls(folder) == "456"


def test_a_killed_run_is_shown_as_crashed_and_goes_on(folder: Path) -> None:  # kill -9
    (folder / "trouble-5").write_text("kill")
    killed = tenuto("run", "-p", "flow.py", cwd=folder)
    assert killed.returncode == -signal.SIGKILL
    assert calls(folder) == "123334" + "5"
    assert state_of_last(folder) == ("Failed", "crashed")
    assert "Failed (crashed)" in tenuto("history", cwd=folder).stdout
    shown = tenuto("show", "last", cwd=folder).stdout
    assert "five   Failed" in shown
    assert "six    Pending" in shown

    (folder / "trouble-5").unlink()
    continued = shell(named_command(shown), folder)
    assert continued.returncode == 0, continued.stdout + continued.stderr
    assert calls(folder) == "56"
    assert state_of_last(folder) == ("Success", None)


def test_resume_alone_after_a_kill_from_outside(folder: Path) -> None:
    (folder / "trouble-4").write_text("wait")
    running = subprocess.Popen(
        [TENUTO, "run", "-p", "flow.py"], cwd=folder, env=environment(), stdout=subprocess.DEVNULL
    )
    while not (folder / "waiting").exists():
        assert running.poll() is None
        time.sleep(0.02)
    assert tenuto("history", cwd=folder).stdout.splitlines()[1].split()[2] == "Running"
    refused = tenuto("run", "-p", "flow.py", "--resume", "last", cwd=folder)
    assert refused.returncode == 1
    assert "is still going" in refused.stderr
    running.kill()
    running.wait()
    calls(folder)
    (folder / "trouble-4").unlink()
    assert tenuto("run", "-p", "flow.py", "--resume", cwd=folder).returncode == 0
    assert calls(folder) == "456"


def test_a_script_that_failed_is_continued_by_the_command_line_and_the_other_way_round(folder: Path) -> None:
    (folder / "trouble-4").write_text("no connection")
    script = shell([sys.executable, "flow.py"], folder)
    assert script.returncode == 1
    assert calls(folder) == "123334"
    again = shell(named_command(script.stdout), folder)
    assert again.returncode == 1
    assert calls(folder) == "4"
    (folder / "trouble-4").unlink()
    (folder / "resumes.py").write_text("import runpy, sys\n")
    text = SIX.replace("flow.run()", "flow.run(resume=True)")
    (folder / "flow.py").write_text(text)
    assert shell([sys.executable, "flow.py"], folder).returncode == 0
    assert calls(folder) == "456"


def test_a_module_is_continued_as_a_module(folder: Path) -> None:
    package = folder / "flows"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "shared.py").write_text("")
    (package / "six.py").write_text(
        "from . import shared\nfrom tenuto import Flow\nother = Flow('other')\n" + SIX
    )
    (package / "trouble-4").write_text("no connection")
    failed = tenuto("run", "-m", "flows.six", "-n", "six", cwd=folder)
    command = named_command(failed.stdout)
    assert command.startswith("tenuto run -m flows.six -n six --resume ")
    calls(package)
    (package / "trouble-4").unlink()
    continued = shell(command, folder)
    assert continued.returncode == 0, continued.stdout + continued.stderr
    assert calls(package) == "456"


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_how_to_go_on(folder: Path, sent: signal.Signals) -> None:  # R-CLI-2
    (folder / "trouble-4").write_text("wait")
    with OnTerminal(TENUTO, "run", "-p", "flow.py", cwd=folder) as command:
        command.until(lambda output: (folder / "waiting").exists() and "four" in output)
        os.kill(command.process.pid, sent)
        code, screen = command.end()
    calls(folder)
    (folder / "trouble-4").unlink()
    if sent is signal.SIGINT:
        assert code == 130
        assert "Interrupted." in screen
        assert "Traceback" not in screen
        again = named_command(screen)
    else:
        assert code == -sent
        again = named_command(tenuto("show", "last", cwd=folder).stdout)
    assert shell(again, folder).returncode == 0
    assert calls(folder) == "456"


def test_an_edited_task_runs_again_and_the_log_says_why(folder: Path) -> None:
    (folder / "trouble-6").write_text("no connection")
    tenuto("run", "-p", "flow.py", cwd=folder)
    calls(folder)
    (folder / "trouble-6").unlink()
    (folder / "flow.py").write_text(SIX.replace("return total + 1", "return total + 2"))
    done = tenuto("run", "-p", "flow.py", "--resume", cwd=folder)
    assert calls(folder) == "56"
    assert re.search(r"INFO    \| Task 'five' runs again: its code changed", done.stdout)
