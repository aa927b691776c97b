"""
What must hold in every store at every moment, whatever happened to those who wrote it (reliability 2).

    violations = database.read(check_store)
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from tenuto.journal.event import Event, Kind, ResultRef
from tenuto.journal.fold import TaskView, fold
from tenuto.journal.states import FINAL_STATES
from tenuto.server.domain.lifecycle import NEW, Author, may_become
from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.stream import moment_of

__all__ = ["check_run", "check_store"]

Row = Mapping[str, Any]
KINDS = list(Kind)
HELD = ("Submitted", "Queued", "Running", "Cancelling")


def check_store(transaction: Transaction, *, is_trimmed: bool = False) -> list[str]:
    """
    Return what is wrong in a store, one sentence each.

    Args:
        is_trimmed: whether old notices were dropped from its feed.
    """
    runs = rows_of(transaction, tables.flow_run)
    events = by_run(rows_of(transaction, tables.run_event))
    tasks = by_run(rows_of(transaction, tables.task_run))
    found = []
    for run in runs:
        told = check_run(run, events[run["id"]], tasks[run["id"]])
        found += [f"Run {run['id']}: {what}" for what in told]
    found += check_slots(rows_of(transaction, tables.slot), runs)
    found += check_scheduled(rows_of(transaction, tables.scheduled_time), runs)
    if not is_trimmed:
        found += check_feed(rows_of(transaction, tables.feed), runs)
    return found


def rows_of(transaction: Transaction, table: sa.Table) -> list[Row]:
    query = sa.select(table).order_by(*table.primary_key.columns)
    return [dict(row) for row in transaction.connection.execute(query).mappings()]


def by_run(rows: Sequence[Row]) -> defaultdict[str, list[Row]]:
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["run_id"]].append(row)
    return found


def check_run(run: Row, stream: Sequence[Row], tasks: Sequence[Row]) -> Iterator[str]:
    """Yield what is wrong with a run: its row, its stream in order, and the rows of its task runs."""
    events = [msgspec.json.decode(msgspec.json.encode(row["payload"]), type=Event) for row in stream]
    yield from check_numbers(run, stream, events)
    yield from check_transitions(run, stream, events)
    yield from check_fold(run, events, tasks)
    yield from check_lease(run, events)


def check_numbers(run: Row, stream: Sequence[Row], events: Sequence[Event]) -> Iterator[str]:
    """I-3: dense, append-only. I-4: each of the producer's numbers once, none left out. I-5: epochs grow."""
    numbers = [row["seq"] for row in stream]
    if numbers != list(range(1, len(stream) + 1)):
        yield f"its events have the numbers {numbers}."
    if run["seq"] != len(stream):
        yield f"its row is at event {run['seq']}, its stream at {len(stream)}."
    epochs = [row["epoch"] for row in stream]
    if epochs != sorted(epochs) or (epochs and epochs[-1] > run["epoch"]):
        yield f"its epochs are {epochs}, and its row is at {run['epoch']}."
    produced: defaultdict[int, list[int]] = defaultdict(list)
    for row, event in zip(stream, events, strict=True):
        if row["pseq"] is not None:
            produced[row["epoch"]].append(row["pseq"])
        if event.pseq != (row["pseq"] or 0) or event.kind is not KINDS[row["kind"]]:
            yield f"event {row['seq']} is not the one that its row tells of."
    for epoch, some in produced.items():
        if some != list(range(1, len(some) + 1)):
            yield f"events of epoch {epoch} have the producer's numbers {some}."
    last = len(produced[run["epoch"]])
    if run["pseq"] != last:
        yield f"its row is at event {run['pseq']} of epoch {run['epoch']}, its stream at {last}."


def check_transitions(run: Row, stream: Sequence[Row], events: Sequence[Event]) -> Iterator[str]:
    """I-9: only what the table allows, by those to whom it is allowed."""
    state = "Pending" if run["is_local"] else NEW
    states: dict[tuple[str, int], str] = {}
    for row, event in zip(stream, events, strict=True):
        is_produced = row["pseq"] is not None
        authors = [Author.WORKER] if is_produced else [Author.SERVER, Author.PERSON]
        if run["is_local"]:
            authors.append(Author.WORKER)  # The server repeats where its producer left it.
        if event.kind is Kind.TASK_STATE:
            key = event.slug, event.index
            before = states.get(key, NEW)
            if not any(may_become("task_run", before, event.state, author) for author in authors):
                yield f"event {row['seq']} takes task run {key} from {before!r} to {event.state}."
            if is_produced and state in FINAL_STATES:
                yield f"event {row['seq']} changes task run {key} after the end of the run."
            states[key] = event.state
        elif event.state:
            if event.kind is Kind.INCOMPLETE and state == "Pending":
                state = "Running"  # What has an end has begun.
            if not any(may_become("flow_run", state, event.state, author) for author in authors):
                yield f"event {row['seq']} takes it from {state!r} to {event.state}."
            state = event.state


def check_fold(run: Row, events: Sequence[Event], tasks: Sequence[Row]) -> Iterator[str]:
    """I-3: what is shown is what the stream adds up to."""
    view = fold(events)
    told = {
        "state": view.state,
        "message": view.message,
        "cause": view.cause,
        "end_time": moment(view.ended),
    }
    for name, value in told.items():
        if run[name] != value:
            yield f"its {name} is {run[name]!r}, and its stream says {value!r}."
    shown = {(row["slug"], row["map_index"]): row for row in tasks}
    if set(shown) != set(view.tasks):
        yield f"it has rows for the task runs {sorted(shown)}, and events of {sorted(view.tasks)}."
    for key in shown.keys() & view.tasks.keys():
        for name, value in shown_of(view.tasks[key]).items():
            if shown[key][name] != value:
                yield f"{name} of task run {key} is {shown[key][name]!r}, and the stream says {value!r}."


def shown_of(task: TaskView) -> dict[str, Any]:
    result = task.result or ResultRef(kind="")
    return {
        "state": task.state,
        "message": task.message,
        "cause": task.cause,
        "name": task.name,
        "run_count": task.run_count,
        "seconds": task.seconds,
        "children": task.children,
        "due": moment(task.start_time),
        "start_time": moment(task.started),
        "end_time": moment(task.ended),
        "result_ref": result.location or result.kind,
        "result_sha256": result.sha256,
        "result_len": result.length,
    }


def moment(count: int | None) -> datetime | None:
    return None if count is None else moment_of(count)


def check_lease(run: Row, events: Sequence[Event]) -> Iterator[str]:
    """I-10: it has ended, or somebody is at it, or it says what it waits for. I-8: one grant, one claim."""
    state, is_leased = run["state"], run["lease_until"] is not None
    if is_leased and state not in (*HELD, "Paused", "Pending"):
        yield f"it is {state}, and has a lease."
    if state in HELD and not (is_leased or run["is_local"]):
        yield f"it is {state}, and nobody holds it."
    if is_leased and not run["token_digest"]:
        yield "it has a lease that nobody can show."
    if state == "Scheduled" and run["due"] is None and not run["is_local"]:
        yield "it is Scheduled for no time."
    if run["submit_until"] is not None and state != "Submitted":
        yield f"it is {state}, and is to begin until {run['submit_until']}."
    grants = sum(event.kind is Kind.RUN_STATE and event.state == "Submitted" for event in events)
    if not run["is_local"] and run["attempt"] != grants:
        yield f"it was granted {grants} times, and its row says {run['attempt']}."


def check_slots(slots: Sequence[Row], runs: Sequence[Row]) -> Iterator[str]:
    """I-14: slots in use are those of live leases."""
    held = {run["id"]: run["epoch"] for run in runs if run["lease_until"] is not None}
    for slot in slots:
        if held.get(slot["run_id"]) != slot["epoch"]:
            yield f"A slot of {slot['limit_name']!r} is held for run {slot['run_id']}, which nobody is at."


def check_scheduled(times: Sequence[Row], runs: Sequence[Row]) -> Iterator[str]:
    """I-7: a time of a schedule has one run, and a run of a schedule has one time."""
    for time in times:
        if time["run_id"] is None:
            yield f"The time {time['at']} of schedule {time['schedule_id']} has no run."
    count = Counter(time["run_id"] for time in times)
    for run in runs:
        if run["schedule_id"] is not None and count[run["id"]] != 1:
            yield f"Run {run['id']} of schedule {run['schedule_id']} has {count[run['id']]} times."


def check_feed(feed: Sequence[Row], runs: Sequence[Row]) -> Iterator[str]:
    """Those who follow are told of each event once."""
    told: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for notice in feed:
        if notice["topic"] == "run" and notice["seq_to"]:
            told[notice["key"]].append((notice["seq_from"], notice["seq_to"]))
    for run in runs:
        ranges = told[run["id"]]
        flat = [number for first, last in ranges for number in range(first, last + 1)]
        if flat != list(range(1, run["seq"] + 1)):
            yield f"Run {run['id']} has {run['seq']} events, and its followers were told of {ranges}."
