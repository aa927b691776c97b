"""The iris project, as somebody who copied it would use it: in a folder of its own, run by real commands."""

import ast
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.snippets import ROOT

PROJECT = ROOT / "examples" / "iris"
TENUTO = [str(Path(sys.executable).parent / "tenuto")]
ACCURACY = re.compile(r"Model accuracy on test set: (\d+\.\d+)$", re.MULTILINE)
# The bundled data, the shuffle's seed and the training are fixed, so this figure is too.
EXPECTED = "93.33"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Copy the project, without data that somebody may have left in the original."""
    copied = tmp_path / "iris"
    shutil.copytree(PROJECT, copied, ignore=shutil.ignore_patterns("data", "__pycache__"))
    return copied


@pytest.fixture
def raw_data(project: Path) -> Path:
    """Save the raw data beforehand, with less than scikit-learn; returns the project."""
    from sklearn.datasets import load_iris

    iris = load_iris(as_frame=True)
    data = iris.data.set_axis(["sepal_length", "sepal_width", "petal_length", "petal_width"], axis=1)
    (project / "data" / "raw").mkdir(parents=True)
    data.assign(species=iris.target_names[iris.target]).to_csv(project / "data/raw/iris.csv", index=False)
    return project


def run(*command: str, cwd: Path, code: int = 0) -> str:
    """Run a command in a folder and return what it printed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "PYTHONWARNINGS": "error", "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def python(file: Path, cwd: Path, code: int = 0) -> str:
    return run(sys.executable, str(file), cwd=cwd, code=code)


def final_states(output: str) -> dict[str, str]:
    """Return the final state of each task as the lines of a run tell it."""
    return dict(re.findall(r"Task '([^']+)': Finished task run for task with final state: '(\w+)'", output))


def test_both_flows_run_as_scripts_from_another_folder(project: Path, tmp_path: Path) -> None:
    # spec/00 S-1, S-2, S-9, S-13, S-16, S-18
    first = python(project / "data_engineering.py", cwd=tmp_path)
    assert set(final_states(first).values()) == {"Success"}
    assert (project / "data" / "raw" / "iris.csv").is_file()
    second = python(project / "data_science.py", cwd=tmp_path)
    assert ACCURACY.search(second)
    assert f"INFO - tenuto.TaskRunner | Model accuracy on test set: {EXPECTED}\n" in second


def test_the_first_flow_leaves_its_split_where_the_other_one_reads_it(raw_data: Path, tmp_path: Path) -> None:
    # spec/00 S-8, S-9: nobody exports a variable for it
    python(raw_data / "data_engineering.py", cwd=tmp_path)
    with (raw_data / "data" / "processed" / "split-0.2.pickle").open("rb") as file:
        split: dict[str, Any] = pickle.load(file)
    assert [len(split[part]) for part in ("train_x", "train_y", "test_x", "test_y")] == [120, 120, 30, 30]
    assert list(split["test_y"].columns) == ["setosa", "versicolor", "virginica"]

    again = python(raw_data / "data_engineering.py", cwd=tmp_path)  # R-TGT-2
    assert final_states(again)["split_data"] == "Cached"


def test_without_a_split_the_second_flow_says_what_to_do(raw_data: Path, tmp_path: Path) -> None:
    output = python(raw_data / "data_science.py", cwd=tmp_path, code=1)
    assert "There is no split-0.2.pickle. Make it: data_engineering.py" in output
    assert "Traceback" not in output


def test_both_flows_run_by_the_command_line_with_other_parameters(raw_data: Path, tmp_path: Path) -> None:
    # spec/00 S-4, S-5, S-6
    first = run(
        *TENUTO,
        *("run", "-p", str(raw_data / "data_engineering.py")),
        *("--param-file", str(raw_data / "params.json")),
        cwd=tmp_path,
    )
    ratio = json.loads((raw_data / "params.json").read_text())["test_data_ratio"]
    assert f"└── Parameters: {{'test_data_ratio': {ratio}}}" in first
    assert first.splitlines()[-1] == "Flow run succeeded!"
    assert {"target_col", "test_data_ratio", "split_data"} <= set(final_states(first))
    assert (raw_data / "data" / "processed" / f"split-{ratio}.pickle").is_file()

    second = run(
        *TENUTO,
        *("run", "-p", str(raw_data / "data_science.py"), "--param", f"test_data_ratio={ratio}"),
        cwd=tmp_path,
    )
    assert re.search(r"└── \d\d:\d\d:\d\d \| INFO    \| Model accuracy on test set: \d+\.\d+\n", second)
    assert second.splitlines()[-1] == "Flow run succeeded!"


def test_the_split_can_be_read_while_another_flow_is_built(raw_data: Path, tmp_path: Path) -> None:
    # spec/00 S-10, S-17, as the tutorial has it: frames of a result file become constants
    python(raw_data / "data_engineering.py", cwd=tmp_path)
    script = raw_data / "tutorial.py"
    script.write_text(
        f"""
from data_science import predict, report_accuracy, train_model
from tenuto import Flow
from tenuto.engine.results import LocalResult

with Flow("data-science") as flow:
    split = LocalResult(dir={str(raw_data / "data/processed")!r}).read(location="split-0.2.pickle").value
    weights = train_model(split["train_x"], split["train_y"], 1000, 0.1)
    predictions = predict(weights, split["test_x"])
    report_accuracy(predictions, test_y=split["test_y"])

flow.run()
"""
    )
    assert ACCURACY.findall(python(script, cwd=tmp_path)) == [EXPECTED]


def test_plain_functions_do_the_same_work(raw_data: Path, tmp_path: Path) -> None:
    """What the benchmark calls the floor must not drift away from what it is the floor of."""
    assert ACCURACY.findall(python(raw_data / "plain_functions.py", cwd=tmp_path)) == [EXPECTED]
    plain = functions(raw_data / "plain_functions.py")
    tasks = functions(raw_data / "data_engineering.py") | functions(raw_data / "data_science.py")
    del tasks["load_split"]
    assert {name: plain[name] for name in tasks} == tasks


def functions(path: Path) -> dict[str, str]:
    """Return name -> text of the top-level functions of a file, without decorators."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = []
            found[node.name] = ast.unparse(node)
    return found
