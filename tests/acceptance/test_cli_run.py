"""`tenuto run` as a user starts it, with pipes for its streams."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.commands import SECONDS_MAX, TENUTO, environment, shell, tenuto

# The flow of the first tutorial, as far as the transcript in the second one shows it.
DATA_ENGINEER = """
from typing import Any, Dict, List
from tenuto import Flow, Parameter, task

@task
def load_data(path: str) -> list:
    return [path]

@task
def get_classes(data: list, target_col: str) -> List[str]:
    return [target_col]

@task
def encode_categorical_columns(data: list, target_col: str) -> list:
    return data

@task
def split_data(data: list, test_data_ratio: float, classes: list) -> Dict[str, Any]:
    return {"ratio": test_data_ratio}

with Flow("data-engineer") as flow:
    target_col = Parameter("target_col", default="species")
    test_data_ratio = Parameter("test_data_ratio", default=0.2)
    data = load_data(path="data/raw/iris.csv")
    categorical_columns = encode_categorical_columns(data=data, target_col=target_col)
    classes = get_classes(data=data, target_col=target_col)
    train_test_dict = split_data(data=categorical_columns, test_data_ratio=test_data_ratio, classes=classes)

if __name__ == "__main__":
    flow.run()
"""
TASKS = [
    "target_col",
    "test_data_ratio",
    "load_data",
    "encode_categorical_columns",
    "get_classes",
    "split_data",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "data_engineering.py").write_text(DATA_ENGINEER)
    return folder


def messages(output: str) -> list[str]:
    return re.findall(r"^└── \d\d:\d\d:\d\d \| INFO    \| (.*)$", output, re.MULTILINE)


def test_the_tutorials_run_prints_the_lines_of_its_transcript(folder: Path) -> None:
    # spec/00 S-5, S-6; R-CRUN-3, R-CLI-18, R-CLI-19
    done = tenuto("run", "-p", "data_engineering.py", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    expected = ["Beginning Flow run for 'data-engineer'"]
    for name in TASKS:
        expected += [
            f"Task '{name}': Starting task run...",
            f"Task '{name}': Finished task run for task with final state: 'Success'",
        ]
    expected += ["Flow run SUCCESS: all reference tasks succeeded"]
    assert messages(done.stdout) == expected
    lines = done.stdout.splitlines()
    assert lines[:2] == ["Retrieving local flow... Done", "Running flow locally..."]
    assert lines[-1] == "Flow run succeeded!"
    assert len(lines) == len(expected) + 3
    assert "\x1b" not in done.stdout


def test_parameters_of_the_tutorial(folder: Path) -> None:  # spec/00 S-5; R-CRUN-2, R-CLI-18
    one = tenuto("run", "-p", "data_engineering.py", "--param", "test_data_ratio=0.2", cwd=folder)
    assert "\n└── Parameters: {'test_data_ratio': 0.2}\n" in one.stdout
    (folder / "params.json").write_text('{"test_data_ratio": 0.3}')
    two = shell("tenuto run -p data_engineering.py --param-file='params.json' --json", folder)
    assert json.loads(two.stdout)["parameters"] == {"target_col": "species", "test_data_ratio": 0.3}


def test_parameters_from_stdin(folder: Path) -> None:  # R-CLI-23
    done = tenuto(
        "run", "-p", "data_engineering.py", "--param-file", "-", cwd=folder, stdin='{"test_data_ratio": 1}'
    )
    assert "└── Parameters: {'test_data_ratio': 1}" in done.stdout
    assert done.returncode == 0


def test_python_m_is_the_same_command(folder: Path) -> None:
    done = shell([sys.executable, "-m", "tenuto", "run", "-p", "data_engineering.py"], folder)
    assert done.stdout.splitlines()[-1] == "Flow run succeeded!"
    assert shell([sys.executable, "-m", "tenuto"], folder).stdout.startswith("Usage: tenuto ")


def test_exit_codes(folder: Path) -> None:  # R-CLI-2
    (folder / "failing.py").write_text(DATA_ENGINEER.replace("return [path]", "raise OSError(path)"))
    assert tenuto("run", "-p", "data_engineering.py", cwd=folder).returncode == 0
    assert tenuto("run", "-p", "failing.py", cwd=folder).returncode == 1
    assert tenuto("run", "-p", "nothing.py", cwd=folder).returncode == 1
    assert tenuto("run", "--no-such-option", cwd=folder).returncode == 2
    assert tenuto("show", "nothing", cwd=folder).returncode == 5


def test_a_script_in_a_folder_called_like_us(tmp_path: Path) -> None:  # R-REAL-16
    folder = tmp_path / "tenuto" / "prefect"
    folder.mkdir(parents=True)
    for package in (tmp_path / "tenuto", folder):
        (package / "__init__.py").write_text("raise RuntimeError('not the package that was meant')")
    (folder / "flow.py").write_text(DATA_ENGINEER + "import os, helper\n")
    (folder / "helper.py").write_text("")
    for cwd, path in ((tmp_path, "tenuto/prefect/flow.py"), (folder, "flow.py")):
        done = tenuto("run", "-p", path, cwd=cwd)
        assert done.returncode == 0, done.stderr


def test_a_module_is_imported_from_the_present_folder(folder: Path) -> None:  # R-CRUN-1
    package = folder / "flows"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "shared.py").write_text("VALUE = 3\n")
    (package / "daily.py").write_text("from .shared import VALUE\n" + DATA_ENGINEER)
    for module in ("flows.daily", "flows.daily.flow"):
        done = tenuto("run", "-m", module, cwd=folder)
        assert done.returncode == 0, done.stderr


def test_what_a_task_imports_later_is_found_beside_the_file(folder: Path, tmp_path: Path) -> None:  # R-CRUN-7
    (folder / "late_helper.py").write_text("VALUE = 3\n")
    text = DATA_ENGINEER.replace("return [path]", "import late_helper\n    return [late_helper.VALUE]")
    (folder / "late.py").write_text(text)
    assert tenuto("run", "-p", "project/late.py", cwd=tmp_path).returncode == 0


def test_the_old_variable_prefix_counts(folder: Path) -> None:  # R-CLI-100
    done = tenuto("config", cwd=folder, env={"PREFECT__FLOWS__CHECKPOINTING": "true"})
    assert json.loads(done.stdout)["flows"]["checkpointing"] is True


def test_a_settings_file_that_is_no_toml_is_named(folder: Path, tenuto_home: Path) -> None:
    tenuto_home.mkdir()
    (tenuto_home / "config.toml").write_text("[logging\n")
    done = tenuto("history", cwd=folder)
    assert done.returncode != 0
    assert "cannot be used: it is not TOML" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_terminals_of_other_encodings_get_ascii_signs(folder: Path, encoding: str) -> None:  # R-CLI-7
    done = tenuto(
        *("run", "-p", "data_engineering.py", "--param", "target_col=名\udcff"),
        cwd=folder,
        env={"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
    )
    assert done.returncode == 0, done.stderr
    assert "|-- Parameters: {'target_col': '\\u540d\\udcff'}" in done.stdout


def test_a_reader_that_has_gone_does_not_stop_the_run(folder: Path, tenuto_home: Path) -> None:
    (folder / "many.py").write_text(
        DATA_ENGINEER.replace("return [path]", "print('x' * 200_000)\n    return [path]")
    )
    done = shell("tenuto run -p many.py | head -n 1", folder)
    assert done.stderr == ""
    assert done.stdout.splitlines()[0] == "Retrieving local flow... Done"
    listed = tenuto("history", "--json", cwd=folder)
    assert [run["state"]["type"] for run in json.loads(listed.stdout)] == ["Success"]


def test_a_reader_of_history_that_has_gone_is_no_error(folder: Path) -> None:
    for _ in range(2):
        tenuto("run", "-q", "-p", "data_engineering.py", cwd=folder)
    done = shell("tenuto history | head -n 1", folder)
    assert (done.stderr, done.stdout.split()[:3]) == ("", ["NAME", "FLOW", "STATE"])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_one_line(folder: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [TENUTO, "version"],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            timeout=SECONDS_MAX,
        )
    assert done.returncode == 1
    assert done.stderr == "The output cannot be written: No space left on device\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_run_goes_on_when_its_lines_cannot_be_printed(folder: Path) -> None:
    (folder / "careful.py").write_text(
        DATA_ENGINEER.replace(
            "return [path]", "__import__('tenuto').context.logger.error('careful')\n    return []"
        )
    )
    done = shell("tenuto run -q -p careful.py > /dev/full && tenuto history --no-headers", folder)
    assert done.stderr == "No more log lines are printed: No space left on device.\n"
    assert "Success" in done.stdout


def test_closed_streams_do_no_harm(folder: Path) -> None:
    assert shell("tenuto run -p data_engineering.py >&- 2>&-", folder).returncode == 0


def test_completion_of_the_shell_knows_runs_and_flows(folder: Path) -> None:  # R-CLI-8
    tenuto("run", "-q", "-p", "data_engineering.py", "--run-name", "swift-otter", cwd=folder)

    def completed(words: str) -> str:
        env = {
            "_TENUTO_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split())),
        }
        return tenuto(cwd=folder, env=env).stdout

    assert "plain,history" in completed("tenuto ")
    assert "plain,swift-otter" in completed("tenuto show ")
    assert "plain,data-engineer" in completed("tenuto history --flow ")
