"""`tenuto schedule next` and `tenuto run --schedule` as a user starts them."""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.commands import TENUTO, environment, tenuto

FLOW = """
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo
from tenuto import Flow, Parameter, task
from tenuto.schedules import CronSchedule, IntervalSchedule, Schedule, filters
from tenuto.schedules.clocks import CronClock, DatesClock, IntervalClock
print("being loaded")

@task
def say(x):
    print("x is", x, flush=True)

with Flow("timed", {schedule}) as flow:
    say(Parameter("x", default=0))
"""
NIGHTLY = """Schedule([
    CronClock("30 2 * * *", datetime(2021, 1, 1, tzinfo=ZoneInfo("America/New_York")), None, {"x": 1}),
    CronClock("0 12 * * *", labels=["gpu"]),
])"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def write(folder: Path, schedule: str) -> None:
    (folder / "flow.py").write_text(FLOW.replace("{schedule}", schedule))


def test_next_times_with_zone_and_offset(folder: Path) -> None:
    write(folder, NIGHTLY)
    after = "2021-03-13T12:30Z"
    done = tenuto("schedule", "next", "-p", "flow.py", "-n", "4", "--after", after, cwd=folder)
    assert done.returncode == 0
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines == [
        "TIME ZONE IN PARAMETERS LABELS",
        'Sun 2021-03-14 03:00:00-04:00 America/New_York - {"x": 1}',
        "Sun 2021-03-14 12:00:00+00:00 UTC - {} gpu",
        'Mon 2021-03-15 02:30:00-04:00 America/New_York - {"x": 1}',
        "Mon 2021-03-15 12:00:00+00:00 UTC - {} gpu",
    ]


def test_next_times_as_json_and_in_another_zone(folder: Path) -> None:
    write(folder, NIGHTLY)
    done = tenuto(
        "schedule", "next", "-p", "flow.py", "-n", "1", "--after", "2021-03-13T12:30Z",
        "--zone", "Europe/Berlin", "--json", cwd=folder,
    )  # fmt: skip
    assert json.loads(done.stdout) == [
        {
            "start_time": "2021-03-14T08:00:00+01:00",
            "zone": "Europe/Berlin",
            "parameter_defaults": {"x": 1},
            "labels": None,
        }
    ]


@pytest.mark.parametrize(
    ("schedule", "arguments", "code", "message"),
    [
        ("None", [], 1, "The flow 'timed' has no schedule."),
        ("Schedule([DatesClock([datetime(2021, 1, 1, tzinfo=timezone.utc)])])", [], 1, "have no time after"),
        ("Schedule([CronClock('* * * * *')], filters=[lambda t: False])", [], 1, "None of the next 10,000"),
        ("CronSchedule('0 25 * * *')", [], 1, "the field for the hour, '25', is wrong"),
        ("CronSchedule('@daily')", ["--zone", "Europe/Berln"], 2, "Did you mean 'Europe/Berlin'?"),
        ("CronSchedule('@daily')", ["--after", "tomorrow"], 2, "'tomorrow' is no time"),
        ("CronSchedule('@daily')", ["-n", "0"], 2, "-n"),
    ],
)  # fmt: skip
def test_errors_say_what_is_wrong(
    folder: Path, schedule: str, arguments: list[str], code: int, message: str
) -> None:
    write(folder, schedule)
    done = tenuto("schedule", "next", "-p", "flow.py", *arguments, cwd=folder)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr


def test_run_ignores_the_schedule_unless_asked(folder: Path) -> None:
    # R-CLI-25
    write(folder, "IntervalSchedule(interval=timedelta(days=1))")
    done = tenuto("run", "-p", "flow.py", cwd=folder)
    assert (done.returncode, done.stdout.count("x is 0")) == (0, 1)


SOON = """
from tenuto.schedules.clocks import Clock

class Soon(Clock):
    def times(self, since):
        # Counted from when it is asked: a slow machine misses none.
        return iter([since + timedelta(milliseconds=100)] if len(said) < 2 else [])

said = []

@task
def count():
    said.append(1)
    print("run", len(said), flush=True)

with Flow("soon", Schedule([Soon()])) as flow:
    count()
"""


def test_run_follows_the_schedule(folder: Path) -> None:
    # R-CLI-25, R-SRUN-1
    write(folder, "None")
    (folder / "flow.py").write_text((folder / "flow.py").read_text().partition("@task")[0] + SOON)
    done = tenuto("run", "-p", "flow.py", "--schedule", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("run ")] == ["run 1", "run 2"]
    assert done.stdout.count("Waiting for next scheduled run at") == 2
    assert done.stdout.splitlines()[-1] == "Flow run succeeded!"
    runs = json.loads(tenuto("history", "--json", cwd=folder).stdout)
    assert len({run["id"] for run in runs}) == 2
    assert all(run["scheduled_start_time"] for run in runs)


@pytest.mark.parametrize("option", ["--json", "--resume", "--run-name=a"])
def test_options_about_one_run_do_not_go_with_a_schedule(folder: Path, option: str) -> None:
    write(folder, "CronSchedule('@daily')")
    done = tenuto("run", "-p", "flow.py", "-s", option, cwd=folder)
    assert done.returncode == 2
    assert "is about one run, and --schedule makes many" in done.stderr


def test_run_on_a_schedule_that_is_not_there(folder: Path) -> None:
    write(folder, "None")
    done = tenuto("run", "-p", "flow.py", "--schedule", cwd=folder)
    assert done.returncode == 1
    assert "The flow 'timed' has no schedule." in done.stderr
    write(folder, "Schedule([])")
    done = tenuto("run", "-p", "flow.py", "--schedule", cwd=folder)
    assert done.returncode == 1
    assert "Flow has no more scheduled runs." in done.stderr


def test_interrupt_ends_the_wait(folder: Path) -> None:
    # R-SRUN-10
    write(folder, "IntervalSchedule(interval=timedelta(days=365))")
    with subprocess.Popen(
        [TENUTO, "run", "-p", "flow.py", "--schedule"],
        cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert any("Waiting for next scheduled run" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130
    assert errors == "Interrupted.\n"
