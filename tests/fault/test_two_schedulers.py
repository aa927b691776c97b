"""
Several schedulers at once, which are killed, while clocks are set and change to summer time and back.

Judged by the naive model: the times of the schedule over the whole range, in one go (I-7, I-18).
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Self
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from tenuto._base.failpoints import Action, Failpoint, armed
from tenuto.schedules.clocks import CronClock, IntervalClock
from tenuto.schedules.schedules import Schedule
from tenuto.serialization.schedule import schedule_to_dict
from tenuto.server.domain.horizon import clock_key
from tenuto.server.services.rescue import RescueService
from tenuto.server.services.scheduler import SchedulerService
from tenuto.server.store.sql import flows, schedules, tables
from tenuto.server.store.sql.database import Database, StoreUnavailable
from tenuto.server.store.sql.postgresql import PostgresqlDatabase
from tenuto.server.store.sql.services import begin_server
from tests.contracts.server_stores import (
    TIMINGS,
    Clock,
    Server,
    batch_of,
    migrated_template,
    run_state,
    sqlite_store,
)
from tests.fakes.postgres import PostgresServer
from tests.fault.harness.figures import figure

HOUR = timedelta(hours=1)
# The last of them changes by half an hour.
ZONES = ("Europe/Berlin", "America/New_York", "America/Santiago", "Australia/Lord_Howe")
YEARS = (2025, 2026, 2027)
SLOTS = 1_000
POINTS = ("scheduler.between", "scheduler.before_commit", "store.before_commit", "store.after_commit")

Slot = tuple[str, datetime]


def changes_of(zone: ZoneInfo, year: int) -> list[datetime]:
    """Return the hours of a year in which the clocks of a zone change."""
    hours = [datetime(year, 1, 1, tzinfo=UTC) + count * HOUR for count in range(365 * 24)]
    offsets = [hour.astimezone(zone).utcoffset() for hour in hours]
    return [hour for hour, offset, later in zip(hours, offsets, offsets[1:], strict=False) if offset != later]


def schedule_in(zone: ZoneInfo) -> Schedule:
    """Return a schedule of times that changes of clocks leave out, and repeat."""
    begin = datetime(2024, 12, 31, tzinfo=zone)
    return Schedule(
        [
            CronClock("*/30 * * * *", start_date=begin),
            CronClock("30 2 * * *", start_date=begin, parameter_defaults={"kind": "nightly"}),
            IntervalClock(timedelta(days=1), start_date=begin + 1.5 * HOUR, labels=["daily"]),
        ]
    )


def expected_slots(schedule: Schedule, begin: datetime, end: datetime) -> set[Slot]:
    """Return the times of a schedule after one time and up to another, with the keys of their clocks."""
    events = schedule.events(begin, end)
    return {(clock_key(event.parameter_defaults, event.labels), event.instant) for event in events}


def slots_of(server: Server, schedule_id: str) -> Counter[Slot]:
    """Return how many runs there are of each time of a schedule."""
    run = tables.flow_run
    query = sa.select(run.c.parameters, run.c.labels, run.c.scheduled_for)
    query = query.where(run.c.schedule_id == schedule_id)
    rows = server.database.read(lambda transaction: transaction.connection.execute(query).all())
    return Counter((clock_key(given, labels or None), at) for given, labels, at in rows)


class Schedulers:
    """
    Schedulers that work at once, each of a server of its own, and are killed now and then.

    Attributes:
        kills: how many were.
    """

    def __init__(self, count: int, open_store: Callable[[], Database], rng: random.Random) -> None:
        self._rng = rng
        self._pool = ThreadPoolExecutor(count)
        self._stores = [open_store() for _ in range(count)]
        self._all = [self._new(store) for store in self._stores]
        self.kills = 0

    def _new(self, store: Database) -> SchedulerService:
        return SchedulerService(store, TIMINGS, store.write(begin_server))

    def turn(self, *, is_quiet: bool = False) -> None:
        """Have all do a turn; one or two end in the middle of a transaction, and others take their places."""
        points = [] if is_quiet else [self._point() for _ in range(self._rng.randint(0, 2))]
        with armed(*points):
            working = [self._pool.submit(scheduler.make_all) for scheduler in self._all]
            ends = [done.exception() for done in working]
        for number, error in enumerate(ends):
            if isinstance(error, StoreUnavailable):
                self.kills += 1
                self._all[number] = self._new(self._stores[number])
            elif error is not None:
                raise error

    def _point(self) -> Failpoint:
        name = self._rng.choice(POINTS)
        return Failpoint(name, Action.RAISE, nth=self._rng.randint(1, 12), on_action=_kill)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.shutdown()


def _kill(name: str) -> None:
    raise StoreUnavailable("unreachable", f"The scheduler was killed at {name}.")


class World:
    """
    A server, and how the clock of its machine is set.

    Attributes:
        name: of the store.
        open_store: gives a scheduler its own.
        jumps: how often the clock was set.
    """

    def __init__(self, name: str, server: Server, open_store: Callable[[], Database]) -> None:
        self.name = name
        self.server = server
        self.open_store = open_store
        self._ahead = timedelta(0)
        self.jumps = 0

    @property
    def wall(self) -> datetime:
        return self.server.clock.now + self.server.clock.ahead

    def set_ahead(self, ahead: timedelta) -> None:
        """Set the clock on the wall: ahead by so much of where it would be."""
        clock = self.server.clock
        self.jumps += ahead != self._ahead
        if self.name == "sqlite":
            clock.ahead = ahead
        else:
            clock.now += ahead - self._ahead
        self._ahead = ahead


@contextmanager
def sqlite_world(folder: Path) -> Iterator[World]:
    """Give one store, which all schedulers work on, and whose clock is not that on the wall."""
    clock = Clock()
    with sqlite_store(folder, clock) as database:
        yield World("sqlite", Server(database, clock), lambda: database)


@contextmanager
def postgresql_world(postgres: PostgresServer) -> Iterator[World]:
    """Give a store that each scheduler opens for itself, and whose clock is that on the wall."""
    clock = Clock()
    with postgres.database(template=migrated_template(postgres)) as url, ExitStack() as stack:

        def open_store() -> Database:
            database = PostgresqlDatabase(url, clock)
            stack.callback(database.close)
            return database

        yield World("postgresql", Server(open_store(), clock), open_store)


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer) -> Iterator[World]:
    making = sqlite_world(tmp_path) if request.param == "sqlite" else postgresql_world(postgres)
    with making as world:
        yield world


def test_each_time_has_one_run_whatever_happens_to_schedulers_and_clocks(world: World) -> None:
    # I-7 I-18
    server, rng = world.server, random.Random(7)
    _keep_all_runs(server)
    expected = made = missing = double = 0
    with Schedulers(2, world.open_store, rng) as two, Schedulers(8, world.open_store, rng) as eight:
        for zone, change in _days(rng):
            schedule, begin, end = schedule_in(zone), change - 8 * HOUR, change + 34 * HOUR
            schedule_id = _begin(world, begin, schedule)
            _live_until(world, rng.choice((two, eight)), end, rng)
            wanted, found = expected_slots(schedule, begin, end), slots_of(server, schedule_id)
            expected += len(wanted)
            made += len(wanted & found.keys())
            missing += len(wanted - found.keys())
            double += sum(found.values()) - len(found)
    assert expected >= SLOTS
    assert min(two.kills, eight.kills, world.jumps) > 0
    figure(
        "twosched",
        store=world.name,
        slots=expected,
        runs=made,
        missing=missing,
        double=double,
        jumps=world.jumps,
        faults=two.kills + eight.kills,
    )
    assert (missing, double) == (0, 0)


def _days(rng: random.Random) -> list[tuple[ZoneInfo, datetime]]:
    """Return each zone in each year, and when clocks change there: to summer time or back."""
    zones = [(ZoneInfo(name), year) for name in ZONES for year in YEARS]
    return [(zone, rng.choice(changes_of(zone, year))) for zone, year in zones]


def _keep_all_runs(server: Server) -> None:
    """Have none of the runs be too late: the test is about who makes them."""
    keep = partial(flows.update_group, group_id=server.group_id, values={"settings": {"catchup": "all"}})
    server.database.write(keep)


def _begin(world: World, begin: datetime, schedule: Schedule) -> str:
    """Go to another day, and give the flow its schedule there; return the id of the schedule."""
    world.set_ahead(timedelta(0))
    world.server.clock.now = begin
    described = schedule_to_dict(schedule)
    return world.server.database.write(
        partial(schedules.set_schedule, group_id=world.server.group_id, described=described, is_own=True)
    )


def _live_until(world: World, schedulers: Schedulers, end: datetime, rng: random.Random) -> None:
    """Let time pass up to the end, with clocks that are set meanwhile, and right there."""
    clock = world.server.clock
    while world.wall < end:
        world.set_ahead(rng.choice((-1, 0, 0, 1)) * HOUR)
        schedulers.turn()
        clock.advance(hours=rng.choice((0.25, 13, 19)))
    world.set_ahead(timedelta(0))
    clock.now = max(clock.now, end)
    schedulers.turn(is_quiet=True)


# ---------------------------------------------------------------------------------------- clocks that are set

# Seconds by which the clock of the machine is set, one after the other.
JUMPS = (5, -5, 3600, -3600, -3600, 3600, 365 * 86400, -365 * 86400, -365 * 86400, 365 * 86400, 5, 3600)


def test_clock_that_is_set_runs_nothing_twice_skips_nothing_and_ends_no_lease_early(world: World) -> None:
    # I-18
    server, clock = world.server, world.server.clock
    passed, begin, ahead, early = 0.0, clock.now, timedelta(0), 0
    daily = Schedule([CronClock("0 0 * * *")])
    schedule_id = _begin(world, begin, daily)
    server_id = server.database.write(begin_server)
    rescue = RescueService(server.database, TIMINGS, server_id, lambda: passed)
    scheduler = SchedulerService(server.database, TIMINGS, server_id)
    server.new_run()
    (grant,) = server.claim()
    server.send(grant.run["id"], grant.token, batch_of(grant.epoch, 1, run_state("Running")))
    walls = [begin]
    for jump in (*JUMPS, 0):
        ahead += timedelta(seconds=jump)
        world.set_ahead(ahead)
        for _ in range(6):
            clock.advance(seconds=TIMINGS.sweep.total_seconds())
            passed += TIMINGS.sweep.total_seconds()
            early += rescue.run_once()
            server.heartbeat(grant)
            scheduler.run_once()
            walls.append(world.wall)
    wanted, found = expected_slots(daily, begin, max(walls)), slots_of(server, schedule_id)
    skipped, double = len(wanted - found.keys()), sum(found.values()) - len(found)
    figure(
        "clockjump",
        store=world.name,
        slots=len(wanted),
        double=double,
        skipped=skipped,
        early_expiry=early,
        faults=world.jumps,
    )
    assert (double, skipped, early) == (0, 0, 0)
