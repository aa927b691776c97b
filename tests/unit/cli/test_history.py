import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest

from tenuto.cli.history import command, parse_since
from tenuto.configuration import config
from tenuto.journal.home import Home
from tests.unit.cli.command_line import CommandLine
from tests.unit.journal.runs import DAY, dead_header, header, home, record, state, task

__all__ = ["home"]


@pytest.fixture
def three_runs(home: Home) -> Home:
    """A success, a failure, and a run whose process is gone."""
    record(
        home,
        state("Running"),
        state("Success"),
        made=time.time() - 9000,
        first=header(name="old-oak", flow="sums"),
    )
    record(
        home,
        state("Running"),
        state("Failed", "no"),
        made=time.time() - 330,
        first=header(name="red-elk", flow="tax"),
    )
    record(
        home,
        state("Running"),
        task("Running"),
        made=time.time() - 90,
        first=dead_header(name="wet-fox", flow="sums"),
    )
    return home


def rows(text: str) -> list[list[str]]:
    """Return the columns of a plain table."""
    import re

    return [re.split(r" {2,}", line) for line in text.splitlines()]


def test_runs_are_listed_newest_first_in_plain_columns(cli: CommandLine, three_runs: Home) -> None:  # R-CLI-6
    done = cli("history")
    assert (done.code, done.err) == (0, "")
    assert rows(done.out) == [
        ["NAME", "FLOW", "STATE", "STARTED", "DURATION", "RESUMABLE"],
        ["wet-fox", "sums", "Failed (crashed)", "1 min ago", "2.0 s", "yes"],
        ["red-elk", "tax", "Failed", "5 min ago", "2.0 s", "yes"],
        ["old-oak", "sums", "Success", "2 h ago", "2.0 s"],
    ]


def test_a_run_that_goes_on_has_no_duration_and_cannot_be_continued(cli: CommandLine, home: Home) -> None:
    record(home, state("Running"), made=time.time(), first=header(name="new-yak"))
    row = rows(cli("history").out)[1]
    assert (row[2], row[4:]) == ("Running", ["-"])


def test_wide_adds_times_ids_and_files(cli: CommandLine, home: Home) -> None:  # R-CLI-5
    made = record(home, state("Success"), first=header(source_path="/flows/sums.py"))
    heading, row = rows(cli("history", "-o", "wide").out)
    assert heading[-3:] == ["START TIME", "ID", "SOURCE"]
    assert row[-2:] == [made, "/flows/sums.py"]
    assert datetime.strptime(row[-3], "%Y-%m-%d %H:%M:%S%z") == datetime(2027, 1, 15, 8, tzinfo=UTC)


def test_json_is_the_objects_of_rest(cli: CommandLine, three_runs: Home) -> None:  # R-CLI-4
    found = json.loads(cli("history", "--json").out)
    assert [run["name"] for run in found] == ["wet-fox", "red-elk", "old-oak"]
    assert found[0]["state"]["cause"] == "crashed"
    assert found == json.loads(cli("history", "-o", "json").out)
    assert found == [json.loads(line) for line in cli("history", "-o", "jsonl").out.splitlines()]
    assert cli("history", "-o", "name").out.split() == ["wet-fox", "red-elk", "old-oak"]
    assert "NAME" not in cli("history", "--no-headers").out


def test_filters(cli: CommandLine, three_runs: Home) -> None:
    def names(*options: str) -> list[str]:
        return cli("history", "-o", "name", *options).out.split()

    assert names("--flow", "sums") == ["wet-fox", "old-oak"]
    assert names("--state", "FAILED") == ["wet-fox", "red-elk"]
    assert names("--state", "crashed") == ["wet-fox"]
    assert names("--since", "1h") == ["wet-fox", "red-elk"]
    assert names("--limit", "1") == ["wet-fox"]


def test_an_empty_list_is_one_sentence_with_the_filter(cli: CommandLine, three_runs: Home) -> None:  # R-CLI-5
    done = cli("history", "--flow", "nope", "--state", "Success", "--since", "2020-01-01")
    assert done.code == 0
    assert done.out == (
        "No runs of flow 'nope' in state 'Success' since 2020-01-01 00:00:00 "
        f"are recorded in {three_runs.path}.\n"
    )
    assert cli("history", "--flow", "nope", "--json").out == "[]\n"


def test_without_a_home_there_are_no_runs(cli: CommandLine, tenuto_home: Path) -> None:
    assert cli("history").out == f"No runs are recorded in {tenuto_home}.\n"
    assert not tenuto_home.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--since", "soon"], "'soon' is no time. Write 24h"),
        (["--since", "99999999999999d"], "is no time"),
        (["--state", "Sucess"], "'Sucess' is no state of a run. Did you mean 'Success'?"),
        (["--limit", "0"], "--limit"),
        (["--dry-run"], "--dry-run needs --prune."),
    ],
)
def test_wrong_filters_are_wrong_usage(cli: CommandLine, options: list[str], message: str) -> None:  # R-CLI-2
    done = cli("history", *options)
    assert done.code == 2
    assert message in done.err


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("30s", timedelta(seconds=30)),
        ("90min", timedelta(minutes=90)),
        ("90m", timedelta(minutes=90)),
        ("24h", timedelta(hours=24)),
        ("1.5d", timedelta(hours=36)),
        ("2w", timedelta(weeks=2)),
    ],
)
def test_how_long_ago(text: str, ago: timedelta) -> None:
    found = parse_since(click.Context(command), command.params[0], text)
    assert found is not None
    assert abs(datetime.now(UTC) - ago - found) < timedelta(minutes=5)


def test_a_date_without_a_zone_is_local() -> None:
    found = parse_since(click.Context(command), command.params[0], "2026-01-31 09:00")
    assert found == datetime(2026, 1, 31, 9).astimezone()


def test_names_that_could_move_the_cursor_are_shown_as_text(cli: CommandLine, home: Home) -> None:
    record(home, state("Success"), first=header(name="a\x1b[2J\nb", flow="[red]f[/red]"))
    row = rows(cli("history").out)[1]
    assert row[:2] == ["a\\x1b[2J\\nb", "[red]f[/red]"]


def test_damaged_records_are_passed_over(cli: CommandLine, three_runs: Home) -> None:
    folders = list(three_runs.run_folders())
    (folders[0] / "1.journal").write_bytes(b"\x00" * 100)
    (folders[1] / "1.journal").unlink()
    assert cli("history", "-o", "name").out.split() == ["old-oak"]


# -------------------------------------------------------------------------------------------------- pruning


def test_prune_removes_what_the_settings_say_is_old(cli: CommandLine, home: Home) -> None:
    old = record(home, state("Success"), made=time.time() - 40 * DAY)
    new = record(home, state("Success"), made=time.time() - DAY, number=1)
    would = cli("history", "--prune", "--dry-run")  # R-CLI-15
    assert would.out.startswith("Would remove 1 run and the kept results of 0 runs: ")
    assert home.run_folder(old).exists()
    assert json.loads(cli("history", "--prune", "--dry-run", "--json").out)["runs"] == [old]
    did = cli("history", "--prune")
    assert did.out.startswith("Removed 1 run and the kept results of 0 runs: ")
    assert not home.run_folder(old).exists()
    assert home.run_folder(new).exists()
    assert cli("history", "--prune").out == "Nothing to remove.\n"


def test_prune_with_a_setting_that_cannot_be_used(cli: CommandLine, home: Home) -> None:
    config.flows.keep_results = "sometimes"
    done = cli("history", "--prune")
    assert done.code == 1
    assert "flows.keep_results is 'sometimes'" in done.err
    assert "Traceback" not in done.err
