"""Schedules of flows, and the runs that they make: each time one run, with any number of servers."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from tenuto._base.failpoints import failpoint
from tenuto.serialization.schedule import schedule_from_dict
from tenuto.server.domain.group_settings import GroupSettings
from tenuto.server.domain.horizon import Slot, Waiting, jitters_of, missed
from tenuto.server.domain.new_runs import (
    MissingParameters,
    UnknownParameters,
    labels_for,
    parameters_for,
    run_config_for,
)
from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.feed import announce
from tenuto.server.store.sql.flows import NotFound, get_group, newest_version
from tenuto.server.store.sql.runs import NewRun, create_run
from tenuto.server.store.sql.stream import open_run

__all__ = [
    "ActiveSchedule",
    "active_schedules",
    "follow_code",
    "follow_wall",
    "get_schedule",
    "make_runs",
    "note_looked",
    "remove_schedule",
    "set_schedule",
    "switch_off",
    "switch_schedule",
    "to_do",
]

_GROUP, _SCHEDULE, _TIME, _RUN = tables.flow_group, tables.schedule, tables.scheduled_time, tables.flow_run

_INSTANT = timedelta(microseconds=1)
_WAITS = (_RUN.c.state == "Scheduled", _RUN.c.attempt == 0)


# ------------------------------------------------------------------------------------------------ making runs


@dataclass(frozen=True, slots=True)
class ActiveSchedule:
    """
    A schedule that makes runs.

    Attributes:
        described: as `tenuto.serialization.schedule` writes it.
        since: up to then its times have runs.
    """

    id: str
    flow_group_id: str
    described: Mapping[str, Any]
    since: datetime


def active_schedules(transaction: Transaction) -> list[ActiveSchedule]:
    """Return all schedules that are on."""
    newest = sa.select(sa.func.max(_TIME.c.at)).where(_TIME.c.schedule_id == _SCHEDULE.c.id).scalar_subquery()
    query = sa.select(
        _SCHEDULE.c.id,
        _SCHEDULE.c.flow_group_id,
        _SCHEDULE.c.described,
        _SCHEDULE.c.since,
        newest.label("newest"),
    ).where(_SCHEDULE.c.active)
    return [
        ActiveSchedule(
            row["id"],
            row["flow_group_id"],
            row["described"],
            # Of clocks that fire together, one may have its run and the other not. And where the clock on the
            # wall was set back, what comes once more is looked at again, and has its runs.
            min(max((row["newest"] or row["since"]) - _INSTANT, row["since"]), transaction.wall),
        )
        for row in transaction.connection.execute(query.order_by(_SCHEDULE.c.id)).mappings()
    ]


def to_do(
    transaction: Transaction, schedule: ActiveSchedule, slots: Sequence[Slot]
) -> tuple[list[Slot], bool]:
    """Return which times of a schedule have no run yet, and whether runs of it are due and wait."""
    connection = transaction.connection
    known: set[tuple[str, datetime]] = set()
    if slots:
        query = sa.select(_TIME.c.clock_key, _TIME.c.at).where(
            _TIME.c.schedule_id == schedule.id, _TIME.c.at.between(slots[0].at, slots[-1].at)
        )
        known = {(key, at) for key, at in connection.execute(query)}
    has_due = connection.execute(_due_runs(transaction, schedule.id).limit(1)).first() is not None
    return [slot for slot in slots if (slot.clock_key, slot.at) not in known], has_due


def make_runs(
    transaction: Transaction,
    schedule: ActiveSchedule,
    slots: Sequence[Slot],
    newest_due: datetime | None = None,
) -> list[str]:
    """
    Make the runs of some times of a schedule, unless they are made; return the ids of those that are new.

    Those that are too late to start are cancelled before anybody can claim them. Pausing or editing the
    schedule waits for the transaction, and then wins.

    Args:
        newest_due: the start of the schedule's newest time that is due, whoever makes its run.
    """
    still = transaction.connection.execute(
        sa.select(_SCHEDULE.c.id)
        .where(_SCHEDULE.c.id == schedule.id, _SCHEDULE.c.active)
        .with_for_update(read=True)
    ).first()
    if still is None:
        return []
    group = get_group(transaction, schedule.flow_group_id)
    settings = GroupSettings.read(group["settings"])
    made = _make(transaction, schedule, slots, group, settings) if slots else []
    _cancel_missed(transaction, schedule, settings, newest_due)
    failpoint("scheduler.before_commit")
    return made


def _make(
    transaction: Transaction,
    schedule: ActiveSchedule,
    slots: Sequence[Slot],
    group: Mapping[str, Any],
    settings: GroupSettings,
) -> list[str]:
    flow = newest_version(transaction, schedule.flow_group_id)
    made = []
    for slot in slots:
        key = {"schedule_id": schedule.id, "clock_key": slot.clock_key, "at": slot.at}
        if not _is_new(transaction, key):
            continue  # It has its run, by this server or another one.
        failpoint("scheduler.between")
        given = slot.event.parameter_defaults
        labels = labels_for(slot.event.labels, None, group["labels"], group["run_config"], flow["labels"])
        new = NewRun(
            flow_id=flow["id"],
            due=slot.start,
            parameters=parameters_for(
                flow["parameters"], group["default_parameters"], given, allow_extra=True
            ),
            labels=tuple(labels),
            run_config=run_config_for(group["run_config"], flow["run_config"]),
            created_by="schedule",
            schedule_id=schedule.id,
            scheduled_for=slot.at,
            rescue=settings.rescue,
        )
        run_id, _ = create_run(transaction, new)
        is_it = [_TIME.c[name] == value for name, value in key.items()]
        transaction.connection.execute(sa.update(_TIME).where(*is_it).values(run_id=run_id))
        made.append(run_id)
    return made


def _is_new(transaction: Transaction, time: Mapping[str, Any]) -> bool:
    """Note a time of a schedule; say whether nobody has before, so that its run is the caller's to make."""
    insert = (postgresql if transaction.is_postgresql else sqlite).insert(_TIME)
    statement = insert.values(time).on_conflict_do_nothing().returning(_TIME.c.at)
    return transaction.connection.execute(statement).first() is not None


def _cancel_missed(
    transaction: Transaction, schedule: ActiveSchedule, settings: GroupSettings, newest_due: datetime | None
) -> None:
    """Cancel the runs of a schedule that are too late to start, by its flow's policy."""
    waiting = [
        Waiting(run_id, due)
        for run_id, due in transaction.connection.execute(_due_runs(transaction, schedule.id))
    ]
    too_late = missed(
        waiting,
        settings.catchup,
        timedelta(seconds=settings.grace_seconds),
        transaction.now,
        None if newest_due is None else newest_due - transaction.wall_ahead,
    )
    for run_id, _ in sorted(too_late):
        run = open_run(transaction, run_id)
        # Another server, or an agent, may have been here first.
        if run.state != "Scheduled" or run.row["attempt"] > 0:
            continue
        message = (
            f"Its time was {run.row['scheduled_start_time']:%Y-%m-%d %H:%M:%S} UTC, and nobody took it then: "
            f"the flow's catch-up is {settings.catchup!r}."
        )
        run.run_state("Cancelled", cause="missed-window", message=message)
        run.write()


def _due_runs(transaction: Transaction, schedule_id: str) -> sa.Select[Any]:
    return sa.select(_RUN.c.id, _RUN.c.due).where(
        _RUN.c.schedule_id == schedule_id, *_WAITS, _RUN.c.due <= transaction.now
    )


def note_looked(transaction: Transaction, schedule: ActiveSchedule, until: datetime) -> None:
    """Note that all times of a schedule up to a time have runs, so that nobody looks there again."""
    transaction.connection.execute(
        sa.update(_SCHEDULE)
        .where(_SCHEDULE.c.id == schedule.id, _SCHEDULE.c.since < until)
        .values(since=until)
    )


def follow_wall(transaction: Transaction) -> int:
    """
    Have runs that wait for their time start by the clock on the wall as it is now; return how many it moves.

    Somebody has set the clock of the machine: times of schedules mean what it shows, and leases, which end by
    the server's own clock, do not move.
    """
    # What was to start at once is still to: it was due when it came to its state.
    waiting = sa.select(_RUN.c.id, _RUN.c.due, _RUN.c.scheduled_start_time).where(
        *_WAITS, _RUN.c.due != _RUN.c.state_time
    )
    moved = [
        (run_id, planned - transaction.wall_ahead)
        for run_id, due, planned in transaction.connection.execute(waiting)
        if planned - transaction.wall_ahead != due
    ]
    for run_id, due in moved:
        is_it = sa.update(_RUN).where(_RUN.c.id == run_id, *_WAITS)
        transaction.connection.execute(is_it.values(due=due))
    return len(moved)


# --------------------------------------------------------------------------------------- setting and removing


def get_schedule(transaction: Transaction, group_id: str, *, is_locked: bool = False) -> dict[str, Any]:
    """
    Return the schedule of a flow.

    Args:
        is_locked: until the end of the transaction nobody makes runs of it, or gives the flow another one.

    Raises:
        NotFound: when it has none.
    """
    query = sa.select(_SCHEDULE).where(_SCHEDULE.c.flow_group_id == group_id)
    if is_locked:
        # First the flow, as everybody does: it may have no schedule whose row could be locked.
        of_flow = sa.select(_GROUP.c.id).where(_GROUP.c.id == group_id).with_for_update()
        transaction.connection.execute(of_flow).first()
        query = query.with_for_update()
    row = transaction.connection.execute(query).mappings().first()
    if row is None:
        raise NotFound("schedule of flow", group_id)
    return dict(row)


def set_schedule(
    transaction: Transaction,
    group_id: str,
    described: Mapping[str, Any],
    *,
    is_own: bool,
    active: bool = True,
) -> str:
    """
    Give a flow a schedule in the place of the one it has; return its id.

    The unstarted runs of the old one are gone with it (R-BE-60). It stays off while it cannot be followed,
    and says why (R-BE-33).

    Args:
        is_own: whether it was set on the flow; else it is that of the registered code.
    """
    _remove(transaction, group_id)
    reason = _why_off(transaction, group_id, described)
    schedule_id, now = str(uuid.uuid4()), transaction.now
    transaction.connection.execute(
        sa.insert(_SCHEDULE).values(
            id=schedule_id,
            flow_group_id=group_id,
            described=dict(described),
            is_own=is_own,
            active=active and not reason,
            reason=reason,
            since=transaction.wall,
            created=now,
            updated=now,
        )
    )
    announce(transaction, "schedule", group_id)
    return schedule_id


def remove_schedule(transaction: Transaction, group_id: str) -> None:
    """Take a flow's schedule away, with its unstarted runs."""
    _remove(transaction, group_id)
    announce(transaction, "schedule", group_id)


def follow_code(
    transaction: Transaction,
    group_id: str,
    described: Mapping[str, Any] | None,
    active: bool | None,
    *,
    is_new_version: bool = False,
) -> tuple[bool, str]:
    """
    Have a flow follow the schedule of its newly registered code, unless it has one of its own.

    Args:
        described: the schedule in the code; None: it has none.
        active: switch it on or off; None: as it is, and on at first (R-BE-35).
        is_new_version: whether runs that were made ahead are of a version that is not run any more.

    Returns:
        Whether it is on, and why it is off where nobody switched it off.
    """
    try:
        known = get_schedule(transaction, group_id, is_locked=True)
    except NotFound:
        known = None
    is_own = known is not None and known["is_own"]
    if described is None and not is_own:
        if known is not None:
            remove_schedule(transaction, group_id)
        return False, ""
    # One that is off because it could not be followed is tried again.
    wanted: bool = active if active is not None else known is None or known["active"] or bool(known["reason"])
    if known is not None and (is_own or known["described"] == described):
        if wanted != known["active"]:
            switch_schedule(transaction, group_id, active=wanted)
        elif wanted and is_new_version:
            _renew(transaction, known)
    elif described is not None:
        set_schedule(transaction, group_id, described, is_own=False, active=wanted)
    now = get_schedule(transaction, group_id)
    return now["active"], now["reason"]


def _renew(transaction: Transaction, known: Mapping[str, Any]) -> None:
    """
    Have the unstarted runs of a schedule be of the newest version (R-BE-38).

    Those to come are made anew; what was cancelled stays so. Those whose time has come keep their turn.
    """
    if reason := _why_off(transaction, known["flow_group_id"], known["described"]):
        _switch_off(transaction, known, reason)
        return
    connection, is_its = transaction.connection, (_RUN.c.schedule_id == known["id"], *_WAITS)
    to_come = sa.select(_RUN.c.id).where(*is_its, _RUN.c.scheduled_for > transaction.wall)
    connection.execute(
        sa.delete(_TIME).where(_TIME.c.schedule_id == known["id"], _TIME.c.run_id.in_(to_come))
    )
    connection.execute(sa.delete(_RUN).where(_RUN.c.id.in_(to_come)))
    newest = newest_version(transaction, known["flow_group_id"])
    connection.execute(sa.update(_RUN).where(*is_its).values(flow_id=newest["id"]))


def switch_schedule(transaction: Transaction, group_id: str, *, active: bool) -> None:
    """
    Switch the schedule of a flow on or off.

    Off, its unstarted runs are gone; on, it is a new schedule (R-BE-64). One that is on stays as it is.

    Raises:
        NotFound: when it has none.
    """
    known = get_schedule(transaction, group_id, is_locked=True)
    if not active:
        _switch_off(transaction, known, "")
    elif not known["active"]:
        set_schedule(transaction, group_id, known["described"], is_own=known["is_own"])


def switch_off(transaction: Transaction, schedule: ActiveSchedule, reason: str) -> None:
    """Switch off a schedule that cannot be followed, unless another has taken its place meanwhile."""
    try:
        known = get_schedule(transaction, schedule.flow_group_id, is_locked=True)
    except NotFound:
        return
    if known["id"] == schedule.id:
        _switch_off(transaction, known, reason)


def _switch_off(transaction: Transaction, known: Mapping[str, Any], reason: str) -> None:
    _remove_runs(transaction, known["id"])
    transaction.connection.execute(
        sa.update(_SCHEDULE)
        .where(_SCHEDULE.c.id == known["id"])
        .values(active=False, reason=reason, updated=transaction.now)
    )
    announce(transaction, "schedule", known["flow_group_id"])


def _remove(transaction: Transaction, group_id: str) -> None:
    try:
        known = get_schedule(transaction, group_id, is_locked=True)
    except NotFound:
        return
    _remove_runs(transaction, known["id"])
    transaction.connection.execute(sa.delete(_SCHEDULE).where(_SCHEDULE.c.id == known["id"]))


def _remove_runs(transaction: Transaction, schedule_id: str) -> None:
    """Delete the runs of a schedule that nobody has begun; their times keep their rows."""
    transaction.connection.execute(sa.delete(_RUN).where(_RUN.c.schedule_id == schedule_id, *_WAITS))


def _why_off(transaction: Transaction, group_id: str, described: Mapping[str, Any]) -> str:
    """Return why a schedule cannot be followed; empty if it can."""
    try:
        schedule_from_dict(described)
        jitters_of(described)
    except Exception as error:  # noqa: BLE001  # it is data from outside, and can be wrong in any way
        return f"It cannot be followed: {error}"
    try:
        flow = newest_version(transaction, group_id)
    except NotFound:
        return ""
    defaults = get_group(transaction, group_id)["default_parameters"]
    for clock in described.get("clocks") or ():
        try:
            parameters_for(flow["parameters"], defaults, clock.get("parameter_defaults"), allow_extra=True)
        except (MissingParameters, UnknownParameters) as error:
            return f"{error} Give them in the clock, or as defaults of the flow."
    return ""
