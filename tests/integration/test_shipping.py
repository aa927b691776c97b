"""Runs reach a server, whole and once: made before it existed, while it was down, killed, or damaged."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tenuto import Flow, task
from tenuto.configuration import config, home_path
from tenuto.engine import signals
from tenuto.engine.state import State, Success
from tenuto.journal.event import Event
from tenuto.journal.home import Home
from tenuto.journal.recorder import Recorder
from tenuto.journal.shipment import journal_path, unshipped_runs
from tests.fakes.ports import free_port
from tests.fakes.runs import fails, one, plus
from tests.fakes.servers import TenutoServer
from tests.integration.shipped_runs import (
    arrived_whole,
    is_shipped,
    program,
    ship,
    stored_events,
    until,
    use,
)
from tests.unit.journal.runs import dead_header, record, state
from tests.unit.journal.runs import task as task_state

numbers = itertools.count()

IRIS = Path(__file__).resolve().parents[2] / "examples" / "iris"

with Flow("sums") as sums:
    plus.map([one(), one(), plus(1, 2)])

with Flow("breaks") as breaks:
    plus(fails())


def home_now() -> Home:
    return Home(home_path())


def run_of(flow: Flow, **options: Any) -> str:
    """Run a flow and return the run's id."""
    flow.run(**options)
    return home_now().run_ids()[0]


# --------------------------------------------------------------------------------------- before the server


def test_runs_made_before_the_server_existed_appear_once_with_tasks_logs_and_graph(tmp_path: Path) -> None:
    home = home_now()
    command = [sys.executable, "-m", "tenuto", "run", "-p", str(IRIS / "data_engineering.py")]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    runs = [home.run_ids()[0], run_of(sums), run_of(sums), run_of(breaks)]

    with TenutoServer(home.path) as server:
        until(lambda: all(is_shipped(home, run) for run in runs), "adoption at the server's start")
        views = [arrived_whole(server, home, run) for run in runs]
        before = server.rows("SELECT * FROM run_event"), server.rows("SELECT id FROM flow_run")
        server.stop()
        server.start()
        assert ship()["shipped"] == 0

        assert (server.rows("SELECT * FROM run_event"), server.rows("SELECT id FROM flow_run")) == before
        assert sorted(run for (run,) in before[1]) == sorted(runs)
        assert server.rows("SELECT name FROM project") == [("local",)]
        # Two runs of one version of a flow.
        assert len(server.rows("SELECT id FROM flow")) == 3
    assert [view.state for view in views] == ["Success", "Success", "Success", "Failed"]
    assert len(views[0].tasks) > 3


LISTS = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
from tenuto import Flow, task

@task
def one():
    return 1

with Flow("lists") as flow:
    one()

flow.run()
print(sum("runs/01900000-" in path for path in opened))
"""


def test_home_of_many_old_runs_is_shipped_once_and_costs_later_runs_a_listing(
    server: TenutoServer, tmp_path: Path
) -> None:
    home = home_now()
    runs = [small_run(number) for number in range(150)]
    use(server)

    told = ship()

    assert (told["shipped"], told["events"]) == (len(runs), 3 * len(runs))
    for run in runs:
        arrived_whole(server, home, run)
    later = subprocess.run(
        program(LISTS, tmp_path),
        env={**os.environ, **address_of(server)},
        capture_output=True,
        text=True,
        check=True,
    )
    until(lambda: is_shipped(home, home.run_ids()[0]), "the shipping of a later run")
    assert later.stdout.splitlines()[-1] == "0"


def small_run(number: int) -> str:
    """Record a run that has ended."""
    run_id = f"01900000-0000-7000-8000-{number:012x}"
    graph = b'{"name":"small","number":%d}' % (number % 3)
    recorder = Recorder.start(home_path(), flow_run_id=run_id, name="small", flow="small", graph=graph)
    recorder.run_state("Running")
    recorder.run_state("Success")
    recorder.close()
    return run_id


def address_of(server: TenutoServer) -> dict[str, str]:
    """Return the variables by which a process speaks to a server."""
    return {"TENUTO__CLOUD__API": server.url, "TENUTO__CLOUD__API_KEY": server.key}


# ---------------------------------------------------------------------------------------- server goes away

PHASES = """
import sys, time
from pathlib import Path
from tenuto import Flow, context, task

@task
def wait_for(phase, before):
    path = Path(sys.argv[1]) / f"phase-{phase}"
    context.logger.info("Waiting for phase %s.", phase)
    while not path.exists():
        time.sleep(0.01)
    return list(range(40))

@task
def work(number):
    context.logger.info("At %s.", number)
    return number

with Flow("phases") as flow:
    done = None
    for phase in range(int(sys.argv[2])):
        done = work.map(wait_for(phase, done))

flow.run()
"""


def test_run_that_goes_on_while_the_server_restarts_five_times_arrives_whole(
    tmp_path: Path,
) -> None:  # R-BE-188
    home, restarts = home_now(), 5
    with TenutoServer(home.path, port=free_port()) as server:
        running = subprocess.Popen([*program(PHASES, tmp_path), str(tmp_path), str(restarts + 1)])
        try:
            until(home.run_ids, "the start of the run")
            run = home.run_ids()[0]
            known = 0
            for phase in range(restarts):
                until(partial(knows_more, server, run, known), "events during the run")
                server.stop(signal.SIGKILL if phase % 2 else signal.SIGTERM)
                known = len(stored_events(server, run))
                (tmp_path / f"phase-{phase}").touch()
                server.start()
            assert running.poll() is None
            (tmp_path / f"phase-{restarts}").touch()
            assert running.wait() == 0
        finally:
            running.kill()
            running.wait()
        until(lambda: is_shipped(home, run), "the shipping of the run")
        view = arrived_whole(server, home, run)
        assert view.state == "Success"
        assert len(view.tasks) >= 40 * (restarts + 1)
        # Its own process kept a lease on it, which ended with it.
        assert server.rows("SELECT lease_until FROM flow_run") == [(None,)]


def knows_more(server: TenutoServer, run: str, events: int) -> bool:
    """Say whether a server has more events of a run than it had."""
    return len(stored_events(server, run)) > events


def test_run_is_not_held_up_by_a_server_that_is_down_and_arrives_when_it_starts() -> None:
    home, port = home_now(), free_port()
    config.cloud.api = f"http://127.0.0.1:{port}"

    run = run_of(sums)

    assert not is_shipped(home, run)
    with TenutoServer(home.path, port=port) as server:
        until(lambda: is_shipped(home, run), "adoption")
        arrived_whole(server, home, run)


def test_what_a_run_could_not_send_is_sent_by_the_next_one(server: TenutoServer) -> None:
    home = home_now()
    config.cloud.api = f"http://127.0.0.1:{free_port()}"
    left = run_of(breaks)
    use(server)

    @task
    def wait_for_the_other() -> None:
        until(lambda: is_shipped(home, left), "shipping by a later run")

    with Flow("later") as later:
        wait_for_the_other()
    run = run_of(later)

    for each in (left, run):
        assert is_shipped(home, each)
        arrived_whole(server, home, each)


def test_wrong_key_costs_one_line_and_no_run(server: TenutoServer, caplog: pytest.LogCaptureFixture) -> None:
    use(server)
    config.cloud.api_key = "wrong"

    state = sums.run()

    assert state.is_successful()
    lines = [record.getMessage() for record in caplog.records if record.name == "tenuto.Shipper"]
    assert len(lines) == 1
    assert lines[0].startswith("Runs are not sent to the server: The API key is wrong")


# --------------------------------------------------------------------------------------------- two at once


def test_adopters_at_the_same_time_ship_each_run_once() -> None:
    home = home_now()
    runs = [small_run(number) for number in range(40)]
    with TenutoServer(home.path) as server:  # whose own adopter is the third
        with ThreadPoolExecutor(2) as pool:
            told = list(pool.map(lambda _: ship(), range(2)))
        until(lambda: all(is_shipped(home, run) for run in runs), "adoption")

        for run in runs:
            arrived_whole(server, home, run)
        assert len(server.rows("SELECT id FROM flow_run")) == len(runs)
    assert sum(int(str(each["shipped"])) for each in told) <= len(runs)


WAITS = """
import sys, time
from pathlib import Path
from tenuto import Flow, context, task

@task
def first():
    return 1

@task
def waits(x):
    context.logger.info("Here I am.")
    while not Path(sys.argv[1]).exists():
        time.sleep(0.01)

with Flow("waits") as flow:
    waits(first())

flow.run()
"""


def test_live_run_that_does_not_ship_itself_is_followed_by_the_server_of_its_machine(tmp_path: Path) -> None:
    home, door = home_now(), tmp_path / "door"
    running = subprocess.Popen([*program(WAITS, tmp_path), str(door)])
    try:
        until(lambda: home.run_ids() and b'"Here I am."' in log_of(home), "the start of the run")
        run = home.run_ids()[0]
        with TenutoServer(home.path) as server:
            until(lambda: len(stored_events(server, run)) >= 5, "events of a run that goes on")
            ((lease,),) = server.rows("SELECT lease_until FROM flow_run WHERE state = 'Running'")
            assert lease is not None
            told = ship()
            assert (told["shipped"], told["going_on"]) == (0, [run])
            door.touch()
            assert running.wait() == 0
            until(lambda: is_shipped(home, run), "the end of the run")
            assert arrived_whole(server, home, run).state == "Success"
    finally:
        running.kill()
        running.wait()


def log_of(home: Home) -> bytes:
    path = home.run_folder(home.run_ids()[0]) / "1.logs.jsonl"
    return path.read_bytes() if path.exists() else b""


# -------------------------------------------------------------------------------------- killed and damaged


@pytest.mark.parametrize("is_shipping", [True, False], ids=["while it ships", "before anybody knew of it"])
def test_killed_run_is_closed_as_crashed_and_arrives(
    server: TenutoServer, tmp_path: Path, is_shipping: bool
) -> None:
    home = home_now()
    environment = {**os.environ, **(address_of(server) if is_shipping else {})}
    running = subprocess.Popen([*program(WAITS, tmp_path), str(tmp_path / "door")], env=environment)
    until(lambda: home.run_ids() and b'"Here I am."' in log_of(home), "the start of the run")
    run = home.run_ids()[0]
    if is_shipping:
        until(lambda: len(stored_events(server, run)) >= 5, "events of a run that goes on")
    running.kill()
    running.wait()
    use(server)

    assert ship()["shipped"] == 1

    view = arrived_whole(server, home, run)
    assert (view.state, view.cause) == ("Failed", "crashed")
    assert {task.slug: (task.state, task.cause) for task in view.tasks.values()} == {
        "first-1": ("Success", ""),
        "waits-1": ("Failed", "crashed"),
    }
    # When it ended nobody knows: its last sign of life is what counts.
    assert view.ended == view.updated
    assert server.rows("SELECT lease_until FROM flow_run WHERE id = ?", run) == [(None,)]
    resumed = subprocess.run(
        [sys.executable, "-m", "tenuto", "history", "--json"], capture_output=True, text=True, check=True
    )
    assert '"cause": "crashed"' in resumed.stdout


def test_what_stands_behind_damage_is_put_aside_and_the_run_closed(server: TenutoServer) -> None:
    home = home_now()
    whole = [state("Running"), task_state("Running"), task_state("Success"), state("Success")]
    journals = [dead_run(*whole) for _ in range(4)]
    cut, garbled, flipped = journals[:3]
    cut.write_bytes(cut.read_bytes()[:-5])
    garbled.write_bytes(garbled.read_bytes() + b"\0" * 512)
    lines = flipped.read_bytes().splitlines(keepends=True)
    flipped.write_bytes(b"".join([*lines[:3], lines[3].replace(b"a-1", b"b-1"), lines[4]]))
    use(server)

    assert ship()["shipped"] == 4

    views = [arrived_whole(server, home, path.parent.name) for path in journals]
    assert [(view.state, view.cause, view.incomplete) for view in views] == [
        ("Failed", "crashed", ""),
        ("Success", "", ""),
        ("Failed", "storage", "a line of it is damaged"),
        ("Success", "", ""),
    ]
    assert views[0].tasks["a-1", -1].state == "Success"
    assert views[2].tasks["a-1", -1].state == "Failed"
    # Nothing is thrown away.
    assert flipped.with_suffix(".damaged").read_bytes() == lines[3].replace(b"a-1", b"b-1") + lines[4]
    assert not garbled.with_suffix(".damaged").exists()


def test_journal_with_an_impossible_event_is_refused_and_left_alone(server: TenutoServer) -> None:
    impossible = dead_run(state("Success"), state("Running"), state("Success"))
    good = dead_run(state("Running"), state("Success"))
    use(server)

    told = ship()

    reason = "The flow run amber-otter cannot go from Pending to Success."
    assert told["shipped"] == 1
    assert told["refused"] == [{"id": impossible.parent.name, "reason": reason}]
    arrived_whole(server, home_now(), good.parent.name)
    marker = home_now().runs / ".shipped" / impossible.parent.name
    assert marker.read_text() == reason
    assert unshipped_runs(home_now()) == []


def test_run_that_a_server_made_itself_is_not_taken_for_a_local_one(server: TenutoServer) -> None:
    journal = dead_run(state("Running"), state("Success"))
    use(server)
    ship()
    run = journal.parent.name
    before = stored_events(server, run)
    # As a worker of that server would have left it behind.
    (home_now().runs / ".shipped" / run).unlink()
    with closing(sqlite3.connect(server.home / "tenuto.db")) as connection:
        connection.execute("UPDATE flow_run SET is_local = 0 WHERE id = ?", (run,))
        connection.commit()

    told = ship()

    assert told["shipped"] == 0
    assert told["refused"] == [{"id": run, "reason": "The server knows this run from elsewhere."}]
    assert stored_events(server, run) == before


def test_id_that_no_server_can_know_is_told_once(server: TenutoServer) -> None:
    use(server)
    sums.run(flow_run_id="mine")
    (name,) = home_now().run_names()
    marker = home_now().runs / ".shipped" / name
    assert marker.read_text() == "its id 'mine' is no UUID in lower case"


def test_run_that_lost_the_server_s_database_is_told_anew(tmp_path: Path) -> None:
    home, door = home_now(), tmp_path / "door"
    with TenutoServer(home.path, port=free_port()) as server:
        running = subprocess.Popen([*program(WAITS, tmp_path), str(door)])
        try:
            until(lambda: home.run_ids() and b'"Here I am."' in log_of(home), "the start of the run")
            run = home.run_ids()[0]
            until(lambda: len(stored_events(server, run)) >= 5, "events of a run that goes on")
            server.stop()
            for path in home.path.glob("tenuto.db*"):
                path.unlink()
            server.start()
            door.touch()
            assert running.wait() == 0
        finally:
            running.kill()
            running.wait()
        until(lambda: is_shipped(home, run), "the shipping of the run")
        arrived_whole(server, home, run)


# --------------------------------------------------------------------------------------------- state names


class Bored(Success):
    """A user's own."""


def test_states_of_a_user_are_told_by_the_nearest_class_that_everybody_knows(server: TenutoServer) -> None:
    use(server)

    @task
    def bores() -> None:
        raise signals.ENDRUN(Bored("nothing to do"))

    with Flow("bored") as flow:
        bores()
    run = run_of(flow)

    view = arrived_whole(server, home_now(), run)
    assert [(each.state, each.message) for each in view.tasks.values()] == [("Success", "nothing to do")]


def test_flow_that_a_handler_ends_before_it_runs_arrives(server: TenutoServer) -> None:
    use(server)

    def ends(flow: Flow, old: State, new: State) -> State:
        return Success("enough") if new.is_running() else new

    with Flow("ended", state_handlers=[ends]) as flow:
        one()
    run = run_of(flow)

    assert arrived_whole(server, home_now(), run).state == "Success"


def dead_run(*events: Event) -> Path:
    """Write the journal of a run whose process is gone, and return its path."""
    graph = home_now().objects_put(b'{"name":"sums"}')
    run_id = record(home_now(), *events, number=next(numbers), first=dead_header(graph_sha256=graph))
    return journal_path(home_now().run_folder(run_id))
