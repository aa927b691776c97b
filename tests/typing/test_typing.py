"""What a type checker says of flows: the tutorials are accepted, mistakes are found."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent
ERROR = re.compile(r"^(?P<file>.*?):(?P<line>\d+): error: .*\[(?P<code>[a-z-]+)\]$")

Found = dict[str, dict[int, set[str]]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """
    Return file -> line -> codes of the errors in this folder, by one call: it has to read all of Tenuto.

    In a process of its own: mypy raises the recursion limit of the process it is in, for all later tests.
    """
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--follow-imports=silent",
            f"--config-file={ROOT / 'pyproject.toml'}",
            f"--cache-dir={tmp_path_factory.mktemp('mypy')}",
            str(FOLDER / "iris.py"),
            str(FOLDER / "errors.py"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr
    errors: Found = {}
    for match in filter(None, map(ERROR.match, done.stdout.splitlines())):
        lines = errors.setdefault(Path(match["file"]).name, {})
        lines.setdefault(int(match["line"]), set()).add(match["code"])
    return errors


def test_flows_of_the_tutorials_are_accepted_in_strict_mode(found: Found) -> None:
    assert found.keys() <= {"errors.py"}, found


def test_each_mistake_is_found_where_it_is_and_nothing_else(found: Found) -> None:
    lines = (FOLDER / "errors.py").read_text(encoding="utf-8").splitlines()
    expected = {
        number: set(match[1].split(", "))
        for number, line in enumerate(lines, start=1)
        if (match := re.search(r"# error: ([a-z, -]+)$", line))
    }
    assert len(expected) > 15
    assert found["errors.py"] == expected
