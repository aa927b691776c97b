"""The root command: help, unknown commands, the version, errors that nobody foresaw."""

import json
import os
import subprocess
import sys

import pytest

import tenuto.journal.runs
from tenuto.cli.app import COMMANDS
from tests.unit.cli.command_line import CommandLine


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_help_lists_the_commands_in_their_groups(cli: CommandLine, arguments: list[str]) -> None:  # R-CLI-1
    done = cli(*arguments)
    assert done.code == 0
    headings = [line for line in done.out.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings == ["Options:", "Query:", "Action:", "Setup:", "Miscellaneous:"]
    for entry in COMMANDS:
        assert f"\n  {entry.name} " in done.out


@pytest.mark.parametrize("name", [entry.name for entry in COMMANDS])
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_has_help(cli: CommandLine, name: str, option: str) -> None:  # R-CLI-1
    done = cli(name, option)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: tenuto {name}")


def test_help_of_run_ends_with_examples(cli: CommandLine) -> None:  # R-CLI-16
    ending = cli("run", "--help").out.partition("\nExamples:\n")[2]
    assert "  tenuto run -p flow.py --param-file params.json\n" in ending


def test_a_misspelled_command_is_wrong_usage_and_told_the_right_one(
    cli: CommandLine,
) -> None:  # R-CLI-2, R-CLI-14
    done = cli("histroy")
    assert done.code == 2
    assert "No such command 'histroy'. Did you mean 'history'?" in done.err


def test_a_misspelled_option_is_wrong_usage(cli: CommandLine) -> None:  # R-CLI-2
    done = cli("run", "--parm", "x=1")
    assert done.code == 2
    assert "--parm" in done.err


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_the_version_stands_alone(cli: CommandLine, arguments: list[str]) -> None:  # R-CLI-97
    done = cli(*arguments)
    assert (done.code, done.out) == (0, f"{tenuto.__version__}\n")


def test_the_full_version_names_python_too(cli: CommandLine) -> None:  # R-CLI-97
    out = cli("version", "--full").out
    assert out.splitlines()[0].split() == ["tenuto", tenuto.__version__]
    assert ".".join(map(str, sys.version_info[:3])) in out


def test_the_settings_are_json_without_secrets(cli: CommandLine) -> None:  # S-18
    from tenuto.configuration import config

    config.cloud.api_key = "sesame-open"
    config.context.secrets.DB = "hunter22"
    config.tasks.defaults.retry_delay = None
    done = cli("config")
    shown = json.loads(done.out)
    assert shown["cloud"]["api_key"] == "****"
    assert shown["context"]["secrets"]["DB"] == "****"
    assert shown["logging"]["level"] == "INFO"
    assert "sesame" not in done.out
    assert "hunter" not in done.out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(cli: CommandLine, shell: str) -> None:  # R-CLI-8
    done = cli("completion", shell)
    assert done.code == 0
    assert f"_TENUTO_COMPLETE={shell}_complete" in done.out


def test_an_error_that_nobody_foresaw_is_one_line_and_a_traceback_with_debug(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:  # R-CLI-12
    def broken(*arguments: object, **keywords: object) -> None:
        raise RuntimeError("the moon is down")

    monkeypatch.setattr(tenuto.journal.runs, "list_runs", broken)
    done = cli("history")
    assert done.code == 1
    assert done.err.splitlines()[0] == "RuntimeError: the moon is down"
    assert "Traceback" not in done.err
    done = cli("history", "--debug")
    assert done.code == 1
    assert "Traceback (most recent call last)" in done.err


def loaded(*arguments: str) -> set[str]:
    """Return the modules that a command line has loaded."""
    program = (
        "import contextlib, io, sys\n"
        "from tenuto.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        f"    code = main({list(arguments)!r})\n"
        "print(code, *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, env=os.environ
    )
    code, *modules = done.stdout.split()
    assert code == "0"
    return set(modules)


def test_help_imports_no_command_and_no_engine() -> None:
    modules = loaded("--help")
    assert not {f"tenuto.cli.{entry.name}" for entry in COMMANDS} & modules
    assert not {
        name for name in modules if name.startswith(("tenuto.engine", "tenuto.journal", "tenuto.core"))
    }
    assert not {"rich", "cloudpickle", "msgspec", "asyncio"} & modules


def test_a_command_imports_no_other_one_and_no_terminal() -> None:
    modules = loaded("history")
    assert "tenuto.cli.history" in modules
    assert (
        not {"tenuto.cli.run", "tenuto.cli.show", "tenuto.cli.graph", "rich", "tenuto.engine.launch"}
        & modules
    )


def test_a_piped_run_imports_nothing_for_terminals() -> None:
    modules = loaded("run", "-m", "tenuto.hello_world")
    assert "tenuto.engine.launch" in modules
    assert not {"rich", "asyncio", "psutil", "urllib3", "graphviz", "tenuto.cli.footer"} & modules
