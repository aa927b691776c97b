"""`tenuto run` in this process. What needs a process of its own is in tests/acceptance."""

import json
import logging
import re
from pathlib import Path

import pytest

from tenuto.configuration import config
from tenuto.journal.home import Home
from tenuto.journal.runs import list_runs, read_run, run_logs
from tests.unit.cli.command_line import CommandLine

FLOW = """
import tenuto
from tenuto import Flow, Parameter, task

@task
def show(x, n):
    tenuto.context.logger.info("x=%r n=%r context=%r", x, n, tenuto.context.get("stage"))
    tenuto.context.logger.error("careful")
    return x

with Flow("cli-flow") as flow:
    show(Parameter("x", default=1), Parameter("n", default=None))
"""
FAILING = """
from tenuto import Flow, task
@task
def fail():
    raise ValueError("no such luck")
with Flow("failing") as flow:
    fail()
"""
REQUIRED = """
from tenuto import Flow, Parameter
with Flow("required") as flow:
    flow.add_task(Parameter("api_key"))
"""
LOG = re.compile(r"^└── \d\d:\d\d:\d\d \| (.{7}) \| (.*)$", re.MULTILINE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "flow.py"
    file.write_text(FLOW)
    return file


def write(folder: Path, text: str, name: str = "flow.py") -> Path:
    (folder / name).write_text(text)
    return folder / name


def without_times(text: str) -> list[str]:
    return re.sub(r"\d\d:\d\d:\d\d", "TIME", text).splitlines()


# -------------------------------------------------------------------------------------------- what is printed


def test_the_lines_of_a_run(cli: CommandLine, path: Path) -> None:  # R-CRUN-3, R-CLI-19
    done = cli("run", "-p", path, "--param", "x=5", "--param", "n=you", "--context", "stage=2")
    assert (done.code, done.err) == (0, "")
    assert without_times(done.out) == [
        "Retrieving local flow... Done",
        "Configured local flow run",
        "└── Parameters: {'x': 5, 'n': 'you'}",
        "└── Context: {'stage': 2}",
        "Running flow locally...",
        "└── TIME | INFO    | Beginning Flow run for 'cli-flow'",
        "└── TIME | INFO    | Task 'x': Starting task run...",
        "└── TIME | INFO    | Task 'x': Finished task run for task with final state: 'Success'",
        "└── TIME | INFO    | Task 'n': Starting task run...",
        "└── TIME | INFO    | Task 'n': Finished task run for task with final state: 'Success'",
        "└── TIME | INFO    | Task 'show': Starting task run...",
        "└── TIME | INFO    | x=5 n='you' context=2",
        "└── TIME | ERROR   | careful",
        "└── TIME | INFO    | Task 'show': Finished task run for task with final state: 'Success'",
        "└── TIME | INFO    | Flow run SUCCESS: all reference tasks succeeded",
        "Flow run succeeded!",
    ]


def test_without_parameters_and_context_nothing_was_configured(
    cli: CommandLine, path: Path
) -> None:  # R-CRUN-3
    lines = cli("run", "-p", path).out.splitlines()
    assert lines[:2] == ["Retrieving local flow... Done", "Running flow locally..."]


def test_a_failed_run_ends_with_code_1_and_the_command_to_continue(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # R-CRUN-3, R-CLI-2, R-CLI-12
    monkeypatch.chdir(tmp_path)
    done = cli("run", "-p", write(tmp_path, FAILING), "--run-name", "swift otter")
    assert (done.code, done.err) == (1, "")
    assert done.out.splitlines()[-1] == "Flow run failed!"
    assert LOG.findall(done.out)[-1] == (
        "INFO   ",
        "0 results are kept. To continue this run: tenuto run -p flow.py --resume 'swift otter'",
    )
    assert 'in fail\n    raise ValueError("no such luck")\nValueError: no such luck\n' in done.out
    assert "attempt.py" not in done.out


def test_quiet_prints_errors_only(cli: CommandLine, path: Path, tenuto_home: Path) -> None:  # R-CRUN-8
    done = cli("run", "-q", "-p", path, "--param", "x=1")
    assert (done.code, done.err) == (0, "")
    assert without_times(done.out) == ["└── TIME | ERROR   | careful"]
    [run] = list_runs(Home(tenuto_home))
    assert len(list(run_logs(Home(tenuto_home), run.run_id))) == 10, "what is not printed is recorded"


def test_no_logs_prints_the_frame_only(cli: CommandLine, path: Path) -> None:  # R-CRUN-8, R-CLI-24
    done = cli("run", "--no-logs", "-p", path)
    assert done.out.splitlines() == [
        "Retrieving local flow... Done",
        "Running flow locally...",
        "Flow run succeeded!",
    ]


def test_a_log_level_holds_while_the_flow_is_loaded_and_run(
    cli: CommandLine, tmp_path: Path
) -> None:  # R-CRUN-2
    loud = "import tenuto\ntenuto.context.logger.debug('loading at %s', tenuto.config.logging.level)\n"
    done = cli("run", "-p", write(tmp_path, loud + FLOW), "--log-level", "debug")
    messages = [message for _, message in LOG.findall(done.out)]
    assert messages[0] == "loading at DEBUG"
    assert "Using executor type LocalExecutor" in messages
    logging.getLogger("tenuto").setLevel("INFO")
    config.logging.level = "INFO"
    levels = {
        level for level, _ in LOG.findall(cli("run", "-p", write(tmp_path, FLOW), "--log-level", "ERROR").out)
    }
    assert levels == {"ERROR  "}


def test_json_is_one_object_on_stdout_and_all_else_on_stderr(
    cli: CommandLine, tmp_path: Path
) -> None:  # R-CLI-3
    noisy = "print('while loading')\n" + FLOW.replace("return x", "print('while running')\n    return x")
    done = cli("run", "-p", write(tmp_path, noisy), "--json", "--param", "x=2")
    assert done.code == 0
    found = json.loads(done.out)
    assert (found["flow_name"], found["state"]["type"], found["parameters"]["x"]) == (
        "cli-flow",
        "Success",
        2,
    )
    lines = done.err.splitlines()
    assert lines[-1] == "Flow run succeeded!"
    assert {"while loading", "while running", "Retrieving local flow... Done"} <= set(lines)
    failed = cli("run", "-p", write(tmp_path, FAILING), "--json")
    assert failed.code == 1
    assert json.loads(failed.out)["state"]["type"] == "Failed"


def test_ascii_signs(cli: CommandLine, path: Path) -> None:  # R-CLI-7
    for before, behind in (["--ascii"], []), ([], ["--ascii"]):
        out = cli(*before, "run", *behind, "-p", path, "--param", "x=1").out
        assert "|-- Parameters: {'x': 1}" in out
        assert out.isascii()


def test_secrets_among_the_parameters_are_not_shown(cli: CommandLine, tmp_path: Path) -> None:  # S-18
    done = cli("run", "-p", write(tmp_path, REQUIRED), "--param", "api_key=sesame-open")
    assert done.code == 0
    assert "└── Parameters: {'api_key': '****'}" in done.out
    assert "sesame" not in done.out


def test_hostile_values_come_through_as_they_are(cli: CommandLine, path: Path) -> None:
    hostile = "\x1b[2J\n$(rm -rf /)`' {x!r} %s \u202e"
    done = cli(
        "run", "-p", path, "--param", f"x={hostile}", "--context", f"stage={hostile}", "--run-name", hostile
    )
    assert done.code == 0
    assert f"└── Parameters: { ({'x': hostile})!r}" in done.out
    assert f"x={hostile!r} n=None context={hostile!r}" in done.out
    assert cli("show", "last").code == 0


# ------------------------------------------------------------------------------------------------- parameters


def test_the_command_line_wins_over_the_file_and_says_so(
    cli: CommandLine, path: Path, tmp_path: Path
) -> None:  # R-CRUN-4, R-CLI-23
    file = write(tmp_path, '{"x": "file", "n": "file"}', "params.json")
    done = cli("run", "-p", path, "--param-file", file, "--param", "n=cli")
    assert "x='file' n='cli'" in done.out
    assert done.err == (
        "The following parameters were specified by file and CLI, the CLI value will be used: {'n'}\n"
    )


def test_unknown_parameters_say_what_there_is(cli: CommandLine, path: Path) -> None:  # R-CRUN-5, R-RUN-4
    done = cli("run", "-p", path, "--param", "xx=1", "--param", "y=2")
    assert done.code == 1
    assert done.err.splitlines() == [
        "Flow runner encountered an exception!",
        "    Flow.run received the following unexpected parameters: xx, y",
        "    Did you mean 'x' instead of 'xx'?",
        "The flow's parameters are: n, x",
    ]
    assert done.out.splitlines()[-1] == "Flow run failed!"


def test_missing_parameters_say_how_to_give_them(
    cli: CommandLine, tmp_path: Path
) -> None:  # R-CRUN-5, R-RUN-5
    done = cli("run", "-p", write(tmp_path, REQUIRED))
    assert done.code == 1
    assert done.err.splitlines() == [
        "Flow runner encountered an exception!",
        "    Flow.run did not receive the following required parameters: api_key",
        "Give it with: --param api_key=VALUE",
    ]
    assert done.out.splitlines()[-1] == "Flow run failed!"


def test_parameters_may_be_called_like_options_of_a_run(cli: CommandLine, tmp_path: Path) -> None:
    text = """
from tenuto import Flow, Parameter, context, task
@task
def show(a, b):
    print("got", a, b, context.get("stage"))
with Flow("f") as flow:
    show(Parameter("resume"), Parameter("context", default="?"))
"""
    file = write(tmp_path, text)
    done = cli("run", "-p", file, "--param", "resume=1", "--context", "stage=3")
    assert "got 1 ? 3" in done.out.splitlines()
    assert done.code == 0


# -------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-p", "no.py"], "File does not exist: '"),
        (["-p", "."], "Not a file but a folder: '"),
        (["-m", "no_such_module_anywhere"], "Module 'no_such_module_anywhere' was not found."),
        (["-p", "flow.py", "-n", "other"], "Did not find 'other' in flows at flow.py. Found 'cli-flow'"),
        (["-p", "empty.py"], "Found no flows at empty.py."),
        (["-p", "two.py"], "Found multiple flows at two.py: 'a', 'b'"),
    ],
)
def test_a_flow_that_cannot_be_found(
    cli: CommandLine, path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:  # R-CRUN-6, R-CLI-13, R-CLI-21
    monkeypatch.chdir(path.parent)
    write(path.parent, "", "empty.py")
    write(path.parent, "from tenuto import Flow\na, b = Flow('a'), Flow('b')\n", "two.py")
    done = cli("run", *options)
    assert (done.code, done.out) == (1, "Retrieving local flow... Error\n")
    assert done.err.startswith(message)
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ([], 1, "Error: Received no options to look up the flow."),
        (["-n", "x"], 1, "Error: Received no options to look up the flow."),
        (["-p", "x", "-m", "y"], 1, "Error: Received too many options to look up the flow: --path, --module"),
        (["-p", "flow.py", "--param", "x"], 2, "'x' is not of the form NAME=VALUE."),
        (["-p", "flow.py", "--context", "=x"], 2, "'=x' is not of the form NAME=VALUE."),
        (["-p", "flow.py", "--param", 'x={"a"'], 1, "The value of --param x is not JSON:"),
        (["-p", "flow.py", "--param-file", "no.json"], 1, "Parameter file does not exist: '"),
        (["-p", "flow.py", "--param-file", "flow.py"], 1, "flow.py' is not JSON"),
        (["-p", "flow.py", "--log-level", "LOUD"], 2, "'LOUD' is not one of"),
        (["-p", "flow.py", "--wrong"], 2, "--wrong"),
        (["flow.py"], 2, "Did you mean: tenuto run -p flow.py"),
    ],
)
def test_wrong_options(
    cli: CommandLine, path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], code: int, message: str
) -> None:  # R-CRUN-1, R-CLI-2, R-CLI-13, R-CLI-17
    monkeypatch.chdir(path.parent)
    done = cli("run", *options)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert "Traceback" not in done.err


def test_a_file_that_fails_shows_the_users_frames(cli: CommandLine, tmp_path: Path) -> None:  # R-CLI-12
    write(tmp_path, "def check():\n    raise KeyError('colour')\n", "helper_that_fails.py")
    file = write(tmp_path, "import helper_that_fails\nhelper_that_fails.check()\n")
    done = cli("run", "-p", file)
    assert (done.code, done.out) == (1, "Retrieving local flow... Error\n")
    frames = re.findall(r'File "([^"]+)"', done.err)
    assert frames == [str(file), str(tmp_path / "helper_that_fails.py")]
    assert done.err.splitlines()[0] == f"{file} could not be loaded:"
    assert done.err.splitlines()[-1] == "KeyError: 'colour'"


def test_a_syntax_error_shows_the_line(cli: CommandLine, tmp_path: Path) -> None:
    done = cli("run", "-p", write(tmp_path, "x = 1\nwith Flow('f' as flow:\n"))
    assert done.code == 1
    assert "line 2\n    with Flow('f' as flow:" in done.err
    assert "SyntaxError" in done.err.splitlines()[-1]


def test_a_file_that_exits_is_told_about_the_guard(cli: CommandLine, tmp_path: Path) -> None:
    done = cli("run", "-p", write(tmp_path, "import sys\nsys.exit(0)\n"))
    assert done.code == 1
    assert "called sys.exit(0) while it was loaded." in done.err
    assert '`if __name__ == "__main__":`' in done.err


def test_debug_shows_all_frames(cli: CommandLine, tmp_path: Path) -> None:  # R-CLI-12
    done = cli("run", "--debug", "-p", write(tmp_path, "1 / 0"))
    assert done.code == 1
    assert "loading.py" in done.err


def test_a_task_that_exits_does_not_end_with_its_code(cli: CommandLine, tmp_path: Path) -> None:  # R-RUN-17
    done = cli(
        "run",
        "-p",
        write(tmp_path, FAILING.replace('raise ValueError("no such luck")', "raise SystemExit(0)")),
    )
    assert done.code == 1
    assert done.err == "The flow called sys.exit(0) and ended.\n"
    assert done.out.splitlines()[-1] == "Flow run failed!"


def test_what_leaves_a_run_has_the_frames_of_the_user(cli: CommandLine, tmp_path: Path) -> None:  # R-CRUN-5
    text = """
from tenuto import Flow
class Wrapped(Flow):
    def run(self, *args, **kwargs):
        self.prepare()
    def prepare(self):
        raise LookupError("nothing prepared")
flow = Wrapped("wrapped")
"""
    done = cli("run", "-p", write(tmp_path, text))
    assert done.code == 1
    lines = done.err.splitlines()
    assert lines[:2] == ["Flow runner encountered an exception!", "    Traceback (most recent call last):"]
    assert lines[-1] == "    LookupError: nothing prepared"
    assert "run.py" not in done.err
    assert done.out.splitlines()[-1] == "Flow run failed!"


def test_a_run_that_waits_for_somebody_says_so(cli: CommandLine, tmp_path: Path) -> None:  # R-CLI-29
    text = "from tenuto import Flow\nfrom tenuto.core.authoring import pause_task\n"
    text += (
        "from tenuto import task\n@task\ndef ask():\n    pause_task()\nwith Flow('f') as flow:\n    ask()\n"
    )
    done = cli("run", "-p", write(tmp_path, text))
    assert done.code == 1
    assert done.out.splitlines()[-1].startswith("Flow run is in unexpected state: <Running")


def test_a_home_that_cannot_be_written_costs_a_warning(cli: CommandLine, path: Path, tmp_path: Path) -> None:
    config.home_dir = str(write(tmp_path, "", "not-a-folder") / "home")
    done = cli("run", "-p", path)
    assert done.code == 0
    warnings = [message for level, message in LOG.findall(done.out) if level == "WARNING"]
    assert len(warnings) == 1
    assert "cannot be resumed" in warnings[0]
    as_json = cli("run", "-p", path, "--json")
    assert (as_json.code, as_json.out) == (0, "")
    assert "The run was not recorded" in as_json.err


# -------------------------------------------------------------------------------------------------- schedules


def test_schedules_are_ignored(cli: CommandLine, tmp_path: Path) -> None:  # R-CLI-25
    text = """
from tenuto import Flow
class Scheduled(Flow):
    def run(self, parameters=None, run_on_schedule=None, **kwargs):
        print("on schedule:", run_on_schedule)
        return super().run(parameters, run_on_schedule=run_on_schedule, **kwargs)
flow = Scheduled("scheduled")
"""
    done = cli("run", "-p", write(tmp_path, text))
    assert done.code == 0
    assert "on schedule: False" in done.out.splitlines()


# ----------------------------------------------------------------------------------------------------- resume

FLAKY = """
import os
from tenuto import Flow, Parameter, context, task
FOLDER = os.path.dirname(__file__)
def called(name):
    with open(os.path.join(FOLDER, "calls.txt"), "a") as file:
        file.write(name + " ")
@task
def first(x):
    called(f"first({x})")
    return x
@task
def second(x):
    called(f"second({x}, {context.get('stage')})")
    if not os.path.exists(os.path.join(FOLDER, "mended")):
        raise ValueError("not yet")
    return x
with Flow("flaky") as flow:
    second(first(Parameter("x", default=1)))
"""


def calls(folder: Path) -> str:
    return (folder / "calls.txt").read_text().strip()


def test_resume_alone_continues_the_newest_run_that_did_not_succeed(
    cli: CommandLine, tmp_path: Path, tenuto_home: Path
) -> None:
    file = write(tmp_path, FLAKY)
    assert (
        cli("run", "-p", file, "--param", "x=7", "--context", "stage=test", "--run-name", "red-elk").code == 1
    )
    (tmp_path / "mended").touch()
    done = cli("run", "-p", file, "--resume")
    assert done.code == 0
    assert calls(tmp_path) == "first(7) second(7, test) second(7, test)"
    newest, oldest = list_runs(Home(tenuto_home))
    assert newest.header.resumed_from == oldest.run_id
    view = read_run(Home(tenuto_home), newest.run_id)
    assert view is not None
    assert view.is_successful


def test_resume_takes_a_name_an_id_or_a_prefix_and_parameters_win(
    cli: CommandLine, tmp_path: Path, tenuto_home: Path
) -> None:
    file = write(tmp_path, FLAKY)
    cli("run", "-p", file, "--run-name", "red-elk")
    (tmp_path / "mended").touch()
    [run] = list_runs(Home(tenuto_home))
    for name in ("red-elk", run.run_id, run.run_id[:30]):
        assert cli("run", "-p", file, "--resume", name).code == 0
    assert cli("run", "-p", file, "--resume=red-elk", "--param", "x=2").code == 0
    assert calls(tmp_path).split()[-3:] == ["first(2)", "second(2,", "None)"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--resume", "There is no unsuccessful run of flow 'flaky'"),
        ("--resume=red-elk", "No run 'red-elk' is recorded here."),
    ],
)
def test_nothing_to_resume(cli: CommandLine, tmp_path: Path, option: str, message: str) -> None:
    done = cli("run", "-p", write(tmp_path, FLAKY), option)
    assert done.code == 1
    assert message in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "calls.txt").exists()
