from pathlib import Path

import pytest

from tests.unit.cli.command_line import CommandLine

FLOW = """
print("noise while loading")
from tenuto import Flow, Parameter, task
@task
def double(x):
    return 2 * x
with Flow("doubling") as flow:
    double(Parameter("n", default=1))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "flow.py"
    file.write_text(FLOW)
    return file


def test_a_flow_is_a_tree_of_text(cli: CommandLine, path: Path) -> None:  # R-CLI-3
    done = cli("graph", "-p", path)
    assert (done.code, done.err) == (0, "noise while loading\n")
    assert done.out == "doubling\n└── n (parameter, default 1)\n    └── double\n"


def test_mermaid_goes_to_a_file(cli: CommandLine, path: Path, tmp_path: Path) -> None:
    picture = tmp_path / "flow.md"
    assert cli("graph", "-p", path, "--format", "mermaid", "-o", picture).out == ""
    assert picture.read_text().startswith("flowchart TD\n")


def test_dot_is_graphviz(cli: CommandLine, path: Path) -> None:
    pytest.importorskip("graphviz")
    assert "digraph {" in cli("graph", "-p", path, "--format", "dot").out


def test_a_file_that_cannot_be_written(cli: CommandLine, path: Path, tmp_path: Path) -> None:
    done = cli("graph", "-p", path, "-o", tmp_path / "no" / "flow.txt")
    assert done.code == 1
    assert done.err.splitlines()[-1].endswith("No such file or directory")


def test_a_broken_flow_is_reported_as_by_run(cli: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "flow.py"
    file.write_text("1 / 0")
    done = cli("graph", "-p", file)
    assert done.code == 1
    assert done.err.splitlines()[0] == f"{file} could not be loaded:"
    assert done.err.splitlines()[-1] == "ZeroDivisionError: division by zero"


def test_no_flow_at_all(cli: CommandLine) -> None:
    done = cli("graph")
    assert done.code == 1
    assert done.err.startswith("Error: Received no options to look up the flow.\n")
