"""Programs are killed where a test wants it, are started again, and leave nothing."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from tenuto._base.failpoints import Action, Failpoint
from tests.fault.harness.programs import MARK, Program, ProgramEnded

COUNTS = """
import sys, time
from tenuto._base.failpoints import failpoint
print("ready", *sys.argv[1:], flush=True)
for number in range(5):
    try:
        failpoint("count.next")
    except OSError as error:
        print("error", error, flush=True)
    print("number", number, flush=True)
print("all", flush=True)
time.sleep(1000)
"""

# Leaves a process in a session of its own, whose parent has gone, and says which.
LEAVES = """
import subprocess, sys, time
sleeps = "import os, subprocess, sys; " \\
    "command = [sys.executable, '-c', 'import time; time.sleep(1000)']; " \\
    "child = subprocess.Popen(command, start_new_session=True); " \\
    "print('child', child.pid, flush=True); os._exit(0)"
subprocess.run([sys.executable, "-c", sleeps], check=True)
print("ready", flush=True)
time.sleep(1000)
"""

STARTS_ANOTHER = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "print('plain')"], check=True)
print("code", subprocess.run([sys.executable, "-m", "counts", "child"]).returncode, flush=True)
"""


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    folder = tmp_path / "modules"
    folder.mkdir()
    for name, text in {"counts": COUNTS, "leaves": LEAVES, "starts_another": STARTS_ANOTHER}.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


def test_program_is_killed_at_a_point_and_runs_on_when_started_again(tmp_path: Path, modules: Path) -> None:
    with Program("counts", "one", folder=tmp_path, cwd=modules) as program:
        program.start(Failpoint("count.next", Action.KILL, nth=3))
        assert program.wait() == -signal.SIGKILL
        assert program.faults == 1
        program.start()
        program.wait_for("^all$")
        assert program.lines == ["ready one", *(f"number {number}" for number in range(5)), "all"]
        assert program.faults == 1


def test_failures_of_the_disk_are_counted_from_outside(tmp_path: Path, modules: Path) -> None:
    with Program("counts", folder=tmp_path, cwd=modules) as program:
        program.start(Failpoint("count.next", Action.ENOSPC, nth=2, times=2))
        program.wait_for("^all$")
        assert sum("No space left" in line for line in program.lines) == program.faults == 2


def test_program_that_ends_early_says_what_it_printed(tmp_path: Path, modules: Path) -> None:
    with Program("no_such_module", folder=tmp_path, cwd=modules) as program:
        program.start()
        with pytest.raises(ProgramEnded, match="No module named"):
            program.wait_for("ready")


def test_program_that_is_asked_to_end_gives_its_code(tmp_path: Path, modules: Path) -> None:
    with Program("counts", folder=tmp_path, cwd=modules) as program:
        program.start().wait_for("^all$")
        assert program.terminate() == -signal.SIGTERM


def test_process_that_went_its_own_way_is_gone_at_the_end(tmp_path: Path, modules: Path) -> None:
    with Program("leaves", folder=tmp_path, cwd=modules) as program:
        left = int(program.start().wait_for(r"^child (\d+)$")[1])
        program.wait_for("ready")
        assert MARK in psutil.Process(left).environ()
    assert not psutil.pid_exists(left) or psutil.Process(left).status() == psutil.STATUS_ZOMBIE


def test_points_are_armed_in_children_only_where_wanted(tmp_path: Path, modules: Path) -> None:
    point = Failpoint("count.next", Action.KILL)
    with Program("starts_another", folder=tmp_path, cwd=modules, for_children=True) as program:
        program.start(point)
        assert program.wait_for(r"code (.*)")[1] == str(-signal.SIGKILL)
        assert program.lines[:2] == ["plain", "ready child"]
        assert program.faults == 1
        program.kill()


def test_program_ends_with_the_tests(tmp_path: Path, modules: Path) -> None:
    owner = tmp_path / "owner.py"
    owner.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.fault.harness.programs import Program\n"
        "program = Program('counts', folder=Path(sys.argv[1]), cwd=Path(sys.argv[2])).start()\n"
        "program.wait_for('all')\n"
        "print('inner', program.pid, flush=True)\n"
        "import time; time.sleep(1000)\n",
        encoding="utf-8",
    )
    root = Path(__file__).resolve().parents[3]
    with Program(
        "owner",
        str(tmp_path / "inner"),
        str(modules),
        folder=tmp_path,
        cwd=tmp_path,
        env={"PYTHONPATH": str(root)},
    ) as program:
        inner = psutil.Process(int(program.start().wait_for(r"^inner (\d+)$")[1]))
        os.kill(program.pid, signal.SIGKILL)
        program.wait()
        inner.wait(60)
