"""A script of the first tutorials, with one word replaced, prints the lines that the tutorial shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

# As people have it; nothing but the name of the package is replaced below.
DATA_ENGINEERING = '''
from prefect import task, Flow, Parameter
from prefect.engine.results import LocalResult
from typing import Any, Dict, List
import pandas as pd


@task
def load_data(path: str) -> pd.DataFrame:
    return pd.read_csv(path)


@task
def get_classes(data: pd.DataFrame, target_col: str) -> List[str]:
    """Task for getting the classes from the Iris data set."""
    return sorted(data[target_col].unique())


@task
def encode_categorical_columns(data: pd.DataFrame, target_col: str) -> pd.DataFrame:
    """Task for encoding the categorical columns in the Iris data set."""
    enc = pd.get_dummies(data[target_col], prefix="", prefix_sep="")
    return pd.concat([data.drop(columns=[target_col]), enc], axis=1)


@task(result=LocalResult(dir="data/processed"))
def split_data(data: pd.DataFrame, test_data_ratio: float, classes: list) -> Dict[str, Any]:
    """Task for splitting the classical Iris data set into training and test
    sets, each split into features and labels.
    """
    shuffled = data.sample(frac=1, random_state=1).reset_index(drop=True)
    test = int(len(shuffled) * test_data_ratio)
    x, y = shuffled.drop(columns=classes), shuffled[classes]
    return dict(train_x=x[test:], train_y=y[test:], test_x=x[:test], test_y=y[:test])


with Flow("data-engineer") as flow:

    # Define parameters
    target_col = Parameter("target_col", default="species")
    test_data_ratio = Parameter("test_data_ratio", default=0.2)

    # Define tasks
    data = load_data(path="data/raw/iris.csv")
    categorical_columns = encode_categorical_columns(data=data, target_col=target_col)
    classes = get_classes(data=data, target_col=target_col)
    train_test_dict = split_data(
        data=categorical_columns, test_data_ratio=test_data_ratio, classes=classes
    )

flow.run()
'''

DATA_SCIENCE = """
import numpy as np
from prefect import task, Flow, Parameter
from prefect.engine.results import LocalResult


@task(log_stdout=True)
def report_accuracy(predictions: np.ndarray, test_y) -> None:
    target = np.argmax(test_y, axis=1)
    accuracy = np.sum(predictions == target) / target.shape[0]
    print(f"Model accuracy on test set: {round(accuracy * 100, 2)}")


with Flow("data-science") as flow:
    report_accuracy(np.array([0] * 14 + [1]), np.array([[1, 0]] * 15))

flow.run()
"""

# What the second tutorial shows, without the time in front of each line.
TRANSCRIPT = [
    "Beginning Flow run for 'data-engineer'",
    "Task 'target_col': Starting task run...",
    "Task 'target_col': Finished task run for task with final state: 'Success'",
    "Task 'test_data_ratio': Starting task run...",
    "Task 'test_data_ratio': Finished task run for task with final state: 'Success'",
    "Task 'load_data': Starting task run...",
    "Task 'load_data': Finished task run for task with final state: 'Success'",
    "Task 'encode_categorical_columns': Starting task run...",
    "Task 'encode_categorical_columns': Finished task run for task with final state: 'Success'",
    "Task 'get_classes': Starting task run...",
    "Task 'get_classes': Finished task run for task with final state: 'Success'",
    "Task 'split_data': Starting task run...",
    "Task 'split_data': Finished task run for task with final state: 'Success'",
    "Flow run SUCCESS: all reference tasks succeeded",
]

FLOWERS = """\
sepal_length,sepal_width,petal_length,petal_width,species
5.1,3.5,1.4,0.2,setosa
4.9,3.0,1.4,0.2,setosa
7.0,3.2,4.7,1.4,versicolor
6.4,3.2,4.5,1.5,versicolor
6.3,3.3,6.0,2.5,virginica
5.8,2.7,5.1,1.9,virginica
5.0,3.6,1.4,0.2,setosa
5.7,2.8,4.1,1.3,versicolor
5.9,3.0,5.1,1.8,virginica
5.4,3.9,1.7,0.4,setosa
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "data" / "raw").mkdir(parents=True)
    (folder / "data" / "raw" / "iris.csv").write_text(FLOWERS)
    for name, text in (("data_engineering", DATA_ENGINEERING), ("data_science", DATA_SCIENCE)):
        assert "prefect" in text
        (folder / f"{name}.py").write_text(text.replace("prefect", "tenuto"))
    return folder


def printed(folder: Path, *words: str, **environment: str) -> list[str]:
    """Run a command as a person would, piped; return the lines on its standard output."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, **environment},
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def logged(line: str) -> str:
    """Return what a line in the default format says, at INFO."""
    match = re.fullmatch(
        r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4}\] INFO - tenuto\.(?:FlowRunner|TaskRunner) \| (.*)", line
    )
    assert match, line
    return match[1]


def test_script_prints_the_transcript(project: Path) -> None:
    # R-LOG-2, R-PARAM-3, R-GRAPH-6; spec 00 S-1, S-2, S-4, S-6
    lines = printed(project, "data_engineering.py")
    assert [logged(line) for line in lines] == TRANSCRIPT
    assert " - tenuto.FlowRunner | Beginning" in lines[0]
    assert " - tenuto.TaskRunner | Task 'target_col'" in lines[1]


def test_command_prints_the_transcript(project: Path) -> None:
    # R-CRUN-3, R-RUN-3; spec 00 S-5
    first, second, *lines, last = printed(project, "-m", "tenuto", "run", "-p", "data_engineering.py")
    assert first == "Retrieving local flow... Done"
    assert second == "Running flow locally..."
    assert last == "Flow run succeeded!"
    shown = [re.fullmatch(r"└── \d\d:\d\d:\d\d \| INFO    \| (.*)", line) for line in lines]
    assert [match and match[1] for match in shown] == TRANSCRIPT


@pytest.mark.parametrize(
    "option", [("--param", "test_data_ratio=0.3"), ("--param-file", "params.json")], ids=["param", "file"]
)
def test_command_takes_parameters_as_the_tutorial_gives_them(project: Path, option: tuple[str, str]) -> None:
    # R-CRUN-2, R-CRUN-3; spec 00 S-5
    (project / "params.json").write_text('{"test_data_ratio": 0.3}')
    lines = printed(project, "-m", "tenuto", "run", "-p", "data_engineering.py", *option)
    assert lines[:5] == [
        "Retrieving local flow... Done",
        "Configured local flow run",
        "└── Parameters: {'test_data_ratio': 0.3}",
        "└── Context: {}",
        "Running flow locally...",
    ]


@pytest.mark.parametrize("prefix", ["TENUTO", "PREFECT"])
def test_output_is_saved_where_the_tutorial_saves_it(project: Path, prefix: str) -> None:
    # R-CKPT-1, R-LOC-5, R-CFG-3; spec 00 S-8
    printed(project, "data_engineering.py", **{f"{prefix}__FLOWS__CHECKPOINTING": "true"})
    names = [path.name for path in (project / "data" / "processed").iterdir() if path.name[0] != "."]
    assert len(names) == 1
    assert re.fullmatch(r"(prefect|tenuto)-result-\d{4}-\d\d-\d\dt\d\d-\d\d-\d\d-\d{6}-00-00", names[0])
    read = (
        "from tenuto.engine.results import LocalResult\n"
        f"saved = LocalResult(dir='data/processed').read(location={names[0]!r}).value\n"
        "print(len(saved['test_x']), sorted(saved))"
    )
    assert printed(project, "-c", read) == ["2 ['test_x', 'test_y', 'train_x', 'train_y']"]


def test_what_a_task_prints_is_a_line_of_the_log(project: Path) -> None:
    # R-LOG-2, R-LOG-6; spec 00 S-13, S-17, S-18
    lines = [logged(line) for line in printed(project, "data_science.py")]
    assert lines[2] == "Model accuracy on test set: 93.33"
    assert lines[1] == "Task 'report_accuracy': Starting task run..."


def test_flow_that_runs_inside_of_its_block_is_told_what_to_do(project: Path) -> None:
    # R-RUN-2; spec 00 S-3
    path = project / "data_engineering.py"
    path.write_text(path.read_text().replace("\nflow.run()\n", "\n    flow.run()\n"))
    done = subprocess.run(
        [sys.executable, path.name], cwd=project, text=True, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "RuntimeError: Don't call `flow.run()` from within a `Flow` context manager." in done.stderr
    assert not done.stdout
