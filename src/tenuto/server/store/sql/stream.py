"""
The stream of one run, open for appending: the only place where states of runs and task runs change.

Every change is an event, checked against the table of transitions, numbered without gaps, and folded into the
rows that lists are read from, all in the transaction that it is made in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
import sqlalchemy as sa

from tenuto._base.datetimes import from_microseconds, microseconds
from tenuto._base.ids import task_run_id
from tenuto.exceptions import PrefectException
from tenuto.journal.event import Event, Kind, encode_json, event_digest
from tenuto.journal.states import FINAL_STATES
from tenuto.server.domain.lifecycle import NEW, Author, Entity, may_become
from tenuto.server.store.sql import tables
from tenuto.server.store.sql.bulk import insert_many, is_among, upsert_newer
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.feed import announce

__all__ = ["KINDS", "IllegalTransition", "RunStream", "UnknownRun", "moment_of", "open_run"]

KINDS = {kind: number for number, kind in enumerate(Kind)}
_TASK_COLUMNS = [
    column.name for column in tables.task_run.columns if column.name not in ("run_id", "task_run_id")
]
_HEADER_LEFT_OUT = {"parameters", "context", "labels"}  # they have columns of their own
_LAST_MICROSECOND = 253_402_300_799_999_999  # the end of the year 9999


class UnknownRun(PrefectException, LookupError):
    """No run has this id."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(f"No flow run has the id {run_id}.")


class IllegalTransition(PrefectException, ValueError):
    """
    A state may not follow the one before it.

    Attributes:
        entity, current, wanted: of what; from which; to which.
        pseq: the producer's number of the event, None for a change of the server's own.
    """

    def __init__(self, entity: Entity, name: str, current: str, wanted: str, pseq: int | None) -> None:
        self.entity, self.current, self.wanted, self.pseq = entity, current, wanted, pseq
        what = entity.replace("_", " ")
        super().__init__(f"The {what} {name} cannot go from {current or 'nothing'} to {wanted}.")


@dataclass(slots=True)
class _TaskRow:
    """A row of `task_run` as it will be."""

    values: dict[str, Any]
    is_changed: bool = False

    @property
    def state(self) -> str:
        state: str = self.values["state"]
        return state


class RunStream:
    """
    The stream of one run within a transaction, which holds the run's row.

    Args:
        transaction: in which all of it happens.
        row: of `flow_run`, locked.
    """

    def __init__(self, transaction: Transaction, row: Mapping[str, Any]) -> None:
        self.transaction = transaction
        self.row = row
        self.id: str = row["id"]
        self.state: str = row["state"]
        self.seq: int = row["seq"]
        self._first_seq = self.seq + 1
        self._set: dict[str, Any] = {}
        self._ids: dict[tuple[str, int], str] = {}
        self._tasks: dict[str, _TaskRow] = {}
        self._events: list[dict[str, Any]] = []
        self._artifacts: list[dict[str, Any]] = []

    def __getitem__(self, column: str) -> Any:
        """Return the value of a column of the run, as it will be."""
        return self._set[column] if column in self._set else self.row[column]

    def set(self, **columns: Any) -> None:
        """Set columns of the run that do not follow from its events."""
        self._set.update(columns)

    def raise_epoch(self) -> int:
        """Fence whoever holds the run, and count what the next one reports from 1; return the new epoch."""
        epoch: int = self.row["epoch"] + 1
        self.set(epoch=epoch, pseq=0)
        return epoch

    # ------------------------------------------------------------------------------------------------ reading

    def load_tasks(self, names: Iterable[tuple[str, int]]) -> None:
        """Read the rows of task runs, by slug and map index; needed before events about them are appended."""
        ids = {self._task_id(slug, index) for slug, index in names}
        missing = [id_ for id_ in ids if id_ not in self._tasks]
        for start in range(0, len(missing), 500):
            self._take_rows(_tasks_by_id(self.transaction.is_postgresql), ids=missing[start : start + 500])

    def _task_id(self, slug: str, index: int) -> str:
        id_ = self._ids.get((slug, index))
        if id_ is None:
            id_ = self._ids[slug, index] = task_run_id(self.id, slug, index)
        return id_

    def load_tasks_in(self, states: Iterable[str], *, after: int = 0) -> list[tuple[str, int]]:
        """
        Read the rows of all task runs in some states; return their slugs and map indexes.

        Args:
            states: names of states.
            after: only those whose state is that of an event with a greater number.
        """
        return self._take_rows(_TASKS_BY_STATE, states=list(states), after=after)

    def task_state_now(self, slug: str, index: int) -> str:
        """Return the state of a task run whose row was read; empty for one that there is not."""
        task = self._tasks.get(self._task_id(slug, index))
        return NEW if task is None else task.state

    def _take_rows(self, query: sa.Select[Any], **values: Any) -> list[tuple[str, int]]:
        found = []
        for row in self.transaction.connection.execute(query, {"of_run": self.id, **values}).mappings():
            self._tasks.setdefault(row["task_run_id"], _TaskRow({name: row[name] for name in _TASK_COLUMNS}))
            found.append((row["slug"], row["map_index"]))
        return found

    # ---------------------------------------------------------------------------------------------- appending

    def append(
        self, event: Event, by: Author, *, payload: msgspec.Raw | None = None, pseq: int | None = None
    ) -> None:
        """
        Append an event.

        Args:
            event: what happened.
            by: who says so.
            payload: its JSON as the producer sent it; None: of an event that the server makes.
            pseq: the producer's number.

        Raises:
            IllegalTransition: when its state may not follow.
        """
        kind = event.kind
        task_id = self._task_id(event.slug, event.index) if event.slug else None
        moment = moment_of(event.ts) if pseq is not None else self.transaction.now
        if kind is Kind.TASK_STATE and task_id is not None:
            self._apply_task_state(task_id, event, by, moment, pseq)
        elif kind is Kind.RUN_STATE:
            self._apply_run_state(event, by, moment, pseq)
        elif kind is Kind.RUN_STARTED:
            self._apply_start(event, by, moment, pseq)
        elif kind is Kind.RUN_NAME:
            self.set(name=str(event.data.get("name", self["name"])))
        elif kind is Kind.TASK_NAME and task_id is not None:
            self._task(task_id, event).values["name"] = str(event.data.get("name", ""))
        elif kind is Kind.ARTIFACT:
            self._artifacts.append({**event.data, "task_run_id": task_id, "seq": self.seq + 1})
        elif kind is Kind.INCOMPLETE and event.state:
            if self.state == "Pending":
                self.state = "Running"  # That it began was not recorded: what has an end has begun.
            self._apply_run_state(event, by, moment, pseq)
        self.seq += 1
        if payload is None:
            event.ts = event.ts or microseconds(moment)
            payload = msgspec.Raw(encode_json(event))
        self._events.append(
            {
                "run_id": self.id,
                "seq": self.seq,
                "epoch": self["epoch"],
                "pseq": pseq,
                "kind": KINDS[kind],
                "task_run_id": task_id,
                "ts": moment,
                "recv_ts": self.transaction.now,
                "payload": payload,
                "digest": event_digest(bytes(payload)),
            }
        )

    def run_state(self, state: str, by: Author = Author.SERVER, **fields: Any) -> None:
        """Append a state of the run that the server itself, or a person through it, has made."""
        self.append(Event(kind=Kind.RUN_STATE, state=state, **fields), by)

    def task_state(
        self, slug: str, index: int, state: str, by: Author = Author.SERVER, **fields: Any
    ) -> None:
        """Append a state of a task run that the server itself, or a person through it, has made."""
        self.append(Event(kind=Kind.TASK_STATE, slug=slug, index=index, state=state, **fields), by)

    def _apply_run_state(self, event: Event, by: Author, moment: datetime, pseq: int | None) -> None:
        state = event.state
        if not may_become("flow_run", self.state, state, by):
            raise IllegalTransition("flow_run", self["name"] or self.id, self.state, state, pseq)
        self.state = state
        ended = state in FINAL_STATES
        self.set(
            state=state,
            message=event.message,
            cause=event.cause,
            state_time=moment,
            end_time=moment if ended else None,
        )
        if state == "Running" and self["start_time"] is None:
            self.set(start_time=moment)
        if state != "Submitted":
            self.set(submit_until=None)
        if ended:
            # The lease ends with the run; its epoch and token stay, for what is reported late.
            self.set(lease_until=None, due=None, commands=[])

    def _apply_start(self, event: Event, by: Author, moment: datetime, pseq: int | None) -> None:
        header = event.header
        if header is not None:
            known = msgspec.to_builtins(header)
            self.set(header={key: value for key, value in known.items() if key not in _HEADER_LEFT_OUT})
            if not self["name"]:
                self.set(name=header.name)
        if event.state:
            self._apply_run_state(event, by, moment, pseq)

    def _task(self, id_: str, event: Event) -> _TaskRow:
        task = self._tasks.get(id_)
        if task is None:
            task = self._tasks[id_] = _TaskRow(
                {
                    **dict.fromkeys(_TASK_COLUMNS),
                    "slug": event.slug,
                    "map_index": event.index,
                    "name": "",
                    "state": NEW,
                    "message": "",
                    "cause": "",
                    "attempt": self["attempt"],
                    "run_count": 1,
                    "result_ref": "",
                    "result_sha256": "",
                    "result_len": 0,
                }
            )
        task.is_changed = True
        task.values["seq"] = self.seq + 1
        return task

    def _apply_task_state(
        self, id_: str, event: Event, by: Author, moment: datetime, pseq: int | None
    ) -> None:
        task, state = self._task(id_, event), event.state
        if not may_become("task_run", task.state, state, by) or not self._lets(state, by):
            name = event.slug if event.index < 0 else f"{event.slug}[{event.index}]"
            raise IllegalTransition("task_run", name, task.state, state, pseq)
        values = task.values
        values["state"], values["message"], values["cause"] = state, event.message, event.cause
        values["state_time"], values["attempt"] = moment, self["attempt"]
        values["run_count"] = event.run_count
        values["due"] = None if event.start_time is None else moment_of(event.start_time)
        values["end_time"] = moment if state in FINAL_STATES else None
        if state == "Running" and values["start_time"] is None:
            values["start_time"] = moment
        values["seconds"] = event.seconds
        if event.children is not None:
            values["children"] = event.children
        result = event.result
        values["result_ref"] = "" if result is None else result.location or result.kind
        values["result_sha256"] = "" if result is None else result.sha256
        values["result_len"] = 0 if result is None else result.length

    def _lets(self, state: str, by: Author) -> bool:
        """Say whether the state of the run lets a worker bring a task run to a state (R-BE-104, R-API-64)."""
        if by is not Author.WORKER:
            return True
        if self.state in FINAL_STATES:
            return False
        return state != "Running" or self.state in ("Running", "Cancelling")

    # ------------------------------------------------------------------------------------------------ writing

    def write(self) -> int:
        """Write what was appended and set; return the number of the last event."""
        insert_many(self.transaction, tables.run_event, self._events)
        changed = [
            {"run_id": self.id, "task_run_id": id_, **task.values}
            for id_, task in self._tasks.items()
            if task.is_changed
        ]
        upsert_newer(self.transaction, tables.task_run, changed)
        self._write_artifacts()
        self.set(seq=self.seq, updated=self.transaction.now)
        was = {"was_id": self.id, "was_epoch": self.row["epoch"], "was_seq": self.row["seq"]}
        updated = self.transaction.connection.execute(_update(tuple(self._set)), {**self._set, **was})
        if updated.rowcount != 1:
            raise RuntimeError(f"The row of flow run {self.id} changed while it was locked.")
        if self._events:
            announce(self.transaction, "run", self.id, self._first_seq, self.seq)
        return self.seq

    def _write_artifacts(self) -> None:
        table, now = tables.artifact, self.transaction.now
        for found in self._artifacts:
            key = str(found.get("key") or "")
            if key:
                # One with the key of an earlier one takes its place; one without a kind takes it away.
                self.transaction.connection.execute(
                    sa.delete(table).where(table.c.run_id == self.id, table.c.key == key)
                )
            if found.get("kind"):
                self.transaction.connection.execute(
                    sa.insert(table).values(
                        id=task_run_id(self.id, f"artifact of {key}" if key else f"artifact {found['seq']}"),
                        run_id=self.id,
                        task_run_id=found["task_run_id"],
                        kind=str(found["kind"]),
                        key=key,
                        body=found.get("body"),
                        created=now,
                        updated=now,
                    )
                )


def open_run(transaction: Transaction, run_id: str) -> RunStream:
    """
    Return the stream of a run, its row locked until the end of the transaction.

    Raises:
        UnknownRun: if there is none.
    """
    found = transaction.connection.execute(_OPEN, {"run_id": run_id}).mappings().first()
    if found is None:
        raise UnknownRun(run_id)
    return RunStream(transaction, dict(found))


# Statements that are made once: making one takes SQLAlchemy four times as long as carrying it out.
_RUN, _TASK = tables.flow_run, tables.task_run
_OPEN = sa.select(_RUN).where(_RUN.c.id == sa.bindparam("run_id")).with_for_update()
_TASKS = sa.select(_TASK).where(_TASK.c.run_id == sa.bindparam("of_run"))
_TASKS_BY_STATE = _TASKS.where(
    _TASK.c.state.in_(sa.bindparam("states", expanding=True)), _TASK.c.seq > sa.bindparam("after")
)


@lru_cache
def _tasks_by_id(is_postgresql: bool) -> sa.Select[Any]:
    return _TASKS.where(is_among(_TASK.c.task_run_id, "ids", is_postgresql=is_postgresql))


@lru_cache
def _update(names: tuple[str, ...]) -> sa.Update:
    """Return the update of some columns of a run, guarded although its row is locked."""
    return (
        sa.update(_RUN)
        .where(
            _RUN.c.id == sa.bindparam("was_id"),
            _RUN.c.epoch == sa.bindparam("was_epoch"),
            _RUN.c.seq == sa.bindparam("was_seq"),
        )
        .values({name: sa.bindparam(name, type_=_RUN.c[name].type) for name in names})
    )


def moment_of(count: int) -> datetime:
    """Return the moment that a producer names, held within what can be told."""
    return from_microseconds(min(max(count, 0), _LAST_MICROSECOND))
