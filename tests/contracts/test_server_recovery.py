"""What both stores promise when a server starts after one that ended in any way (reliability 3.10, 3.14)."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tenuto._base.failpoints import Action, Failpoint, FailpointReached, armed
from tenuto.schedules.clocks import CronClock
from tenuto.schedules.schedules import Schedule
from tenuto.serialization.schedule import schedule_to_dict
from tenuto.server.services.recovery import recover
from tenuto.server.services.rescue import RescueService
from tenuto.server.services.running import forget_old_notices
from tenuto.server.services.scheduler import SchedulerService
from tenuto.server.store.sql import claims, flows, schedules, tables
from tenuto.server.store.sql.database import Database
from tenuto.server.store.sql.refold import refold
from tenuto.server.store.sql.services import DatabaseDamaged, beat, begin_server, end_server
from tenuto.server.store.sql.sqlite import SqliteDatabase
from tests.contracts.server_stores import (
    TIMINGS,
    Clock,
    Server,
    batch_of,
    migrated_file,
    run_state,
)

MINUTELY = schedule_to_dict(Schedule([CronClock("* * * * *")]))
SWEEP = TIMINGS.sweep.total_seconds()
STEPS = ("recovery.checked", "recovery.begun", "recovery.refolded", "recovery.scheduled")


class Passing:
    """Seconds that pass with the clock of the store, and without it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._start = clock.now
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        self._clock.advance(seconds=seconds)


@pytest.fixture
def passing(clock: Clock) -> Passing:
    return Passing(clock)


def new_rescue(server: Server, passing: Passing) -> RescueService:
    return RescueService(server.database, TIMINGS, server.database.write(begin_server), passing)


def running(server: Server) -> claims.Claim:
    server.new_run()
    (grant,) = server.claim()
    server.send(grant.run["id"], grant.token, batch_of(grant.epoch, 1, run_state("Running")))
    return grant


def row_of(server: Server, run_id: str) -> dict[str, Any]:
    query = sa.select(tables.flow_run).where(tables.flow_run.c.id == run_id)
    return server.database.read(
        lambda transaction: dict(transaction.connection.execute(query).mappings().one())
    )


def events_of(server: Server, run_id: str) -> list[dict[str, Any]]:
    event = tables.run_event
    query = sa.select(event.c.payload).where(event.c.run_id == run_id).order_by(event.c.seq)
    return server.database.read(lambda transaction: list(transaction.connection.execute(query).scalars()))


def spoil(database: Database, table: sa.Table, key: str, value: str, **columns: Any) -> None:
    """Change a row behind the back of the server."""
    change = sa.update(table).where(table.c[key] == value).values(columns)
    assert database.write(lambda transaction: transaction.connection.execute(change).rowcount) > 0


# ---------------------------------------------------------------------------------------------------- a start


def test_run_that_is_not_what_its_events_say_is_put_right(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    # I-3, reliability 3.10 (5)
    wrong, right = running(server).run["id"], running(server).run["id"]
    spoil(server.database, tables.flow_run, "id", wrong, state="Scheduled", seq=1)
    before = events_of(server, right)

    with caplog.at_level(logging.ERROR, "tenuto.server"):
        recover(server.database, TIMINGS)

    row = row_of(server, wrong)
    assert (row["state"], row["seq"]) == ("Running", 4)
    assert events_of(server, wrong)[-1]["cause"] == "inconsistency"
    assert [record.args for record in caplog.records] == [(wrong,)]
    assert events_of(server, right) == before
    caplog.clear()
    recover(server.database, TIMINGS)
    assert caplog.records == []
    assert row_of(server, wrong)["seq"] == 4


@pytest.mark.parametrize(
    ("spoilt", "end"),
    [({"lease_until": None, "state": "Pending"}, "Scheduled"), ({"state": "Nonsense"}, "Running")],
)
def test_run_that_was_put_right_goes_on(
    server: Server, passing: Passing, spoilt: dict[str, Any], end: str
) -> None:
    # I-10: one that nobody holds is found as lost.
    grant = running(server)
    spoil(server.database, tables.flow_run, "id", grant.run["id"], **spoilt)
    recover(server.database, TIMINGS)
    rescue = new_rescue(server, passing)

    for _ in range(7):
        passing.advance(SWEEP)
        if spoilt["state"] == "Nonsense":
            server.heartbeat(grant)
        rescue.run_once()

    assert row_of(server, grant.run["id"])["state"] == end


def test_waiting_run_that_was_put_right_can_be_claimed(server: Server) -> None:
    # I-8
    run_id = server.new_run()
    spoil(server.database, tables.flow_run, "id", run_id, state="Nonsense", due=None)

    recover(server.database, TIMINGS)

    assert [grant.run["id"] for grant in server.claim()] == [run_id]


def test_run_that_is_right_when_its_turn_comes_is_left_as_it_is(server: Server) -> None:
    # It was found while its worker reported: row and events are read one after the other.
    run_id = running(server).run["id"]
    before = row_of(server, run_id)

    assert not server.database.write(partial(refold, run_id=run_id))

    assert row_of(server, run_id) == before


def test_missed_runs_cannot_be_claimed_when_a_server_has_started(server: Server, clock: Clock) -> None:
    # R-BE-71, reliability 3.10 (7)
    settings = {"catchup": "none", "grace_seconds": 0}
    server.database.write(
        partial(flows.update_group, group_id=server.group_id, values={"settings": settings})
    )
    server.database.write(
        partial(schedules.set_schedule, group_id=server.group_id, described=MINUTELY, is_own=True)
    )
    SchedulerService(server.database, TIMINGS, server.database.write(begin_server)).make_all()
    clock.advance(hours=1, seconds=30)

    recover(server.database, TIMINGS)

    assert server.claim(limit=100) == []


@pytest.mark.parametrize("step", STEPS)
def test_start_that_is_killed_is_made_again(server: Server, clock: Clock, step: str) -> None:
    # reliability 3.10, 4.2
    server.database.write(begin_server)
    grant = running(server)
    wrong = running(server).run["id"]
    spoil(server.database, tables.flow_run, "id", wrong, state="Scheduled")
    server.database.write(
        partial(schedules.set_schedule, group_id=server.group_id, described=MINUTELY, is_own=True)
    )
    clock.advance(minutes=10)

    with armed(Failpoint(step, Action.RAISE)), pytest.raises(FailpointReached):
        recover(server.database, TIMINGS)
    recover(server.database, TIMINGS)

    # By the downtime, once: no more than a heartbeat and the grace would give.
    until = row_of(server, grant.run["id"])["lease_until"]
    assert until - clock.now == TIMINGS.lease + TIMINGS.grace
    assert row_of(server, wrong)["state"] == "Running"
    causes = [event.get("cause") for event in events_of(server, wrong)]
    assert causes.count("inconsistency") == 1
    made = sa.select(sa.func.count()).select_from(tables.scheduled_time)
    assert server.database.read(lambda transaction: transaction.connection.execute(made).scalar_one()) == 30


@contextmanager
def damaged(folder: Path, *, is_clean: bool) -> Iterator[SqliteDatabase]:
    """Give a database, one page of which was overwritten after its server had ended."""
    path = folder / "store.db"
    path.write_bytes(migrated_file())
    database = SqliteDatabase(path, Clock())
    server_id = database.write(begin_server)
    if is_clean:
        database.write(partial(end_server, server_id=server_id))
    size, page = database.read(
        lambda transaction: (
            transaction.connection.exec_driver_sql("PRAGMA page_size").scalar_one(),
            transaction.connection.exec_driver_sql(
                "SELECT rootpage FROM sqlite_schema WHERE name = 'log_chunk'"
            ).scalar_one(),
        )
    )
    database.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    database = SqliteDatabase(path, Clock())
    try:
        yield database
    finally:
        database.close()


def test_damaged_file_is_noticed_after_a_server_that_was_killed(tmp_path: Path) -> None:
    # reliability 3.10 (2)
    with damaged(tmp_path, is_clean=False) as database, pytest.raises(DatabaseDamaged, match="backup"):
        recover(database, TIMINGS)


def test_file_is_not_read_through_after_a_server_that_stopped_in_order(tmp_path: Path) -> None:
    # reliability 3.10 (2): it takes as long as the file is large.
    with damaged(tmp_path, is_clean=True) as database:
        assert recover(database, TIMINGS)


# ----------------------------------------------------------------------------------------------------- sweeps


def test_nothing_is_taken_away_before_heartbeats_could_come(server: Server, passing: Passing) -> None:
    # reliability 3.10 (8)
    grant = running(server)
    passing.advance(91)
    rescue = new_rescue(server, passing)

    turns = []
    while passing.seconds < 91 + 60:
        turns.append(rescue.run_once())
        passing.advance(SWEEP)

    assert turns == [0, 0, 0, 0]
    assert rescue.run_once() == 1
    assert row_of(server, grant.run["id"])["state"] == "Scheduled"


def steady_rescue(server: Server, passing: Passing) -> RescueService:
    """Return a service that has worked for long."""
    rescue = new_rescue(server, passing)
    for _ in range(6):
        rescue.run_once()
        passing.advance(SWEEP)
    rescue.run_once()
    return rescue


@pytest.mark.parametrize("seconds", [200, 3600 * 24])
def test_sweep_that_comes_late_extends_leases_first(server: Server, passing: Passing, seconds: float) -> None:
    # I-18, reliability 3.14: SIGSTOP, or a laptop that slept.
    rescue = steady_rescue(server, passing)
    held, lost = running(server), running(server)
    passing.advance(seconds)

    assert rescue.run_once() == 0
    for turn in range(1, 11):
        passing.advance(SWEEP)
        if turn % 3 == 0:
            server.heartbeat(held)
        rescue.run_once()

    assert row_of(server, held.run["id"])["state"] == "Running"
    assert row_of(server, lost.run["id"])["state"] == "Scheduled"


@pytest.mark.parametrize("hours", [1, -1, 24 * 365, -24 * 365])
def test_clock_of_the_database_that_is_set_ends_no_lease_early_or_late(
    server: Server, clock: Clock, passing: Passing, hours: int
) -> None:
    # I-18
    rescue = steady_rescue(server, passing)
    held, lost = running(server), running(server)
    clock.advance(hours=hours)
    passing.advance(SWEEP)

    assert rescue.run_once() == 0
    for turn in range(1, 11):
        passing.advance(SWEEP)
        if turn % 3 == 0:
            server.heartbeat(held)
        rescue.run_once()

    assert row_of(server, held.run["id"])["state"] == "Running"
    assert row_of(server, lost.run["id"])["state"] == "Scheduled"


def test_sweeps_in_time_extend_nothing(server: Server, passing: Passing) -> None:
    rescue = steady_rescue(server, passing)
    grant = running(server)

    passing.advance(SWEEP + TIMINGS.margin.total_seconds())
    rescue.run_once()

    assert row_of(server, grant.run["id"])["lease_until"] == grant.lease_until


# ----------------------------------------------------------------------------------------------------- poison


def test_rows_that_cannot_be_read_stop_no_loop(server: Server, passing: Passing) -> None:
    # S-26
    server_id = server.database.write(begin_server)
    bad_state, bad_event, healthy = (running(server).run["id"] for _ in range(3))
    new = flows.NewVersion(project="P", serialized={"name": "poisoned"}, digest="x")
    groups = [server.group_id, server.database.write(partial(flows.register, new=new)).flow_group_id]
    for group in groups:
        server.database.write(
            partial(schedules.set_schedule, group_id=group, described=MINUTELY, is_own=True)
        )
    spoil(server.database, tables.run_event, "run_id", bad_event, payload=[7])
    spoil(server.database, tables.schedule, "flow_group_id", groups[1], described=[7])
    spoil(server.database, tables.flow_group, "id", groups[1], settings=[7], default_parameters=7)
    passing.advance(600)

    second = recover(server.database, TIMINGS)
    spoil(server.database, tables.flow_run, "id", bad_state, state="Nonsense", commands=7, rescue="?")
    rescue = RescueService(server.database, TIMINGS, second, passing)
    scheduler = SchedulerService(server.database, TIMINGS, second)
    for _ in range(12):
        passing.advance(SWEEP)
        rescue.run_once()
        scheduler.run_once()
        for beating in (server_id, second):
            server.database.write(partial(beat, server_id=beating))
        server.database.write(forget_old_notices)

    assert row_of(server, healthy)["state"] == "Scheduled"
    ((_, on), (_, off)) = [
        (group, server.database.read(partial(schedules.get_schedule, group_id=group))) for group in groups
    ]
    assert on["active"]
    assert not off["active"]
    newest = sa.select(sa.func.max(tables.scheduled_time.c.at))
    assert server.database.read(
        lambda transaction: transaction.connection.execute(newest).scalar_one()
    ) > server.clock.now + timedelta(minutes=10)
