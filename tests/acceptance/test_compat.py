"""Files that say `import prefect`, run as they are (R-REAL)."""

import sys
from pathlib import Path

import pytest

from tests.acceptance.commands import shell, tenuto

OLD = """
import subprocess
from datetime import datetime, timedelta, timezone

import prefect
from prefect import Flow, Parameter, case, task, unmapped
from prefect.core.task import Task
from prefect.engine import signals
from prefect.engine.executors import LocalDaskExecutor
from prefect.engine.results import LocalResult
from prefect.environments.storage import Docker
from prefect.schedules import IntervalSchedule, filters
from prefect.schedules.clocks import CronClock
from prefect.storage.github import GitHub
from prefect.tasks.control_flow import FilterTask, merge
from prefect.tasks.secrets.base import PrefectSecret
from prefect.utilities.edges import flatten
from prefect.utilities.exceptions import ClientError
from prefect.utilities.tasks import defaults_from_attrs

schedule = IntervalSchedule(start_date=datetime(2021, 1, 1, tzinfo=timezone.utc), interval=timedelta(days=1))


class Add(Task):
    def __init__(self, n=1, **kwargs):
        self.n = n
        super().__init__(**kwargs)

    @defaults_from_attrs("n")
    def run(self, x, n=None):
        import prefect

        prefect.context.get("logger").info("adding %s", n)
        if x == 2:
            raise prefect.engine.signals.SKIP("two")
        return x + n


@task(result=LocalResult(dir="results", location="{task_name}.pkl"), checkpoint=True)
def numbers(count):
    return list(range(count))


@task(trigger=prefect.triggers.all_finished)
def command():
    done = subprocess.run(["prefect", "version"], capture_output=True, text=True)
    return done.stdout.strip()


@task
def total(values):
    return sum(values)


with Flow("old", schedule, executor=LocalDaskExecutor(scheduler="SCHEDULER", num_workers=2)) as flow:
    count = Parameter("count", default=4)
    added = Add(n=10).map(numbers(count))
    kept = FilterTask()(added)
    whole = total(kept)
    with case(whole, 34):
        right = command()

state = None
if __name__ == "__main__":
    state = flow.run(run_on_schedule=False)
    print("whole:", state.result[whole].result)
    print("command:", state.result[right].result, prefect.__version__)
"""
LEFT_OUT = """
import prefect
from prefect import Flow, task
from prefect.engine.result_handlers import ResultHandler
from prefect.executors import SynchronousExecutor
from prefect.tasks.aws.s3 import S3Upload
from prefect.tasks.secrets import Secret
from prefect.tasks.snowflake import SnowflakeQuery
from prefect.utilities.exceptions import PrefectError
from prefect.utilities.graphql import with_args
import prefect.tasks.great_expectations as expectations

class Mine(ResultHandler):
    pass

print(prefect.tasks.docker.CreateContainer.__name__, Secret.__name__, PrefectError.__name__)
for use in (S3Upload, lambda: with_args("flow", {}), SynchronousExecutor, Mine, SnowflakeQuery,
            expectations.RunGreatExpectationsValidation, prefect.tasks.docker.CreateContainer):
    try:
        use()
    except prefect.exceptions.PrefectException as error:
        print(error)
for wrong in ("prefect.run_config.kubernetes", "prefect.engine.nothing", "prefect.flow"):
    try:
        __import__(wrong)
    except ImportError as error:
        print("ImportError", error)
try:
    from prefect.tasks.secrets import Nothing
except ImportError:
    print("ImportError of a name")
"""


@pytest.mark.parametrize("scheduler", ["sync", "threads", "processes"])
def test_old_file_runs_as_it_is(tmp_path: Path, scheduler: str) -> None:
    # R-REAL-1, R-REAL-2, R-REAL-5, R-REAL-17
    (tmp_path / "old_flow.py").write_text(OLD.replace("SCHEDULER", scheduler))
    checkpointing = {"PREFECT__FLOWS__CHECKPOINTING": "true"}
    done = shell([sys.executable, "-m", "tenuto.compat", "old_flow.py"], tmp_path, checkpointing)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("adding 10") == 4
    assert "whole: 34\n" in done.stdout
    version = tenuto("version", cwd=tmp_path).stdout.strip()
    assert f"command: {version} {version}\n" in done.stdout
    assert (tmp_path / "results" / "numbers.pkl").exists()


def test_command_runs_an_old_file(tmp_path: Path) -> None:
    (tmp_path / "old_flow.py").write_text(OLD.replace("SCHEDULER", "processes"))
    done = tenuto("run", "-p", "old_flow.py", "--param", "count=3", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("Flow run succeeded!\n")
    for arguments in (["graph", "-p", "old_flow.py"], ["schedule", "next", "-p", "old_flow.py", "-n", "1"]):
        assert tenuto(*arguments, cwd=tmp_path).returncode == 0


def test_compat_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "old_flow.py").write_text(OLD)
    done = tenuto("run", "-p", "old_flow.py", "--no-compat", cwd=tmp_path)
    assert done.returncode == 1
    assert "No module named 'prefect'" in done.stderr


def test_notebook_imports_it_once(tmp_path: Path) -> None:
    code = (
        "import tenuto.compat.prefect, tenuto\n"
        "import prefect, prefect.engine.state as states\n"
        "from prefect import *\n"
        "assert prefect is tenuto and states is tenuto.engine.state and Flow is tenuto.Flow\n"
        "assert tenuto.engine.state.__spec__.name == 'tenuto.engine.state'\n"
        "import importlib; importlib.reload(tenuto.engine.state)\n"
        "import pickle; assert pickle.loads(pickle.dumps(states.Failed)) is states.Failed\n"
    )
    done = shell([sys.executable, "-c", code], tmp_path)
    assert done.returncode == 0, done.stderr


def test_what_is_left_out_imports_and_fails_at_use(tmp_path: Path) -> None:
    # R-REAL-2, R-REAL-19
    (tmp_path / "left_out.py").write_text(LEFT_OUT)
    done = shell([sys.executable, "-m", "tenuto.compat", "left_out.py"], tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "CreateContainer PrefectSecret PrefectException"
    assert lines[1] == (
        "prefect.tasks.aws.s3.S3Upload is not part of Tenuto. Call boto3 in a task of your own; results go "
        "to S3 by result=S3Result(...)."
    )
    assert all(" is not part of Tenuto. " in line for line in lines[1:8])
    assert [line.partition(" ")[0] for line in lines[8:]] == ["ImportError"] * 4


def installed(folder: Path, version: str) -> dict[str, str]:
    """Install another package `prefect` in a folder, and return the variables by which it is found."""
    package = folder / "site" / "prefect"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"__version__ = {version!r}\nprint('the other prefect')\n")
    about = folder / "site" / f"prefect-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: prefect\nVersion: {version}\n")
    return {"PYTHONPATH": str(folder / "site")}


FLOW = "import prefect\nfrom tenuto import Flow\nprint(prefect.__name__)\nflow = Flow('f')\n"


@pytest.mark.parametrize(
    ("version", "arguments", "expected"),
    [
        ("1.4.1", [], "prefect"),
        ("0.15.13", [], "prefect"),
        ("3.1.0", [], "tenuto"),
        ("1.4.1", ["--compat"], "tenuto"),
        ("3.1.0", ["--no-compat"], "prefect"),
    ],
)
def test_prefect_1_itself_is_left_alone(
    tmp_path: Path, version: str, arguments: list[str], expected: str
) -> None:
    (tmp_path / "flow.py").write_text(FLOW)
    done = tenuto("run", "-p", "flow.py", *arguments, cwd=tmp_path, env=installed(tmp_path, version))
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout.splitlines()
    assert ("the other prefect" in done.stdout) == (expected == "prefect")


def test_folder_of_that_name_beside_the_flow_is_not_meant(tmp_path: Path) -> None:
    # R-REAL-16
    folder = tmp_path / "prefect"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise AssertionError('not this one')\n")
    for place in (tmp_path, folder):
        (place / "flow.py").write_text(FLOW)
        assert tenuto("run", "-p", "flow.py", cwd=place).returncode == 0
        assert shell([sys.executable, "-m", "tenuto.compat", "flow.py"], place).stdout == "tenuto\n"


def test_other_package_that_was_imported_before_is_told(tmp_path: Path) -> None:
    code = "import prefect, tenuto.compat.prefect"
    done = shell([sys.executable, "-c", code], tmp_path, installed(tmp_path, "3.1.0"))
    assert done.returncode == 1
    assert "Another package called `prefect` has been imported already" in done.stderr


def test_script_gets_its_arguments_and_errors_are_told(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import sys, prefect; print(sys.argv, __name__); sys.exit(3)\n")
    done = shell([sys.executable, "-m", "tenuto.compat", "script.py", "--x", "1"], tmp_path)
    assert (done.returncode, done.stdout) == (3, "['script.py', '--x', '1'] __main__\n")
    told = shell([sys.executable, "-m", "tenuto.compat", "--help"], tmp_path)
    assert (told.returncode, told.stdout) == (0, "Usage: python -m tenuto.compat FILE [ARGUMENT...]\n")
    for arguments, message in (
        ([], "Usage: python -m tenuto.compat FILE"),
        (["no.py"], "There is no file 'no.py'"),
    ):
        done = shell([sys.executable, "-m", "tenuto.compat", *arguments], tmp_path)
        assert (done.returncode, message in done.stderr) == (1, True)


def test_migrated_file_runs_without_the_shim(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(OLD.replace("SCHEDULER", "threads"))
    done = tenuto("migrate", "flow.py", "--yes", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "import prefect" not in (tmp_path / "flow.py").read_text()
    done = shell([sys.executable, "flow.py"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "whole: 34\n" in done.stdout


def test_command_goes_with_the_process(tmp_path: Path) -> None:
    # R-REAL-17
    code = (
        "import shutil, tenuto.compat.prefect\n"
        "assert 'tenuto-prefect-' not in str(shutil.which('prefect'))\n"
        "import prefect; print(shutil.which('prefect'))"
    )
    done = shell([sys.executable, "-c", code], tmp_path, {"TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).parent.parent == tmp_path
    assert not Path(done.stdout.strip()).exists()
