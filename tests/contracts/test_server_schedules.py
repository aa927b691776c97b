"""What both stores promise of schedules: each time one run, and which runs may start (reliability 3.5)."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tenuto._base.failpoints import Action, Failpoint, armed
from tenuto.schedules import filters
from tenuto.schedules.clocks import CronClock, IntervalClock
from tenuto.schedules.schedules import Schedule
from tenuto.serialization.schedule import schedule_to_dict
from tenuto.server.services import scheduler
from tenuto.server.services.scheduler import SchedulerService
from tenuto.server.store.sql import flows, leases, runs, schedules, tables
from tenuto.server.store.sql.database import StoreUnavailable
from tenuto.server.store.sql.services import begin_server
from tests.contracts.server_stores import (
    TIMINGS,
    Clock,
    Server,
    batch_of,
    run_state,
    sqlite_store,
)

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
MINUTELY = schedule_to_dict(Schedule([CronClock("* * * * *")]))


@pytest.fixture
def sqlite_server(tmp_path: Path, clock: Clock) -> Iterator[Server]:
    """Give a server whose clock is not that on the wall: on PostgreSQL there is one clock."""
    with sqlite_store(tmp_path, clock) as database:
        yield Server(database, clock)


def new_scheduler(server: Server) -> SchedulerService:
    return SchedulerService(server.database, TIMINGS, server.database.write(begin_server))


def set_schedule(server: Server, described: Any = MINUTELY) -> str:
    work = partial(schedules.set_schedule, group_id=server.group_id, described=described, is_own=True)
    return server.database.write(work)


def set_settings(server: Server, **settings: Any) -> None:
    work = partial(flows.update_group, group_id=server.group_id, values={"settings": settings})
    server.database.write(work)


def runs_of(server: Server, *states: str) -> list[dict[str, Any]]:
    """Return the runs that schedules made, by their times."""
    run = tables.flow_run
    query = sa.select(run).where(run.c.auto_scheduled).order_by(run.c.scheduled_for, run.c.id)
    if states:
        query = query.where(run.c.state.in_(states))
    return server.database.read(
        lambda transaction: [dict(row) for row in transaction.connection.execute(query).mappings()]
    )


def times_of(server: Server, *states: str) -> list[datetime]:
    return [run["scheduled_for"] for run in runs_of(server, *states)]


def minutes_from(start: datetime, first: int, last: int) -> list[datetime]:
    return [start + count * MINUTE for count in range(first, last + 1)]


def register(server: Server, *parameters: dict[str, Any]) -> str:
    """Register another version of the flow, and have it follow its schedule; return its id."""
    new = flows.NewVersion(project="P", serialized={"name": "f", "parameters": list(parameters)}, digest="n")

    def work(transaction: Any) -> str:
        found = flows.register(transaction, new)
        schedules.follow_code(transaction, found.flow_group_id, None, None, is_new_version=found.created)
        return found.flow_id

    return server.database.write(work)


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Call all at the same time, each in a thread of its own; return what they returned."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        barrier.wait(60)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [done.result() for done in [pool.submit(run, call) for call in calls]]


def gone(name: str) -> None:
    raise StoreUnavailable("unreachable", f"The scheduler was killed at {name}.")


def killed_at(name: str, nth: int = 1) -> Failpoint:
    """Return a point at which a scheduler ends in the middle of a transaction."""
    return Failpoint(name, Action.RAISE, nth=nth, on_action=gone)


# ------------------------------------------------------------------------------------------ each time one run


def test_each_time_of_a_schedule_has_one_run_with_several_servers(server: Server, clock: Clock) -> None:
    # I-7 R-BE-75
    set_schedule(server)
    services = [new_scheduler(server) for _ in range(2)]

    for _ in range(3):
        for service in services:
            service.run_once()
        clock.advance(seconds=31)

    times = times_of(server)
    assert len(times) == len(set(times)) == 21


def test_two_schedulers_at_once_make_each_run_once(server: Server, clock: Clock) -> None:
    # I-7 R-BE-75
    start = clock.now
    set_schedule(server)

    made = at_once(*[new_scheduler(server).make_all for _ in range(4)])

    assert sum(made) == 20
    assert times_of(server) == minutes_from(start, 1, 20)


@pytest.mark.parametrize("point", ["scheduler.between", "scheduler.before_commit"])
def test_scheduler_that_is_killed_leaves_no_time_out(
    server: Server, clock: Clock, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # I-7
    monkeypatch.setattr(scheduler, "_GROUP", 3)
    start = clock.now
    # Two at each time, and the group of a transaction ends between them.
    clocks = [CronClock("* * * * *", parameter_defaults={"kind": kind}) for kind in ("a", "b")]
    set_schedule(server, schedule_to_dict(Schedule(clocks)))
    clock.advance(minutes=9)

    for nth in (2, 3):
        with armed(killed_at(point, nth)), pytest.raises(StoreUnavailable):
            new_scheduler(server).make_all()
    new_scheduler(server).make_all()

    assert times_of(server) == [at for at in minutes_from(start, 1, 24) for _ in range(2)]


def test_run_that_was_cancelled_is_not_made_again(server: Server, clock: Clock) -> None:
    # R-BE-66
    set_schedule(server)
    service = new_scheduler(server)
    service.run_once()
    first, *_, last = runs_of(server)
    for run in (first, last):
        server.database.write(partial(runs.cancel, run_id=run["id"], by="ada"))

    clock.advance(seconds=20)
    service.run_once()

    assert times_of(server, "Cancelled") == [first["scheduled_for"], last["scheduled_for"]]
    assert len(times_of(server)) == len(set(times_of(server))) == 20


def test_schedule_that_is_set_again_makes_runs_of_its_own(server: Server) -> None:
    # R-BE-60 R-BE-66
    set_schedule(server)
    service = new_scheduler(server)
    service.run_once()
    cancelled = runs_of(server)[0]["id"]
    server.database.write(partial(runs.cancel, run_id=cancelled, by="ada"))

    schedule_id = set_schedule(server)
    service.run_once()

    waiting = runs_of(server, "Scheduled")
    assert {run["schedule_id"] for run in waiting} == {schedule_id}
    assert len(waiting) == 20
    assert [run["id"] for run in runs_of(server, "Cancelled")] == [cancelled]


def test_runs_of_a_clock_are_spread_by_its_jitter(server: Server, clock: Clock) -> None:
    # R-BE-73
    described = schedule_to_dict(Schedule([CronClock("* * * * *")]))
    described["clocks"][0]["jitter_seconds"] = 40
    start = clock.now
    set_schedule(server, described)

    new_scheduler(server).run_once()

    found = runs_of(server)
    assert [run["scheduled_for"] for run in found] == minutes_from(start, 1, 20)
    late = [run["due"] - run["scheduled_for"] for run in found]
    assert len(set(late)) == 20
    assert all(timedelta(0) <= by < timedelta(seconds=40) for by in late)
    assert [run["scheduled_start_time"] for run in found] == [run["due"] for run in found]


def test_times_that_never_come_are_not_looked_for_again_and_again(server: Server, clock: Clock) -> None:
    weekends = Schedule([IntervalClock(HOUR, start_date=clock.now)], filters=[filters.on_date(1, 1)])
    set_schedule(server, schedule_to_dict(weekends))
    clock.advance(days=30)
    new_scheduler(server).run_once()

    (known,) = server.database.read(schedules.active_schedules)

    assert clock.now - known.since <= timedelta(days=1)
    assert runs_of(server) == []


# -------------------------------------------------------------------------------------- setting and switching


def test_a_schedule_that_is_switched_off_takes_its_unstarted_runs_with_it(server: Server) -> None:
    # R-BE-64
    set_schedule(server)
    new_scheduler(server).run_once()
    assert runs_of(server)

    server.database.write(partial(schedules.switch_schedule, group_id=server.group_id, active=False))

    assert runs_of(server) == []


def test_a_schedule_that_cannot_be_read_is_switched_off_and_the_others_go_on(server: Server) -> None:
    # S-26
    set_schedule(server)
    (other,) = server.database.read(schedules.active_schedules)
    new = flows.NewVersion(project="P", serialized={"name": "poisoned"}, digest="x")
    poisoned = server.database.write(partial(flows.register, new=new)).flow_group_id
    server.database.write(partial(schedules.set_schedule, group_id=poisoned, described=MINUTELY, is_own=True))
    table = tables.schedule
    bad = sa.update(table).where(table.c.flow_group_id == poisoned).values(described={"clocks": 7})
    server.database.write(lambda transaction: transaction.connection.execute(bad).rowcount)

    assert new_scheduler(server).run_once() == 20

    known = server.database.read(partial(schedules.get_schedule, group_id=poisoned))
    assert not known["active"]
    assert known["reason"]
    assert {run["schedule_id"] for run in runs_of(server)} == {other.id}


def test_schedule_that_cannot_be_followed_says_why_when_it_is_set(server: Server) -> None:
    # R-BE-33
    register(server, {"name": "x", "required": True})
    set_schedule(server)

    known = server.database.read(partial(schedules.get_schedule, group_id=server.group_id))

    assert not known["active"]
    assert "x" in known["reason"]


def test_of_schedules_that_are_set_at_once_one_is_left(server: Server) -> None:
    # R-BE-60
    ids = at_once(*[partial(set_schedule, server) for _ in range(4)], new_scheduler(server).make_all)[:4]
    new_scheduler(server).make_all()

    (known,) = server.database.read(schedules.active_schedules)
    assert known.id in ids
    assert [run["schedule_id"] for run in runs_of(server)] == [known.id] * 20


def test_switching_off_wins_over_a_scheduler_that_is_at_work(server: Server) -> None:
    # R-BE-64
    set_schedule(server)
    off = partial(schedules.switch_schedule, group_id=server.group_id, active=False)
    started: list[threading.Thread] = []

    def switch_off_meanwhile(_: str) -> None:
        started.append(threading.Thread(target=server.database.write, args=(off,)))
        started[0].start()

    point = Failpoint("scheduler.between", Action.SLEEP, nth=3, on_action=switch_off_meanwhile)
    with armed(point):
        new_scheduler(server).make_all()
    started[0].join()

    assert runs_of(server) == []


def test_another_version_makes_the_runs_to_come_anew(server: Server, clock: Clock) -> None:
    # R-BE-38 R-BE-66
    start = clock.now
    set_schedule(server)
    service = new_scheduler(server)
    service.run_once()
    server.database.write(partial(runs.cancel, run_id=runs_of(server)[7]["id"], by="ada"))
    clock.advance(minutes=2)

    flow_id = register(server)
    due = [run["id"] for run in runs_of(server, "Scheduled")]
    service.run_once()

    assert [run["scheduled_for"] for run in runs_of(server) if run["id"] in due] == minutes_from(start, 1, 2)
    assert times_of(server) == minutes_from(start, 1, 22)
    assert {run["flow_id"] for run in runs_of(server, "Scheduled")} == {flow_id}
    assert times_of(server, "Cancelled") == minutes_from(start, 8, 8)


def test_another_version_that_cannot_be_run_by_schedule_switches_it_off(server: Server) -> None:
    # R-BE-33
    set_schedule(server)
    new_scheduler(server).run_once()

    register(server, {"name": "x", "required": True})

    known = server.database.read(partial(schedules.get_schedule, group_id=server.group_id))
    assert not known["active"]
    assert "x" in known["reason"]
    assert runs_of(server) == []


# -------------------------------------------------------------------------------------- runs that were missed


@pytest.mark.parametrize(
    ("catchup", "left"), [("all", [*range(1, 61)]), ("latest", [*range(55, 61)]), ("none", [*range(55, 61)])]
)
def test_runs_that_were_missed_are_run_as_their_flow_says(
    server: Server, clock: Clock, catchup: str, left: list[int]
) -> None:
    # R-BE-71
    set_settings(server, catchup=catchup, grace_seconds=300)
    start = clock.now
    set_schedule(server)
    service = new_scheduler(server)
    service.run_once()
    clock.advance(hours=1)
    service.run_once()

    waiting = [at for at in times_of(server, "Scheduled") if at <= clock.now]
    dropped = runs_of(server, "Cancelled")
    assert waiting == [start + count * MINUTE for count in left]
    assert len(waiting) + len(dropped) == 60
    assert {run["cause"] for run in dropped} <= {"missed-window"}


@pytest.mark.parametrize(("catchup", "count"), [("latest", 1), ("none", 0)])
def test_without_grace_the_latest_or_none_is_run(
    server: Server, clock: Clock, catchup: str, count: int
) -> None:
    # R-BE-71
    set_settings(server, catchup=catchup, grace_seconds=0)
    set_schedule(server)
    clock.advance(hours=1, seconds=30)
    new_scheduler(server).run_once()

    assert len(server.claim(limit=100)) == count
    assert len(runs_of(server, "Cancelled")) == 60 - count


@pytest.mark.parametrize("nth", [1, 2, 5])
def test_no_agent_gets_a_run_that_was_missed_while_they_are_made(
    server: Server, clock: Clock, nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # R-BE-71: cancelled in the transaction that makes it, whenever the scheduler ends.
    monkeypatch.setattr(scheduler, "_GROUP", 7)
    set_settings(server, catchup="latest", grace_seconds=0)
    set_schedule(server)
    clock.advance(hours=1, seconds=30)

    with armed(killed_at("scheduler.before_commit", nth)), pytest.raises(StoreUnavailable):
        new_scheduler(server).make_all()

    assert len(times_of(server)) == 7 * (nth - 1)
    assert server.claim(limit=100) == []
    new_scheduler(server).make_all()
    (claimed,) = server.claim(limit=100)
    assert claimed.run["scheduled_for"] == clock.now - timedelta(seconds=30)


# -------------------------------------------------------------------------------------------- which may start


def due_runs(server: Server, clock: Clock, count: int) -> list[str]:
    """Have a schedule make runs that are due; return their ids, the earliest first."""
    set_schedule(server)
    new_scheduler(server).run_once()
    clock.advance(minutes=count)
    return [run["id"] for run in runs_of(server)][:count]


def state_of(server: Server, run_id: str) -> tuple[str, str]:
    run = tables.flow_run
    query = sa.select(run.c.state, run.c.cause).where(run.c.id == run_id)
    state, cause = server.database.read(lambda transaction: transaction.connection.execute(query).one())
    return state, cause


def test_runs_wait_for_room_beside_those_of_their_flow(server: Server, clock: Clock) -> None:
    # R-BE-72
    set_settings(server, overlap="queue", max_concurrent_runs=2)
    ids = due_runs(server, clock, 4)

    held = server.claim(limit=10)

    assert [grant.run["id"] for grant in held] == ids[:2]
    assert server.claim(limit=10) == []
    lease = leases.Lease(held[0].epoch, held[0].token)
    server.database.write(partial(leases.crashed, run_id=ids[0], lease=lease, message="Killed."))
    # The first is rescued, and due again; it is behind those that have waited for longer.
    assert [grant.run["id"] for grant in server.claim(limit=10)] == [ids[2]]


def test_runs_of_other_flows_do_not_wait_behind_a_flow_without_room(server: Server, clock: Clock) -> None:
    # I-8 R-BE-72
    set_settings(server, overlap="queue")
    ids = due_runs(server, clock, 5)
    new = flows.NewVersion(project="P", serialized={"name": "other"}, digest="o")
    other = server.database.write(partial(flows.register, new=new)).flow_id
    made, _ = server.database.write(partial(runs.create_run, new=runs.NewRun(flow_id=other, due=clock.now)))

    assert [grant.run["id"] for grant in server.claim(limit=2)] == [ids[0], made]


def test_run_is_dropped_while_another_is_under_way(server: Server, clock: Clock) -> None:
    # R-BE-72
    set_settings(server, overlap="skip")
    ids = due_runs(server, clock, 3)
    asked_for = server.new_run()

    assert [grant.run["id"] for grant in server.claim(limit=10)] == [ids[0]]

    assert [state_of(server, run_id) for run_id in ids[1:]] == [("Cancelled", "limit")] * 2
    assert state_of(server, asked_for)[0] == "Scheduled"


def test_run_takes_the_place_of_one_that_is_under_way(server: Server, clock: Clock) -> None:
    # R-BE-72
    set_settings(server, overlap="cancel-running")
    first, second = due_runs(server, clock, 2)
    (held,) = server.claim()
    server.send(first, held.token, batch_of(held.epoch, 1, run_state("Running")))

    assert server.claim() == []  # It is told to end first.

    assert state_of(server, first) == ("Cancelling", "limit")
    assert server.claim() == []
    server.send(first, held.token, batch_of(held.epoch, 2, run_state("Cancelled")))
    assert [grant.run["id"] for grant in server.claim()] == [second]


def test_of_two_agents_at_once_one_gets_the_only_run_that_may_be(server: Server, clock: Clock) -> None:
    # R-BE-72
    set_settings(server, max_concurrent_runs=1)
    due_runs(server, clock, 8)

    granted = at_once(*[partial(server.claim, limit=2, name=f"agent {number}") for number in range(4)])

    # One that meets another at it looks again later.
    assert sum(map(len, granted)) == 1
    assert server.claim() == []


# ---------------------------------------------------------------------------------------- clocks that are set


@pytest.mark.parametrize("hours", [1, -1])
def test_times_follow_the_clock_on_the_wall_and_leases_do_not(
    sqlite_server: Server, clock: Clock, hours: int
) -> None:
    # I-18
    server = sqlite_server
    set_settings(server, catchup="all")
    start = clock.now
    set_schedule(server)
    service = new_scheduler(server)
    service.run_once()
    clock.advance(hours=2)
    service.run_once()
    held, *_ = server.claim(limit=1000)
    server.send(held.run["id"], held.token, batch_of(held.epoch, 1, run_state("Running")))

    clock.ahead = hours * HOUR
    service.run_once()

    assert server.sweep() == []
    # The wall shows three, or one, o'clock: all up to then is due, and nothing else.
    due = minutes_from(start, 121, 180) if hours > 0 else []
    assert [grant.run["scheduled_for"] for grant in server.claim(limit=100)] == due
    # An hour that comes once more makes nothing once more.
    clock.ahead = timedelta(0)
    service.run_once()
    clock.advance(hours=1)
    service.run_once()
    assert times_of(server) == minutes_from(start, 1, 200)


def test_run_that_waits_starts_when_the_wall_shows_its_time(sqlite_server: Server, clock: Clock) -> None:
    # I-18
    server = sqlite_server
    at = clock.now + 2 * HOUR
    run_id = server.new_run(due=at)
    service = new_scheduler(server)

    clock.ahead = HOUR
    service.run_once()
    clock.advance(minutes=59)
    assert server.claim() == []
    clock.advance(minutes=1)

    assert [grant.run["id"] for grant in server.claim()] == [run_id]
    assert at == datetime(2026, 3, 1, 14, tzinfo=UTC)


def test_run_that_was_to_start_at_once_does_so_after_the_clock_was_set_back(
    sqlite_server: Server, clock: Clock
) -> None:
    # I-18
    server = sqlite_server
    later, now = server.new_run(due=clock.now + HOUR), server.new_run()
    service = new_scheduler(server)
    service.run_once()
    server.database.write(partial(runs.start_now, run_id=later, by="ada"))

    clock.ahead = -2 * HOUR
    service.run_once()

    assert {grant.run["id"] for grant in server.claim(limit=10)} == {later, now}


def test_server_that_starts_follows_the_wall_of_its_own_machine(sqlite_server: Server, clock: Clock) -> None:
    # I-18: what waits was planned by the clock of an earlier process.
    server = sqlite_server
    clock.ahead = HOUR
    run_id = server.new_run(due=clock.now + 2 * HOUR)
    clock.now, clock.ahead = clock.now + HOUR, timedelta(0)

    new_scheduler(server).run_once()
    clock.advance(minutes=59)
    assert server.claim() == []
    clock.advance(minutes=1)

    assert [grant.run["id"] for grant in server.claim()] == [run_id]
