"""The command line in this process: what it changes is put back."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenuto.cli import main
from tests.unit.cli.command_line import CommandLine, Done


@pytest.fixture
def process_restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put back what loading a flow changes in its process."""
    monkeypatch.setattr(sys, "argv", ["tenuto"])
    monkeypatch.setattr(sys, "path", sys.path[:])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name == "<flow>" or not name.startswith(("tenuto", "rich", "click")):
            del sys.modules[name]


@pytest.fixture
def cli(process_restored: None, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """Run the command line with some arguments."""

    def run(*arguments: str | Path) -> Done:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Done(code, printed.out, printed.err)

    return run
