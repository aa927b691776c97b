"""Fail points do what a test has armed them to do, and nothing arms them but a test."""

import ast
import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tenuto._base import failpoints
from tenuto._base.failpoints import Action, ExecutedButTimedOut, Failpoint, FailpointReached, armed, failpoint

PACKAGE = Path(__file__).resolve().parents[3] / "src" / "tenuto"


def outcomes(point: Failpoint, passes: int) -> str:
    """Pass a point that raises; return what each pass did."""
    text = ""
    with armed(point):
        for _ in range(passes):
            try:
                failpoint(point.name)
                text += "."
            except FailpointReached:
                text += "F"
    return text


@pytest.mark.parametrize(
    ("nth", "times", "expected"), [(1, 1, "F...."), (3, 1, "..F.."), (2, 2, ".FF.."), (4, 0, "...FF")]
)
def test_action_happens_at_the_hits_that_were_chosen(nth: int, times: int, expected: str) -> None:
    point = Failpoint("store.commit", Action.RAISE, nth=nth, times=times)
    assert outcomes(point, 5) == expected
    assert (point.hits, point.faults) == (5, expected.count("F"))


def test_point_is_harmless_before_and_after_and_under_another_name() -> None:
    failpoint("store.commit")
    with armed(Failpoint("store.commit", Action.RAISE)):
        failpoint("store.begin")
        with pytest.raises(FailpointReached, match="'store.commit'"):
            failpoint("store.commit")
    failpoint("store.commit")
    assert not failpoints._points


def test_points_of_one_name_are_armed_together_and_apart() -> None:
    with armed(Failpoint("a", Action.RAISE, nth=2)):
        with armed(Failpoint("a", Action.EIO)), pytest.raises(OSError, match="Input/output"):
            failpoint("a")
        with pytest.raises(FailpointReached):
            failpoint("a")


@pytest.mark.parametrize(("action", "code"), [(Action.ENOSPC, errno.ENOSPC), (Action.EIO, errno.EIO)])
def test_disk_fails_as_a_disk_does(action: Action, code: int) -> None:
    with (
        armed(Failpoint("journal.append", action)),
        pytest.raises(OSError, match=os.strerror(code)) as failure,
    ):
        failpoint("journal.append")
    assert failure.value.errno == code


def test_lost_answer_is_no_failure_of_the_work() -> None:
    with armed(Failpoint("store.after_commit", Action.TIME_OUT)):
        with pytest.raises(ExecutedButTimedOut, match="is done") as failure:
            failpoint("store.after_commit")
    assert isinstance(failure.value, TimeoutError)
    assert not isinstance(failure.value, FailpointReached)


def test_sleep_lasts_as_long_as_told_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("tenuto._base.failpoints.time.sleep", slept.append)
    with armed(Failpoint("disk.sync", Action.SLEEP, seconds=0.5, times=2)):
        for _ in range(3):
            failpoint("disk.sync")
    assert slept == [0.5, 0.5]


def test_action_is_told_before_it_happens() -> None:
    told: list[str] = []
    with armed(Failpoint("a", Action.RAISE, on_action=told.append)), pytest.raises(FailpointReached):
        failpoint("a")
    assert told == ["a"]


def test_hits_of_all_threads_are_counted() -> None:
    point = Failpoint("a", Action.SLEEP, times=0)

    def passes() -> None:
        for _ in range(200):
            failpoint("a")

    with armed(point):
        threads = [threading.Thread(target=passes) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (point.hits, point.faults) == (800, 800)


KILLED = """
import atexit
from tenuto._base.failpoints import Action, Failpoint, armed, failpoint
atexit.register(print, "handlers ran")
with armed(Failpoint("a", Action.KILL)):
    try:
        failpoint("a")
    finally:
        print("went on", flush=True)
"""


def test_kill_runs_nothing_more() -> None:
    done = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")


# ------------------------------------------------------------------------------------ nobody else arms them


def test_no_environment_arms_a_process(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text('{"points": [{"name": "a", "action": "kill"}]}')
    values = ["a=kill", str(plan), "0"]
    names = [
        "FAILPOINT",
        "FAILPOINTS",
        "FAILPOINTS_FD",
        "FAILPOINTS_PLAN",
        "BASE__FAILPOINTS",
        "TESTS__FAILPOINTS",
    ]
    program = (
        "import tenuto.cli; from tenuto._base import failpoints as f; f.failpoint('a'); print(f._points)"
    )
    for value in values:
        given = {
            prefix + name: value for name in names for prefix in ("", "TENUTO_", "TENUTO__", "PREFECT__")
        }
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **given},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "{}\n"), done.stderr


def test_module_reads_no_environment_argument_or_file() -> None:
    tree = ast.parse(Path(failpoints.__file__).read_text(encoding="utf-8"))
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not names & {"environ", "environb", "getenv", "argv", "open", "fdopen", "read", "stdin", "config"}
    assert imported == {"errno", "os", "signal", "threading", "time"}


def test_nothing_of_the_package_arms_a_point() -> None:
    takes: dict[str, set[str]] = {}
    texts = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    for path in [path for path, text in texts.items() if "failpoints" in text]:
        for node in ast.walk(ast.parse(texts[path])):
            if isinstance(node, ast.ImportFrom) and node.module == "tenuto._base.failpoints":
                takes.setdefault(path.name, set()).update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module == "tenuto._base":
                assert "failpoints" not in {alias.name for alias in node.names}, path
            elif isinstance(node, ast.Import):
                assert "tenuto._base.failpoints" not in {alias.name for alias in node.names}, path
    assert takes
    assert set().union(*takes.values()) <= {"failpoint", "ExecutedButTimedOut", "FailpointReached"}
