"""The scripts behind `make` find what they need on machines that are not tidy."""

import os
import subprocess
from pathlib import Path

from tests.snippets import ROOT


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def find_python(version: str, folder: Path) -> str:
    """Ask the scripts for a Python, with `folder`/pyenv as pyenv's and `folder`/bin first on the PATH."""
    path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", f"source scripts/common.sh; find_python {version}"],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "PYENV_ROOT": str(folder / "pyenv")},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def test_python_that_does_not_run_is_passed_over(tmp_path: Path) -> None:
    program(tmp_path / "pyenv/versions/3.98.1/bin/python", "exit 127")
    program(tmp_path / "pyenv/versions/3.98.0/bin/python", "echo 3.97")
    works = program(tmp_path / "bin/python3.98", "echo 3.98")
    assert find_python("3.98", tmp_path) == str(works)


def test_newest_python_of_pyenv_comes_before_that_of_the_path(tmp_path: Path) -> None:
    program(tmp_path / "bin/python3.98", "echo 3.98")
    program(tmp_path / "pyenv/versions/3.98.9/bin/python", "echo 3.98")
    newest = program(tmp_path / "pyenv/versions/3.98.10/bin/python", "echo 3.98")
    assert find_python("3.98", tmp_path) == str(newest)


def test_no_python_is_found_where_only_a_shim_is(tmp_path: Path) -> None:
    program(tmp_path / "bin/python3.98", "echo 'pyenv: python3.98: command not found' >&2; exit 127")
    assert find_python("3.98", tmp_path) == ""
