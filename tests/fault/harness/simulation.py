"""
The simulation: the real code of the store, and a clock, workers and a network that a seed turns.

Agents claim, workers report, and all that may go wrong between them does: messages come late, twice, damaged,
in another order or with another's token; the server dies before or after its commits; workers fall silent,
are lost and come back; people cancel, restart and set states; two schedulers make the runs of the same times.
After each step what the store says is compared with what the judge expects, at the end everything is.

    with store_in_memory() as store:
        simulate(store, random.Random(seed), steps=200, tally=Tally())

A driver of our own, because a state machine of Hypothesis adds a quarter of a millisecond to each step, and a
seed is told, kept and counted in steps more easily than an example.
"""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import sqlalchemy as sa

from tenuto._base.failpoints import Action, Failpoint, FailpointReached, armed
from tenuto.journal.event import Event, Header, Kind, encode_json
from tenuto.journal.states import FINAL_STATES
from tenuto.schedules.clocks import ClockEvent
from tenuto.server.domain.horizon import Slot
from tenuto.server.domain.timings import Timings
from tenuto.server.store.sql import flows, tables
from tenuto.server.store.sql.adoption import Adopted, adopt
from tenuto.server.store.sql.claims import Claim, Claimant, claim
from tenuto.server.store.sql.database import Database, Transaction
from tenuto.server.store.sql.ingest import BadBatch, Conflict, Gap, Taken, decode_batch, ingest
from tenuto.server.store.sql.leases import (
    Fenced,
    crashed,
    heartbeat,
    lost_runs,
    release,
    take_away,
)
from tenuto.server.store.sql.runs import (
    LeaseHeld,
    NewRun,
    cancel,
    create_run,
    rename,
    set_run_state,
    start_now,
)
from tenuto.server.store.sql.schedules import ActiveSchedule, make_runs
from tenuto.server.store.sql.schema import upgrade
from tenuto.server.store.sql.services import extend_leases
from tenuto.server.store.sql.sqlite import SqliteDatabase
from tenuto.server.store.sql.stream import IllegalTransition
from tests.contracts.server_stores import Clock
from tests.fault.harness.check import check_store
from tests.fault.harness.judge import Refusal, Row, Run, Told
from tests.fault.harness.workers import SLUGS, Message, Worker

__all__ = ["SimulatedStore", "Tally", "Violation", "simulate", "store_in_memory"]

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
# Of the schedule. No other run is due just then: the order of claims would depend on ids, which are random.
FIRST_TIME = START + timedelta(microseconds=1)
TIMINGS = Timings()
AGENTS = (
    Claimant(None, "plain"),
    Claimant(None, "gpu", frozenset({"gpu"})),
    Claimant(None, "any", frozenset({"gpu"}), any_label=True),
)
SECONDS = (0.001, 0.5, 5, 14, 29, 31, 59, 61, 89, 91, 240, 301)
POINTS = (
    "store.before_commit",
    "store.after_commit",
    "store.after_commit",
    "ingest.before_insert",
    "ingest.after_insert",
    "claim.before_update",
    "claim.after_update",
    "sweep.mid_batch",
    "scheduler.between",
)
CRASHES_ONE_IN = 3
RUNS_MAX = 7
WORKERS_MAX = 12
MESSAGES_MAX = 24
REFUSALS: dict[type[Exception], str] = {
    BadBatch: "damaged",
    Fenced: "fenced",
    Gap: "gap",
    Conflict: "conflict",
    IllegalTransition: "illegal",
    LeaseHeld: "held",
}


class Violation(AssertionError):
    """The store did what it promises not to do."""


@dataclass
class Tally:
    """
    What happened, over any number of histories.

    Attributes:
        steps: how many; those that found nothing to do are not counted.
        sometimes: how often what should happen now and then has happened.
    """

    steps: int = 0
    sometimes: Counter[str] = field(default_factory=Counter)

    @property
    def faults(self) -> int:
        return sum(self.sometimes[name] for name in ("crash_before_commit", "crash_after_commit"))


class SimulatedStore:
    """A database for any number of histories: making one takes longer than a thousand steps."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self.clock = clock
        clock.now = START
        database.write(partial(flows.create_project, name="P"))
        new = flows.NewVersion(project="P", serialized={"name": "f"}, digest="d")
        registered = database.write(partial(flows.register, new=new))
        self.flow_id, group_id = registered.flow_id, registered.flow_group_id
        self.schedule = ActiveSchedule(self.flow_id, group_id, {}, START)
        values = {"id": self.schedule.id, "flow_group_id": group_id, "since": START}
        values |= {"created": START, "updated": START}
        # What becomes of runs that were missed is not the simulation's question.
        settings: dict[str, Any] = {"settings": {"catchup": "all"}}
        database.write(partial(flows.update_group, group_id=group_id, values=settings))
        database.write(lambda transaction: transaction.connection.execute(_NEW_SCHEDULE, values))

    def empty(self) -> None:
        """Make it new."""
        self.clock.now = START
        self.database.write(_empty)


@contextmanager
def store_in_memory() -> Iterator[SimulatedStore]:
    """Give a SQLite database in memory, where a step is soonest done."""
    clock = Clock()
    database = SqliteDatabase(None, clock)
    upgrade(database.engine)
    try:
        yield SimulatedStore(database, clock)
    finally:
        database.close()


def simulate(store: SimulatedStore, choose: random.Random, steps: int, tally: Tally) -> None:
    """
    Go through one history.

    Raises:
        Violation: when the store breaks a promise.
    """
    store.empty()
    history = _History(store, choose, tally)
    for number in range(1, steps + 1):
        step = choose.choices(_STEPS, _WEIGHTS)[0]
        try:
            step(history)
            if number == steps:
                history.compare_everything()
        except Violation as violation:
            violation.add_note(f"In step {number} of {steps}, {step.__name__}, at {store.clock.now}.")
            raise


class _Answer(NamedTuple):
    """How an attempt came out: a result, a refusal, or nothing, and nobody is told whether it was done."""

    result: Any = None
    refusal: Exception | None = None
    is_lost: bool = False
    is_committed: bool = False


class _History:
    """One history, as it goes on: what the judge expects, who is at work and what is under way."""

    def __init__(self, store: SimulatedStore, choose: random.Random, tally: Tally) -> None:
        self.store = store
        self.choose = choose
        self.tally = tally
        self.count = tally.sometimes
        self.runs: dict[str, Run] = {}
        self.workers: list[Worker] = []
        self.network: list[tuple[Message, Worker | None]] = []
        self.lost: list[str] = []
        self.slots: dict[datetime, str] = {}
        self.keys: dict[str, str] = {}

    @property
    def now(self) -> datetime:
        return self.store.clock.now

    # ------------------------------------------------------------------------------------------ runs are made

    def make_run(self) -> None:
        if len(self.runs) >= RUNS_MAX:
            return
        choose = self.choose
        labels = choose.choice(((), (), ("gpu",)))
        key = choose.choice((None, None, f"key {choose.randrange(2)} {labels}"))
        new = NewRun(
            id=self._new_id(),
            flow_id=self.store.flow_id,
            due=self.now + timedelta(seconds=choose.choice((0, 0, -30, 60))),
            labels=labels,
            rescue=choose.choice(("on", "on", "on", "off", "only-before-start")),
            rescues_left=choose.choice((3, 1, 0)),
            idempotency_key=key,
        )
        answer = self._attempt(create_run, new)
        if not self._expect(answer, None, "create_run"):
            return
        known = self.keys.get(key or "")
        if answer.result not in (None, (known, False) if known else (new.id, True)):
            raise Violation(f"create_run gave {answer.result}, and the run of the key is {known}.")
        if known is not None:
            self.count["key_again"] += 1
            return
        if key is not None:
            self.keys[key] = new.id
        run = Run(new.id, new.due, frozenset(labels), new.rescue, new.rescues_left)
        self.runs[run.id] = run
        self._compare([run])

    def announce(self) -> None:
        """A process begins a run without the server, and announces it; or announces its run once more."""
        local = [worker for worker in self.workers if self.runs[worker.run_id].is_local]
        if local and self.choose.random() < 0.7:
            worker = self.choose.choice(local)
        elif len(self.runs) < RUNS_MAX:
            worker = Worker(self._new_id(), 1, "", {}, state="Pending")
        else:
            return
        known, is_alive = self.runs.get(worker.run_id), self.choose.random() < 0.8
        header = Header(flow_run_id=worker.run_id, flow="local")
        work = partial(adopt, header=header, by="ada", graph=None, is_alive=is_alive, timings=TIMINGS)
        answer = self._attempt(work)
        if not self._expect(answer, None, "adopt"):
            return
        run = known or Run(worker.run_id, None, is_local=True)
        if run.epoch != 1:
            if answer.result is not None:
                raise Violation(f"{run} was announced, and the answer was {answer.result}.")
            worker.has_stopped = True
            return
        told: Adopted | None = answer.result
        if told is not None:
            wanted = Adopted(told.token, run.pseq, 0, is_new=known is None, is_graph_missing=True)
            if told != wanted:
                raise Violation(f"The announcement was answered by {told}, and should be by {wanted}.")
            worker.token, worker.acked = told.token, told.acked
            self.count["announced_again"] += known is not None
        run.announced(self.now, TIMINGS, None if told is None else told.token, is_alive=is_alive)
        if known is None:
            self.runs[run.id] = run
            self.workers.append(worker)
        self._compare([run])

    def schedule(self) -> None:
        """One of two schedulers makes the runs of some times, which the other may have made."""
        first, count = self.choose.randrange(6), self.choose.randint(1, 2)
        times = [FIRST_TIME + timedelta(minutes=number) for number in range(first, first + count)]
        answer = self._attempt(
            make_runs, self.store.schedule, [Slot("", time, time, ClockEvent(time)) for time in times]
        )
        new = [time for time in times if time not in self.slots]
        if not self._expect(answer, None, "make_runs"):
            return
        self.count["slot_again"] += len(times) - len(new)
        made = answer.result if answer.result is not None else [self._run_at(time) for time in new]
        if len(made) != len(new):
            raise Violation(f"Of {times}, {new} had no run, and {len(made)} were made.")
        for time, run_id in zip(new, made, strict=True):
            self.slots[time] = run_id
            self.runs[run_id] = Run(run_id, time)
        self._compare(self.runs[run_id] for run_id in made)

    def _run_at(self, time: datetime) -> str:
        (found,) = self._read(_OF_TIME, at=time)
        if len(found) != 1:
            raise Violation(f"The time {time} has {len(found)} runs.")
        run_id: str = found[0][0]
        return run_id

    # ------------------------------------------------------------------------------------- agents and workers

    def claim(self) -> None:
        agent, limit = self.choose.choice(AGENTS), self.choose.randint(1, 3)
        answer = self._attempt(claim, agent, limit, TIMINGS)
        due = [
            run
            for run in self.runs.values()
            if run.is_due(self.now)
            if (run.labels <= set(agent.labels) if run.labels else agent.any_label or not agent.labels)
        ]
        wanted = sorted(due, key=lambda run: (run.due, run.id))[:limit]
        if not self._expect(answer, None, "claim"):
            return
        granted: list[Claim] | None = answer.result
        if granted is not None and [each.run["id"] for each in granted] != [run.id for run in wanted]:
            raise Violation(f"Claimed was {[each.run['id'] for each in granted]}, due {wanted}.")
        for number, run in enumerate(wanted):
            token = granted[number].token if granted is not None else None
            run.claimed(self.now, TIMINGS, token)
            if token is not None:
                self.count["claimed_again"] += run.attempt > 1
                self.workers.append(Worker(run.id, run.epoch, token, dict(run.tasks)))
        del self.workers[:-WORKERS_MAX]
        self._compare(wanted)

    def work(self) -> None:
        """A worker goes on, and reports unless the network is slow."""
        worker = self._some_worker()
        if worker is None or worker.has_stopped:
            return
        for _ in range(self.choose.randint(1, 4)):
            worker.go_on(self.choose)
        if self.choose.random() < 0.6 and len(worker.journal) > worker.acked:
            self._send(worker, worker.acked + 1)

    def send(self) -> None:
        """A worker reports what follows a number that it may have reported before."""
        worker = self._some_worker()
        if worker is None:
            return
        first = max(1, worker.acked + 1 - self.choose.randrange(4))
        if len(worker.journal) >= first:
            self._send(worker, first)

    def _send(self, worker: Worker, first: int) -> None:
        message = worker.message(first)
        self.network.append((message, worker))
        del self.network[:-MESSAGES_MAX]
        self._deliver(message, worker)

    def deliver(self) -> None:
        """A message of any age arrives, once more, damaged, or without its beginning."""
        if not self.network:
            return
        message, worker = self.choose.choice(self.network)
        left_out = self.choose.randrange(3)
        if left_out < len(message.payloads):
            message = replace(
                message,
                first=message.first + left_out,
                payloads=message.payloads[left_out:],
                events=message.events[left_out:],
            )
        damage = self.choose.choice(("", "", "", "", "cut", "changed"))
        self._deliver(replace(message, damage=damage), None if damage else worker)

    def _deliver(self, message: Message, worker: Worker | None) -> None:
        run = self.runs[message.run_id]
        refusal, known = run.refusal_of_batch(message), run.pseq
        answer = self._attempt(_take_in, message)
        if self._expect(answer, refusal, f"a batch of epoch {message.epoch} from {message.first} on"):
            self.count["dup"] += message.first <= known
            run.taken(message)
        if isinstance(answer.result, Taken):
            wanted = Taken(run.pseq, len(run.stream), [{"command": "cancel"}] * (run.state == "Cancelling"))
            if answer.result != wanted:
                raise Violation(f"The answer to {message} was {answer.result}, and should be {wanted}.")
            if worker is not None:
                worker.acked = max(worker.acked, answer.result.acked)
                worker.is_asked_to_cancel |= bool(answer.result.commands)
        elif worker is not None and isinstance(answer.refusal, Gap):
            worker.acked = answer.refusal.expected - 1
        elif worker is not None and answer.refusal is not None:
            # Fenced, or told that it is broken; its messages are still under way.
            worker.has_stopped = True
        self._compare([run])

    def misbehave(self) -> None:
        """A worker is broken, or somebody pretends to be one: it is refused, or what it says is legal."""
        worker = self._some_worker()
        if worker is None:
            return
        choose, run = self.choose, self.runs[worker.run_id]
        epoch, token, first = worker.epoch, worker.token, run.pseq + 1
        # Most of them with the lease in force: one that is fenced anyway shows nothing.
        if run.token is not None and choose.random() < 0.9:
            epoch, token = run.epoch, run.token
        event = Event(kind=Kind.NOTE, message=f"{choose.random()}")
        match choose.randrange(6):
            case 0:
                token = "another"
            case 1:
                epoch += choose.choice((-1, 1, 2))
            case 2:
                first += choose.randint(1, 3)
            case 3 if run.pseq:
                first = choose.randint(1, run.pseq)
            case 4:
                states = ("Running", "Success", "Scheduled", "Finished", "Cancelling", "Submitted", "Paused")
                event = Event(kind=Kind.RUN_STATE, state=choose.choice(states))
            case _:
                states = ("Running", "Success", "Scheduled", "Finished", "Mapped", "Submitted", "Paused")
                event = Event(kind=Kind.TASK_STATE, slug=choose.choice(SLUGS), state=choose.choice(states))
        event.pseq = first
        self._deliver(Message(run.id, epoch, token, first, (encode_json(event),), (event,)), None)

    def beat(self) -> None:
        worker = self._some_worker()
        if worker is None:
            return
        run = self.runs[worker.run_id]
        answer = self._attempt(heartbeat, run.id, worker.lease, TIMINGS)
        refusal = run.refusal_of_lease(worker.epoch, worker.token)
        if self._expect(answer, refusal, "heartbeat"):
            self.count["late_heartbeat"] += run.lease_until is not None and run.lease_until < self.now
            run.beaten(self.now, TIMINGS)
        if answer.refusal is not None:
            worker.has_stopped = True
        elif answer.result is not None:
            worker.is_asked_to_cancel |= bool(answer.result.commands)
        self._compare([run])

    def release(self) -> None:
        worker = self._some_worker()
        if worker is None:
            return
        run = self.runs[worker.run_id]
        due = self.choose.choice((None, self.now + timedelta(minutes=15)))
        work = partial(release, cause="drained", due=due)
        answer = self._attempt(work, run.id, worker.lease)
        if self._expect(answer, run.refusal_of_release(worker.epoch, worker.token), "release"):
            self.count["released"] += 1
            run.given_back(due or self.now)
        self._compare([run])

    def see_exit(self) -> None:
        """An agent sees the process of a worker end."""
        worker = self._some_worker()
        if worker is None:
            return
        run = self.runs[worker.run_id]
        answer = self._attempt(crashed, run.id, worker.lease, "It was killed.")
        if self._expect(answer, run.refusal_of_lease(worker.epoch, worker.token), "crashed"):
            if answer.result not in (None, run.is_held):
                raise Violation(f"crashed gave {answer.result} for {run}.")
            if run.is_held:
                self.count["seen_crashed"] += 1
                run.lost(self.now)
        self._compare([run])

    # ---------------------------------------------------------------------------- time passes, leases run out

    def wait(self) -> None:
        self.tally.steps += 1
        self.store.clock.advance(seconds=self.choose.choice(SECONDS))

    def look_for_lost(self) -> None:
        """A server looks which runs are lost; it, or another, takes them away later."""
        self.tally.steps += 1
        found = self.store.database.read(partial(lost_runs, timings=TIMINGS))
        lost = [run.id for run in self.runs.values() if run.is_lost(self.now, TIMINGS)]
        if found != sorted(lost):
            raise Violation(f"Found lost was {found}, and lost are {lost}.")
        self.lost += lost

    def take_away(self) -> None:
        if not self.lost:
            return
        run = self.runs[self.lost.pop(self.choose.randrange(len(self.lost)))]
        is_lost = run.is_lost(self.now, TIMINGS)
        answer = self._attempt(take_away, run.id, TIMINGS)
        if self._expect(answer, None, "take_away"):
            if answer.result not in (None, is_lost):
                raise Violation(f"take_away gave {answer.result} for {run}.")
            if is_lost:
                self.count["expired"] += 1
                run.lost(self.now)
            else:
                self.count["not_lost_any_more"] += 1
        self._compare([run])

    def extend_leases(self) -> None:
        """A server slept for so long, or none was there."""
        gap = timedelta(seconds=self.choose.choice((31, 300)))
        self.store.clock.now += gap
        if self._expect(self._attempt(extend_leases, gap, TIMINGS), None, "extend_leases"):
            for run in self.runs.values():
                run.extended(gap, self.now, TIMINGS)
        self._compare(self.runs.values())

    # ------------------------------------------------------------------------------------------ people decide

    def cancel(self) -> None:
        run = self._some_run("Running")
        if run is None:
            return
        was, force = run.state, self.choose.random() < 0.25
        answer = self._attempt(partial(cancel, by="ada", force=force), run.id)
        if self._expect(answer, None, "cancel"):
            run.cancelled(force=force)
            self.count["cancel_while_running"] += was == "Running" and run.state == "Cancelling"
        if answer.result not in (None, run.state):
            raise Violation(f"cancel gave {answer.result} for {run}.")
        self._compare([run])

    def set_state(self) -> None:
        """Somebody sets a state by hand: Scheduled restarts what has ended, and approves what is Paused."""
        run = self._some_run("Paused")
        if run is None:
            return
        was = run.state
        state = self.choose.choice(("Scheduled", "Scheduled", "Success", "Failed", "Finished", "Running"))
        answer = self._attempt(partial(set_run_state, by="ada"), run.id, state)
        if self._expect(answer, run.refusal_of_state(state), f"set {state}"):
            run.set_by_hand(state, self.now)
            self.count["restarted"] += was in FINAL_STATES and state == "Scheduled"
            self.count["approved"] += was == "Paused" and state == "Scheduled"
        self._compare([run])

    def rename(self) -> None:
        run = self._some_run("Failed")
        if run is None:
            return
        answer = self._attempt(partial(rename, name="renamed", by="ada"), run.id)
        if self._expect(answer, None, "rename"):
            run.tell("")
        self._compare([run])

    def start_now(self) -> None:
        run = self._some_run("Scheduled")
        if run is None:
            return
        answer = self._attempt(partial(start_now, by="ada"), run.id)
        refusal = None if run.state == "Scheduled" else IllegalTransition
        if self._expect(answer, refusal, "start_now"):
            run.started_now(self.now)
        self._compare([run])

    # ---------------------------------------------------------------------------------------------- machinery

    def _new_id(self) -> str:
        """Return an id that is the same for the same seed."""
        return str(uuid.UUID(int=self.choose.getrandbits(128), version=4))

    def _some_run(self, state: str) -> Run | None:
        """Return a run, more often than not one in a state."""
        runs = list(self.runs.values())
        fitting = [run for run in runs if run.state == state]
        if fitting and self.choose.random() < 0.6:
            runs = fitting
        return self.choose.choice(runs) if runs else None

    def _some_worker(self) -> Worker | None:
        return self.choose.choice(self.workers) if self.workers else None

    def _attempt(self, work: Callable[..., Any], *args: Any) -> _Answer:
        """Do work of the store, which may die at a point of it."""
        self.tally.steps += 1
        crash = self.choose.choice(POINTS) if self.choose.randrange(CRASHES_ONE_IN) == 0 else ""
        point = armed(Failpoint(crash, Action.RAISE)) if crash else nullcontext()
        try:
            with point:
                return _Answer(self.store.database.write(lambda transaction: work(transaction, *args)))
        except FailpointReached:
            is_committed = crash == "store.after_commit"
            self.count["crash_after_commit" if is_committed else "crash_before_commit"] += 1
            return _Answer(is_lost=True, is_committed=is_committed)
        except tuple(REFUSALS) as refusal:
            self.count[REFUSALS[type(refusal)]] += 1
            return _Answer(refusal=refusal)
        except (sa.exc.SQLAlchemyError, RuntimeError) as error:
            raise Violation(f"The store broke: {error}") from error

    def _expect(self, answer: _Answer, refusal: Refusal, what: str) -> bool:
        """Compare an answer with the judge's; return whether the judge has to note that it was done."""
        if answer.is_lost:
            return refusal is None and answer.is_committed
        told = type(answer.refusal) if answer.refusal is not None else None
        if told is not refusal:
            right, got = (each.__name__ if each is not None else "done" for each in (refusal, told))
            raise Violation(f"{what}: {right} was right, and the answer was {got}: {answer.refusal}")
        return refusal is None

    def _read(self, *queries: sa.Select[Any], **values: Any) -> list[list[Any]]:
        """Return the rows of each query."""

        def work(transaction: Transaction) -> list[list[Any]]:
            return [list(transaction.connection.execute(query, values).all()) for query in queries]

        return self.store.database.read(work)

    def _compare(self, runs: Iterable[Run]) -> None:
        """Compare the rows of runs with what is expected."""
        for run in runs:
            rows, tasks = self._read(_ROW, _TASKS, run_id=run.id)
            found = [Row(*row) for row in rows]
            shown = [row if row.state == "Scheduled" else row._replace(due=None) for row in found]
            if shown != [run.row]:
                raise Violation(f"The row of run {run.id} is {found}, and should be {run.row}.")
            states = dict(tasks)
            if states != run.tasks:
                raise Violation(f"The task runs of {run.id} are {states}, and should be {run.tasks}.")

    def compare_everything(self) -> None:
        """Compare all streams event by event, and ask the checker, which knows nothing of this."""
        stored = {run_id for (run_id,) in self._read(_IDS)[0]}
        if stored != set(self.runs):
            raise Violation(f"There are the runs {stored}, and made were {set(self.runs)}.")
        self._compare(self.runs.values())
        self.count["heard_of_again"] += sum(run.times_heard_again for run in self.runs.values())
        for run in self.runs.values():
            stream = [
                Told(
                    row.epoch,
                    row.pseq,
                    bytes(row.digest) if row.pseq is not None else b"",
                    row.payload.get("slug", ""),
                    row.payload.get("state", ""),
                )
                for row in self._read(_STREAM, run_id=run.id)[0]
            ]
            # The server ends the task runs of a lost run in any order.
            if _in_order(stream) != _in_order(run.stream):
                raise Violation(f"Of run {run.id} is stored {stream}, and should be {run.stream}.")
        if wrong := self.store.database.read(check_store):
            raise Violation("\n".join(wrong))


_WEIGHED: dict[Callable[[_History], None], int] = {
    _History.make_run: 4,
    _History.announce: 3,
    _History.schedule: 2,
    _History.claim: 6,
    _History.work: 14,
    _History.send: 4,
    _History.deliver: 9,
    _History.misbehave: 8,
    _History.beat: 3,
    _History.release: 1,
    _History.see_exit: 1,
    _History.wait: 5,
    _History.look_for_lost: 3,
    _History.take_away: 4,
    _History.extend_leases: 1,
    _History.cancel: 3,
    _History.set_state: 3,
    _History.rename: 1,
    _History.start_now: 2,
}
_STEPS, _WEIGHTS = list(_WEIGHED), list(_WEIGHED.values())


# ------------------------------------------------------------------------------------------------- statements

_RUN, _TASK, _EVENT, _TIME = tables.flow_run, tables.task_run, tables.run_event, tables.scheduled_time
_OF_RUN: sa.BindParameter[str] = sa.bindparam("run_id")
_IDS = sa.select(_RUN.c.id)
_ROW = sa.select(*(_RUN.c[name] for name in Row._fields)).where(_RUN.c.id == _OF_RUN)
_TASKS = sa.select(_TASK.c.slug, _TASK.c.state).where(_TASK.c.run_id == _OF_RUN)
_STREAM = (
    sa.select(_EVENT.c.epoch, _EVENT.c.pseq, _EVENT.c.digest, _EVENT.c.payload)
    .where(_EVENT.c.run_id == _OF_RUN)
    .order_by(_EVENT.c.seq)
)
_OF_TIME = sa.select(_TIME.c.run_id).where(_TIME.c.at == sa.bindparam("at"))
_NEW_SCHEDULE = sa.insert(tables.schedule)


def _empty(transaction: Transaction) -> None:
    for table in (tables.flow_run, tables.feed, tables.scheduled_time):
        transaction.connection.execute(sa.delete(table))


def _take_in(transaction: Transaction, message: Message) -> Taken:
    return ingest(transaction, message.run_id, message.token, decode_batch(message.body))


def _in_order(stream: list[Told]) -> tuple[list[Told], Counter[Told]]:
    """Return what workers told, in order, and what the server did, in any."""
    told = [each for each in stream if each.pseq is not None]
    return told, Counter(each for each in stream if each.pseq is None)
