"""Runs that failed or were killed are continued by real commands, and nothing that finished is repeated."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tenuto.journal.fold import RunView, fold
from tenuto.journal.reader import read_events

SECONDS_MAX = 60.0

# What each task does: it leaves its name in a file, so that nothing that ran can go unnoticed.
PRELUDE = """
import os, time
from pathlib import Path
import tenuto
from tenuto import Flow, Parameter, Task, resource_manager, task, unmapped

HERE = Path(os.environ["PROJECT"])

def did(name):
    fd = os.open(HERE / "did", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{name}\\n".encode())
    os.close(fd)

def is_there(name):
    return (HERE / name).exists()
"""

SIX = """
@task
def first():
    did("1")
    return list(range(2000))

@task
def second(x):
    did("2")
    return len(x)

@task
def third(x):
    did("3")
    return {"rows": x}

@task
def fourth(x):
    did("4")
    if is_there("broken"):
        raise OSError("the source is not there")
    return x["rows"]

@task
def fifth(x):
    did("5")
    if is_there("slow"):
        (HERE / "in fifth").touch()
        time.sleep(60)
    return x + 1

@task
def sixth(x):
    did("6")
    if is_there("broken end"):
        raise OSError("the sink is not there")
    return x + 1

with Flow("six") as flow:
    sixth(fifth(fourth(third(second(first())))))
"""


class Project:
    """A folder with a flow's file, and the commands that a person would give there."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.home = home
        self.environment = {
            **os.environ,
            "PROJECT": str(folder),
            "TENUTO__HOME_DIR": str(home),
            "COLUMNS": "400",
        }

    def write(self, text: str) -> None:
        (self.folder / "flow.py").write_text(PRELUDE + textwrap.dedent(text))

    def edit(self, old: str, new: str) -> None:
        path = self.folder / "flow.py"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def put(self, name: str) -> None:
        (self.folder / name).touch()

    def take_away(self, name: str) -> None:
        (self.folder / name).unlink()

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tenuto", *words],
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def command(self, *words: str, code: int = 0) -> str:
        process = self.start(*words)
        output, _ = process.communicate(timeout=SECONDS_MAX)
        assert process.returncode == code, output
        return output

    def run(self, *words: str, code: int = 0) -> str:
        return self.command("run", "-p", "flow.py", *words, code=code)

    def kill_when(self, is_time: Callable[[], bool], *words: str) -> None:
        """Start a run, and kill it (-9) when it is time."""
        process = self.start("run", "-p", "flow.py", *words)
        try:
            wait_until(is_time)
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()

    def did(self) -> list[str]:
        """Return which tasks ran since this was asked last."""
        path = self.folder / "did"
        names = path.read_text().split("\n")[:-1] if path.exists() else []
        path.unlink(missing_ok=True)
        return names

    def history(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.command("history", "--json"))
        return found

    def run_folder(self, number: int = -1) -> Path:
        """Return the folder of the n-th run, the newest by default: ids sort by age."""
        folders = [path for path in (self.home / "runs").iterdir() if not path.name.startswith(".")]
        return sorted(folders)[number]

    def view(self, number: int = -1) -> RunView:
        return fold(read_events(self.run_folder(number) / "1.journal"))


def wait_until(is_time: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not is_time():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def contents(folder: Path) -> dict[str, str]:
    """Return what is in a folder, each file by the digest of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def lines_about(output: str, text: str) -> list[str]:
    return [line for line in output.splitlines() if text in line]


@pytest.fixture
def project(tmp_path: Path, tenuto_home: Path) -> Project:
    folder = tmp_path / "project"
    folder.mkdir()
    return Project(folder, tenuto_home)


# --------------------------------------------------------------------------------------------- six tasks


def test_resume_runs_exactly_what_is_left_after_a_failure(project: Project) -> None:
    # R-CACHE-12, I-1
    project.write(SIX)
    project.put("broken")
    project.run(code=1)
    assert project.did() == ["1", "2", "3", "4"]
    before = contents(project.run_folder())

    project.take_away("broken")
    output = project.run("--resume")

    assert project.did() == ["4", "5", "6"]
    assert lines_about(output, "runs again") == [
        line for line in output.splitlines() if re.search(r"Task '(fourth|fifth|sixth)' runs again: ", line)
    ]
    assert len(lines_about(output, "runs again")) == 3
    assert contents(project.run_folder(0)) == before
    newest, oldest = project.history()
    assert newest["resumed_from"] == oldest["id"]
    assert (newest["state"]["type"], oldest["state"]["type"]) == ("Success", "Failed")


def test_last_line_of_a_failed_run_is_the_command_that_continues_it(project: Project) -> None:
    project.write(SIX)
    project.put("broken")
    output = project.run(code=1)
    project.did()
    project.take_away("broken")

    last = lines_about(output, " | ")[-1]
    told = re.fullmatch(
        r"└── \d\d:\d\d:\d\d \| INFO    \| 3 results are kept\. To continue this run: (.*)", last
    )
    assert told, last
    words = shlex.split(told[1])
    assert words[0] == "tenuto"
    project.command(*words[1:])
    assert project.did() == ["4", "5", "6"]


def test_resume_runs_exactly_what_is_left_after_kill_9(project: Project) -> None:
    # I-1, I-2, I-19
    project.write(SIX)
    project.put("slow")
    project.kill_when(lambda: (project.folder / "in fifth").exists())
    assert project.did() == ["1", "2", "3", "4", "5"]
    (crashed,) = project.history()
    assert (crashed["state"]["type"], crashed["state"]["cause"]) == ("Failed", "crashed")
    before = contents(project.run_folder())

    project.take_away("slow")
    output = project.run("--resume")

    assert project.did() == ["5", "6"]
    assert "Task 'fifth' runs again: it did not finish." in output
    assert contents(project.run_folder(0)) == before


def test_run_that_was_interrupted_is_continued(project: Project) -> None:
    # R-RUN-17
    project.write(SIX)
    project.put("slow")
    process = project.start("run", "-p", "flow.py")
    wait_until(lambda: (project.folder / "in fifth").exists())
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=SECONDS_MAX)
    assert process.returncode != 0
    assert "Traceback" not in output
    project.did()
    (interrupted,) = project.history()
    assert interrupted["state"]["type"] not in ("Success", "Running")
    before = contents(project.run_folder())
    project.take_away("slow")

    project.run("--resume")

    assert project.did() == ["5", "6"]
    assert contents(project.run_folder(0)) == before


def test_script_is_continued_like_a_command(project: Project) -> None:
    project.write(SIX + '\nif __name__ == "__main__":\n    flow.run(resume=is_there("again"))\n')
    project.put("broken")
    subprocess.run(
        [sys.executable, "flow.py"], cwd=project.folder, env=project.environment, check=True, stdout=-3
    )
    project.take_away("broken")
    project.put("again")
    project.did()
    output = subprocess.run(
        [sys.executable, "flow.py"],
        cwd=project.folder,
        env=project.environment,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    ).stdout
    assert project.did() == ["4", "5", "6"]
    assert "Flow run SUCCESS" in output


def test_resume_of_a_resume_runs_what_is_left_of_both(project: Project) -> None:
    # I-1
    project.write(SIX)
    project.put("broken")
    project.put("broken end")
    project.run(code=1)
    project.take_away("broken")
    project.run("--resume", code=1)
    project.did()
    before = [contents(project.run_folder(number)) for number in (0, 1)]

    project.take_away("broken end")
    project.run("--resume")

    assert project.did() == ["6"]
    assert [contents(project.run_folder(number)) for number in (0, 1)] == before


# -------------------------------------------------------------------------------------------- what changed

HELPERS = """
FACTOR = 2

def scaled(x):
    return FACTOR * x

def unused(x):
    return x

@task
def load():
    did("load")
    return 21

@task
def scale(x):
    did("scale")
    return scaled(x)

@task
def count(x):
    did("count")
    return scaled(1) and 1

@task
def report(x):
    did("report")
    return f"{x} rows"

@task
def summary(x):
    did("summary")
    return f"{x} items"

@task
def publish(a, b):
    did("publish")
    if is_there("broken"):
        raise OSError

with Flow("helpers") as flow:
    rows = load()
    publish(report(scale(rows)), summary(count(rows)))
"""


def test_helper_that_changed_runs_its_tasks_and_what_gets_other_results(project: Project) -> None:
    project.write(HELPERS)
    project.put("broken")
    project.run(code=1)
    project.did()
    project.edit("return FACTOR * x", "return FACTOR * x + 1")
    project.take_away("broken")

    output = project.run("--resume")

    # `count` gives the same as before, so what depends on it alone is not run again.
    assert sorted(project.did()) == ["count", "publish", "report", "scale"]
    for name in ("scale", "count"):
        (line,) = lines_about(output, f"Task '{name}' runs again")
        assert "its code changed" in line
        assert "'scaled'" in line
    (line,) = lines_about(output, "Task 'report' runs again")
    assert "its input 'x' changed" in line
    assert not lines_about(output, "Task 'load' runs again")
    assert not lines_about(output, "Task 'summary' runs again")


def test_constant_of_the_module_counts_as_code_and_what_no_task_names_does_not(project: Project) -> None:
    project.write(HELPERS.replace("return scaled(x)", "return FACTOR * x"))
    project.put("broken")
    project.run(code=1)
    project.did()
    project.edit("FACTOR = 2", "FACTOR = 3")
    project.edit("def unused(x):\n    return x", "def unused(x):\n    return 2 * x")

    output = project.run("--resume", code=1)

    assert sorted(project.did()) == ["publish", "report", "scale"]
    (line,) = lines_about(output, "Task 'scale' runs again")
    assert "'FACTOR'" in line


def test_comment_and_place_of_a_task_are_not_its_code(project: Project) -> None:
    project.write(HELPERS)
    project.put("broken")
    project.run(code=1)
    project.did()
    project.edit("\nFACTOR = 2\n", "\n\n\n# Twice as much.\nFACTOR = 2\n")
    project.take_away("broken")
    project.run("--resume")
    assert project.did() == ["publish"]


PARAMETERS = """
@task
def load(path):
    did("load")
    return [path]

@task
def clean(rows, ratio):
    did("clean")
    return rows * ratio

@task
def count(rows):
    did("count")
    return len(rows)

@task
def publish(cleaned, counted):
    did("publish")
    if is_there("broken"):
        raise OSError
    (HERE / "published").write_text(f"{cleaned} {counted}")

with Flow("parameters") as flow:
    ratio = Parameter("ratio", default=2)
    rows = load(Parameter("path", default="a"))
    publish(clean(rows, ratio), count(rows))
"""


def test_resume_takes_the_parameters_of_the_run_it_continues(project: Project) -> None:
    project.write(PARAMETERS)
    project.put("broken")
    project.run("--param", "ratio=3", "--param", "path=z", code=1)
    project.did()
    project.take_away("broken")

    project.run("--resume")

    assert project.did() == ["publish"]
    assert (project.folder / "published").read_text() == "['z', 'z', 'z'] 1"
    assert project.history()[0]["parameters"] == {"ratio": 3, "path": "z"}


def test_parameter_given_on_resume_wins_and_what_it_touches_runs_again(project: Project) -> None:
    project.write(PARAMETERS)
    project.put("broken")
    project.run("--param", "ratio=3", "--param", "path=z", code=1)
    project.did()
    project.take_away("broken")

    output = project.run("--resume", "last", "--param", "ratio=1")

    assert sorted(project.did()) == ["clean", "publish"]
    assert (project.folder / "published").read_text() == "['z'] 1"
    assert "Task 'clean' runs again: its input 'ratio' changed." in output


MAPPED = """
@task(checkpoint=False)
def pages():
    return (HERE / "pages").read_text().split()

@task
def fetch(page):
    did(page)
    if page == "c" and is_there("broken"):
        raise OSError
    return page.upper()

@task
def again(text):
    did(f"again {text}")
    return text * 2

@task
def join(texts):
    did("join")
    (HERE / "joined").write_text(" ".join(texts))

with Flow("mapped") as flow:
    join(again.map(fetch.map(pages())))
"""


def test_children_are_matched_by_what_they_get_not_by_their_place(project: Project) -> None:
    # R-MAP-17
    project.write(MAPPED)
    project.put("broken")
    (project.folder / "pages").write_text("a b c")
    project.run(code=1)
    assert project.did() == ["a", "b", "c", "again A", "again B"]
    project.take_away("broken")
    (project.folder / "pages").write_text("c b d a")

    project.run("--resume")

    assert project.did() == ["c", "d", "again C", "again D", "join"]
    assert (project.folder / "joined").read_text() == "CC BB DD AA"


def test_children_without_inputs_are_matched_by_their_place(project: Project) -> None:
    project.write("""
    @task
    def pages():
        return [1, 2, 3]

    @task
    def step():
        index = tenuto.context.map_index
        did(index)
        if index == 1 and is_there("broken"):
            raise OSError
        return index

    with Flow("unkeyed") as flow:
        step.map(upstream_tasks=[pages()])
    """)
    project.put("broken")
    project.run(code=1)
    assert project.did() == ["0", "1", "2"]
    project.take_away("broken")
    project.run("--resume")
    assert project.did() == ["1"]


# ------------------------------------------------------------------------------------------- what is not kept

KEPT = """
@task
def big():
    did("big")
    return ["row"] * 3000

@task
def other():
    did("other")
    return ["line"] * 3000

@task
def use(rows, lines):
    did("use")
    if is_there("broken"):
        raise OSError
    (HERE / "used").write_text(f"{len(rows)} {len(lines)}")

with Flow("kept") as flow:
    use(big(), other())
"""


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def damage(path: Path) -> None:
    """Change one letter: what is read would be a list of texts all the same."""
    data = path.read_bytes()
    position = data.index(b"row", len(data) // 2)
    path.write_bytes(data[:position] + b"raw" + data[position + 3 :])


def empty(path: Path) -> None:
    os.truncate(path, 0)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [truncate, damage, empty, Path.unlink, make_folder])
def test_kept_result_that_is_spoiled_costs_a_warning_and_a_run_of_its_task(
    project: Project, spoil: Callable[[Path], None]
) -> None:
    # I-12, S-10
    project.write(KEPT)
    project.put("broken")
    project.run(code=1)
    project.did()
    ref = next(task.result for (slug, _), task in project.view().tasks.items() if slug == "big-1")
    assert ref is not None
    assert ref.kind == "kept"
    spoil(project.run_folder() / "kept" / ref.location)
    project.take_away("broken")

    output = project.run("--resume")

    assert project.did() == ["big", "use"]
    assert (project.folder / "used").read_text() == "3000 3000"
    (line,) = lines_about(output, "Task 'big' runs again")
    assert "| WARNING |" in line
    assert len(lines_about(output, "WARNING")) == 1


def test_tasks_whose_results_are_not_to_be_kept_run_again(project: Project) -> None:
    # R-CACHE-11, R-RM-6, R-SEC-5
    project.environment["TENUTO__CONTEXT__SECRETS__TOKEN"] = "a-secret-value"
    project.write("""
    import threading
    from tenuto.tasks.secrets import PrefectSecret

    class Secret(PrefectSecret):
        def run(self, name=None):
            did("secret")
            return super().run(name)

    @resource_manager
    class Database:
        def setup(self):
            did("set up")
            return {"open": True}

        def cleanup(self, handle):
            did("clean up")

    @task
    def lock():
        did("lock")
        return threading.Lock()

    @task(checkpoint=False)
    def fresh():
        did("fresh")
        return 1

    @task
    def kept(token):
        did("kept")
        return len(token)

    @task
    def insert(handle, held, number, length):
        did("insert")
        assert handle == {"open": True}
        if is_there("broken"):
            raise OSError
        return number + length

    with Flow("unkept") as flow:
        length = kept(Secret("TOKEN"))
        with Database() as handle:
            insert(handle, lock(), fresh(), length)
    """)
    project.put("broken")
    output = project.run(code=1)
    assert sorted(project.did()) == ["clean up", "fresh", "insert", "kept", "lock", "secret", "set up"]
    assert len(lines_about(output, "'lock-1'")) + len(lines_about(output, "'lock': its result")) == 1
    assert "Task 'lock': Finished task run for task with final state: 'Success'" in output
    project.take_away("broken")

    project.run("--resume")

    assert sorted(project.did()) == ["clean up", "fresh", "insert", "lock", "secret", "set up"]
    for path in project.home.rglob("*"):
        assert not path.is_file() or b"a-secret-value" not in path.read_bytes()


# ------------------------------------------------------------------------------------------- more than one


def test_run_that_is_still_going_is_not_continued(project: Project) -> None:
    project.write(SIX)
    project.put("slow")

    def is_refused() -> bool:
        if not (project.folder / "in fifth").exists():
            return False
        before = contents(project.run_folder())
        project.did()
        for wanted in ((), ("last",), (project.history()[0]["name"],)):
            output = project.run("--resume", *wanted, code=1)
            assert "is still going" in output
            assert "Traceback" not in output
        assert project.did() == []
        assert contents(project.run_folder()) == before
        return True

    project.kill_when(is_refused)
    assert len(project.history()) == 1


def test_two_resumes_at_once_do_not_disturb_each_other(project: Project) -> None:
    project.write(SIX)
    project.put("broken")
    project.run(code=1)
    project.did()
    before = contents(project.run_folder())
    project.take_away("broken")
    run_id = project.history()[0]["id"]

    both = [project.start("run", "-p", "flow.py", "--resume", run_id) for _ in range(2)]
    for process in both:
        output, _ = process.communicate(timeout=SECONDS_MAX)
        assert process.returncode == 0, output

    assert Counter(project.did()) == {"4": 2, "5": 2, "6": 2}
    assert contents(project.run_folder(0)) == before
    for number in (1, 2):
        view = project.view(number)
        assert view.is_successful
        assert view.header.resumed_from == run_id
        assert [task.state for task in view.tasks.values()] == ["Cached"] * 3 + ["Success"] * 3


def test_run_that_is_not_there_is_one_clear_error(project: Project) -> None:
    project.write(SIX)
    output = project.run("--resume", code=1)
    assert "There is no unsuccessful run of flow 'six'" in output
    assert "Traceback" not in output
    output = project.run("--resume", "swift-nobody", code=1)
    assert "No run 'swift-nobody' is recorded here." in output
    assert "Traceback" not in output
    assert project.did() == []


# ------------------------------------------------------------------------------------------ kill -9 at random

# One process that forks the runs: starting Python anew for each would take most of the test's time.
DRIVER = """
import json, random, signal, sys
from tenuto.configuration import home_path
from tenuto.journal.fold import fold
from tenuto.journal.home import Home
from tenuto.journal.reader import read_events
from tenuto.journal.runs import list_runs, read_run
import tenuto.engine.launch, tenuto.engine.flow_runner, tenuto.engine.resume  # noqa: E401

@task
def chunk(number):
    did(f"chunk {number}")
    time.sleep(0.002)
    return [number] * 1500

@task
def pages():
    did("pages")
    return list(range(4))

@task
def page(number):
    did(f"page {number}")
    time.sleep(0.002)
    return number * 10

@task
def total(chunks, numbers):
    did("total")
    return len(chunks) + sum(numbers)

with Flow("random kills") as flow:
    total([chunk(n) for n in range(5)], page.map(pages()))

NAMES = {**{(f"chunk-{n + 1}", -1): f"chunk {n}" for n in range(5)}, ("pages-1", -1): "pages",
         **{("page-1", n): f"page {n}" for n in range(4)}, ("total-1", -1): "total"}
HOME = Home(home_path())
DEVNULL = os.open(os.devnull, os.O_WRONLY)

def runs():
    return sorted(HOME.run_ids())

def journal_bytes(known):
    '''Return how long the journal of the run that just began is.'''
    sizes = [0]
    for run in set(runs()) - known:
        path = HOME.run_folder(run) / "1.journal"
        sizes.append(path.stat().st_size if path.exists() else 0)
    return max(sizes)

def started(resume, kill_at):
    '''Run the flow in a process of its own; kill it when its journal is that long; return how it ended.'''
    known = set(runs())
    pid = os.fork()
    if pid == 0:
        os.dup2(DEVNULL, 1)
        code = 70
        try:
            code = 0 if flow.run(resume=resume).is_successful() else 1
        finally:
            os._exit(code)
    while kill_at is not None:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        if journal_bytes(known) >= kill_at:
            os.kill(pid, signal.SIGKILL)
            break
    return os.waitpid(pid, 0)[1]

def one(seed, whole):
    rng = random.Random(seed)
    finished, kills, repeated, killed_states, known = set(), 0, [], [], set(runs())
    (HERE / "did").unlink(missing_ok=True)
    first = True
    for attempt in range(5):
        last = attempt == 4
        at = None if last else rng.uniform(0, whole)
        status = started(not first, at)
        mine = [run for run in runs() if run not in known]
        ran = (HERE / "did").read_text().split("\\n")[:-1] if is_there("did") else []
        (HERE / "did").unlink(missing_ok=True)
        repeated += [name for name in ran if name in finished]
        for run in mine:
            view = read_run(HOME, run)
            if view is None:
                continue
            first = False
            finished |= {NAMES[key] for key in NAMES if key in view.tasks and view.tasks[key].is_successful}
        known |= set(mine)
        if os.WIFSIGNALED(status):
            kills += 1
            if mine and read_run(HOME, mine[-1]) is not None:
                summary = list_runs(HOME, limit=1)[0]
                killed_states.append([summary.state, summary.cause])
                if summary.state == "Success":
                    break
        elif os.WEXITSTATUS(status) == 0:
            break
        else:
            raise SystemExit(f"seed {seed}: exit status {status}")
    view = read_run(HOME, runs()[-1])
    return {"seed": seed, "kills": kills, "repeated": repeated, "states": killed_states,
            "end": view.state, "missing": sorted(set(NAMES.values()) - finished)}

assert started(False, None) == 0
whole = journal_bytes(set())
for seed in map(int, sys.argv[1:]):
    print(json.dumps(one(seed, whole)), flush=True)
"""


def test_kill_9_at_random_points_repeats_no_recorded_success(project: Project) -> None:
    # I-1, I-2, I-12
    project.write(DRIVER)
    done = subprocess.run(
        [sys.executable, "flow.py", *map(str, range(20))],
        cwd=project.folder,
        env={**project.environment, "TENUTO__LOGGING__LEVEL": "ERROR"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=4 * SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    seeds = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(seeds) == 20
    for seed in seeds:
        assert not seed["repeated"], seed
        assert not seed["missing"], seed
        assert seed["end"] == "Success", seed
        assert all(state in (["Failed", "crashed"], ["Success", ""]) for state in seed["states"]), seed
    assert sum(seed["kills"] for seed in seeds) >= 20
    assert sum(state == ["Failed", "crashed"] for seed in seeds for state in seed["states"]) >= 20


def test_result_that_was_not_yet_taken_over_is_found_in_the_run_before(project: Project) -> None:
    """A resume is killed before it reaches what an earlier run has finished; the next resume still has it."""
    # I-1
    project.write("""
    @task
    def stops():
        did("stops")
        if is_there("broken"):
            raise OSError
        if is_there("slow"):
            (HERE / "waiting").touch()
            time.sleep(60)
        return 1

    @task
    def finished():
        did("finished")
        return list(range(2000))

    @task
    def end(a, b):
        did("end")

    with Flow("chain") as flow:
        end(stops(), finished())
    """)
    project.put("broken")
    project.run(code=1)
    assert project.did() == ["stops", "finished"]
    project.take_away("broken")
    project.put("slow")
    project.kill_when(lambda: (project.folder / "waiting").exists(), "--resume")
    assert project.did() == ["stops"]
    project.take_away("slow")

    project.run("--resume")

    assert project.did() == ["stops", "end"]
