import json
import shutil
from pathlib import Path

import pytest

from tenuto import Flow, Parameter, task
from tenuto.configuration import config, home_path
from tenuto.engine.results import LocalResult
from tenuto.engine.signals import SKIP
from tenuto.journal.home import Home
from tests.unit.cli.command_line import CommandLine
from tests.unit.journal.runs import dead_header, home, record, state
from tests.unit.journal.runs import task as task_event

__all__ = ["home"]


@task
def halve(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number // 2


@task
def total(numbers: list[int], factor: int) -> int:
    return factor * sum(numbers)


@task
def skipped() -> None:
    raise SKIP("not today")


@task
def text_of(number: int) -> str:
    return "x" * 5000 + str(number)


with Flow("sums") as flow:
    n = Parameter("n", default=4)
    halves = halve.map([2, 3, 4, 5, 7, 9, 11])
    total(halves, factor=3)
    once = halve(n)
    skipped()
    long_text = text_of(once)


@pytest.fixture
def failed_run(tenuto_home: Path) -> str:
    """The name of a recorded run in which much has happened."""
    flow.run(flow_run_name="wise-owl", context={"stage": "test"})
    return "wise-owl"


def test_a_run_is_shown_with_tasks_failures_and_how_to_continue(cli: CommandLine, failed_run: str) -> None:
    done = cli("show", failed_run)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].startswith("Run         wise-owl  ")
    assert f"Flow        sums  {__file__}" in lines
    assert "State       Failed  Some reference tasks failed." in lines
    assert 'Parameters  {"n": 4}' in lines
    assert 'Context     {"stage": "test"}' in lines
    table = {line.split()[0]: line for line in lines[lines.index("") + 1 :] if line.strip()}
    assert table["halve-1"].split()[1] == "Mapped"
    assert table["halve-1"].endswith("7 children: 5 Failed, 2 Success")
    assert table["halve-2"].split()[1] == "Success"
    assert table["total"].split()[1] == "TriggerFailed"
    assert table["skipped"].endswith("not today")
    assert lines[-1] == f"To continue this run: tenuto run -p {__file__} -n sums --resume wise-owl"


def test_failures_have_the_users_traceback_and_many_are_cut_short(cli: CommandLine, failed_run: str) -> None:
    out = cli("show", failed_run).out
    message = "halve[1]: Error during execution of task: ValueError('3 is odd')"
    assert f"{message}\n    Traceback (most recent call last):\n" in out
    assert '        raise ValueError(f"{number} is odd")\n' in out
    assert "attempt.py" not in out
    assert out.count("Traceback") == 3
    assert "2 more of halve failed; see: tenuto show wise-owl --task 'halve[5]'" in out


def test_a_task_in_detail(cli: CommandLine, failed_run: str) -> None:
    out = cli("show", failed_run, "--task", "halve-2").out
    assert "Task        halve  (slug halve-2)\n" in out
    assert "Attempts    1\n" in out
    assert "Input       number = 4  (result of n, SHA-256 " in out
    assert "Result      2\n" in out
    assert "    def halve(number: int) -> int:\n        if number % 2:\n" in out


def test_a_mapped_task_in_detail_has_the_duration_of_its_children(cli: CommandLine, failed_run: str) -> None:
    lines = cli("show", failed_run, "--task", "halve-1").out.splitlines()
    assert "Children    7 children: 5 Failed, 2 Success" in lines
    assert next(line for line in lines if line.startswith("Duration")).endswith("ms")
    assert not [line for line in lines if line.startswith(("Started", "Attempts"))]


def test_a_run_that_continues_another_names_it(cli: CommandLine, failed_run: str) -> None:
    earlier = cli("show", failed_run).out.splitlines()[0].split()[-1]
    flow.run(resume=failed_run, flow_run_name="wiser-owl")
    assert f"Continues   wise-owl  {earlier}" in cli("show", "wiser-owl").out.splitlines()
    shutil.rmtree(Home(home_path()).run_folder(earlier))
    assert f"Continues   {earlier}" in cli("show", "wiser-owl").out.splitlines()


def test_a_child_in_detail(cli: CommandLine, failed_run: str) -> None:
    out = cli("show", failed_run, "--task", "halve-1[1]").out
    assert "Task        halve[1]  (slug halve-1)\n" in out
    assert "State       Failed (code-error)  Error during execution of task: ValueError('3 is odd')\n" in out
    assert "ValueError: 3 is odd" in out
    assert "Result      none is kept\n" in out


def test_constants_skips_and_results_in_files(cli: CommandLine, failed_run: str) -> None:
    assert "Input       factor = 3" in cli("show", failed_run, "--task", "total").out
    assert "State       Skipped  not today" in cli("show", failed_run, "--task", "skipped").out
    assert "  json  5.0 KB, SHA-256 " in cli("show", failed_run, "--task", "text_of").out


def test_a_result_that_was_written_says_by_what_and_where(cli: CommandLine, tmp_path: Path) -> None:
    @task(result=LocalResult(dir=str(tmp_path)), target="one.pickle", checkpoint=True)
    def written() -> int:
        return 1

    with Flow("writes") as writes:
        written()
    config.flows.checkpointing = True
    config.flows.keep_results = "never"
    writes.run(flow_run_name="wise-owl")
    out = cli("show", "wise-owl", "--task", "written").out
    assert f"Result      written by LocalResult at {tmp_path / 'one.pickle'}  PickleSerializer  " in out


def test_logs_are_shown_as_the_run_printed_them(cli: CommandLine, failed_run: str) -> None:
    lines = cli("show", failed_run, "--logs").out.splitlines()
    assert lines[0].endswith(" | INFO    | Beginning Flow run for 'sums'")
    assert "To continue this run" in lines[-1]
    of_child = cli("show", failed_run, "--task", "halve-1[1]", "--logs").out
    assert "Task 'halve[1]': Finished" in of_child
    assert "Task 'halve[2]'" not in of_child


def test_json_holds_the_run_with_its_task_runs(cli: CommandLine, failed_run: str) -> None:  # R-CLI-4
    found = json.loads(cli("show", failed_run, "--json").out)
    assert (found["name"], found["flow_name"], found["state"]["type"]) == ("wise-owl", "sums", "Failed")
    by_name = {one["name"]: one for one in found["task_runs"]}
    assert by_name["halve[1]"]["state"]["type"] == "Failed"
    assert by_name["halve[1]"]["error"]["type"] == "ValueError"
    assert by_name["n"]["result"]["value"] == 4
    assert "logs" not in found
    one = json.loads(cli("show", failed_run, "-o", "json", "--task", "halve-2", "--logs").out)
    assert [task_run["slug"] for task_run in one["task_runs"]] == ["halve-2"]
    assert {line["slug"] for line in one["logs"]} == {"halve-2"}


def test_a_run_that_is_not_there(cli: CommandLine, failed_run: str) -> None:  # R-CLI-2, R-CLI-14
    done = cli("show", "wise-wol")
    assert done.code == 5
    hint = "Did you mean 'wise-owl'? See what there is with: tenuto history"
    assert done.err == f"No run 'wise-wol' is recorded here. {hint}\n"
    assert cli("show", failed_run, "--task", "totla").code == 5


def test_a_crashed_run_shows_what_it_was_at_and_how_to_continue(cli: CommandLine, home: Home) -> None:
    first = dead_header(name="wet-fox", source_path="/flows/a b.py")
    record(
        home, state("Running"), task_event("Success", "load-1"), task_event("Running", "save-1"), first=first
    )
    out = cli("show", "last").out
    assert "State       Failed (crashed)  The process (pid" in out
    assert "save-1  Failed" in out
    assert (
        out.splitlines()[-1] == "To continue this run: tenuto run -p '/flows/a b.py' -n sums --resume wet-fox"
    )


def test_an_older_run_of_the_same_name_is_continued_by_its_id(cli: CommandLine, home: Home) -> None:
    older = record(home, state("Failed"), number=1, first=dead_header(source_path="/f.py"))
    record(home, state("Failed"), number=2, first=dead_header(source_path="/f.py"))
    assert cli("show", older).out.splitlines()[-1].endswith(f"--resume {older}")


def test_a_run_of_a_notebook_is_continued_from_there(cli: CommandLine, home: Home) -> None:
    record(home, state("Failed"))
    assert cli("show", "last").out.splitlines()[-1] == "To continue this run: flow.run(resume='amber-otter')"


def test_a_prefix_of_several_runs_lists_them(cli: CommandLine, home: Home) -> None:
    one, two = record(home, number=1), record(home, number=2)
    done = cli("show", one[:10])
    assert done.code == 1
    assert one in done.err
    assert two in done.err


def test_a_record_that_cannot_be_read(cli: CommandLine, home: Home) -> None:
    broken = record(home, state("Failed"))
    (home.run_folder(broken) / "1.journal").write_bytes(b"nothing of ours")
    done = cli("show", broken)
    assert done.code == 1
    assert f"The record of run {broken} cannot be read" in done.err


def test_hostile_names_are_shown_as_text(cli: CommandLine, tenuto_home: Path) -> None:
    hostile = "\x1b]0;owned\x07\u202e[bold]x\n"

    @task(name=hostile)
    def quiet() -> None:
        raise ValueError(hostile)

    with Flow(hostile) as hostile_flow:
        quiet()
    hostile_flow.run(parameters={}, flow_run_name=hostile, context={hostile: hostile})
    for arguments in (
        ["show", "last"],
        ["history"],
        ["show", "last", "--logs"],
        ["show", "last", "--task", hostile],
    ):
        out = cli(*arguments).out
        assert out.strip()
        assert all(line.isprintable() for line in out.split("\n")), arguments
