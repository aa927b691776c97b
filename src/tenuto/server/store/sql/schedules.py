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
from tenuto.schedules.clocks import ClockEvent
from tenuto.server.domain.horizon import CatchUp, Late, clock_key, missed
from tenuto.server.domain.new_runs import MissingParameters, UnknownParameters, labels_for, parameters_for
from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.feed import announce
from tenuto.server.store.sql.flows import NotFound, get_group, newest_version
from tenuto.server.store.sql.leases import end_tasks
from tenuto.server.store.sql.runs import NewRun, create_run
from tenuto.server.store.sql.stream import open_run

__all__ = [
    "ActiveSchedule",
    "active_schedules",
    "cancel_missed",
    "follow_code",
    "get_schedule",
    "make_runs",
    "remove_schedule",
    "set_schedule",
    "switch_schedule",
]

_SCHEDULE, _TIME, _RUN = tables.schedule, tables.scheduled_time, tables.flow_run
_GRACE_SECONDS = 300.0


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
        _SCHEDULE.c.created,
        newest.label("newest"),
    ).where(_SCHEDULE.c.active)
    return [
        ActiveSchedule(
            row["id"],
            row["flow_group_id"],
            row["described"],
            min(row["newest"] or row["created"], transaction.now),
        )
        for row in transaction.connection.execute(query).mappings()
    ]


def make_runs(transaction: Transaction, schedule: ActiveSchedule, events: Sequence[ClockEvent]) -> list[str]:
    """
    Make the runs of some times of a schedule, unless they are made; return the ids of those that are new.

    Pausing or editing the schedule waits for the transaction, and then wins.
    """
    connection = transaction.connection
    still = connection.execute(
        sa.select(_SCHEDULE.c.id)
        .where(_SCHEDULE.c.id == schedule.id, _SCHEDULE.c.active)
        .with_for_update(read=True)
    ).first()
    if still is None:
        return []
    flow = newest_version(transaction, schedule.flow_group_id)
    group = get_group(transaction, schedule.flow_group_id)
    made = []
    for event in events:
        key = {"schedule_id": schedule.id, "clock_key": clock_key(event), "at": event.instant}
        if not _is_new(transaction, key):
            continue  # It has its run, by this server or another one.
        failpoint("scheduler.between")
        labels = labels_for(event.labels, None, group["labels"], group["run_config"], flow["labels"])
        new = NewRun(
            flow_id=flow["id"],
            due=event.instant,
            parameters=parameters_for(
                flow["parameters"], group["default_parameters"], event.parameter_defaults, allow_extra=True
            ),
            labels=tuple(labels),
            run_config=group["run_config"] or flow["run_config"],
            created_by="schedule",
            schedule_id=schedule.id,
            rescue=group["settings"].get("rescue") or "on",
        )
        run_id, _ = create_run(transaction, new)
        is_it = [_TIME.c[name] == value for name, value in key.items()]
        connection.execute(sa.update(_TIME).where(*is_it).values(run_id=run_id))
        made.append(run_id)
    return made


def _is_new(transaction: Transaction, time: Mapping[str, Any]) -> bool:
    """Note a time of a schedule; say whether nobody has before, so that its run is the caller's to make."""
    insert = (postgresql if transaction.is_postgresql else sqlite).insert(_TIME)
    statement = insert.values(time).on_conflict_do_nothing().returning(_TIME.c.at)
    return transaction.connection.execute(statement).first() is not None


def cancel_missed(transaction: Transaction, schedule: ActiveSchedule) -> list[str]:
    """Cancel the runs of a schedule that are too late to start, by its flow's policy; return their ids."""
    settings = get_group(transaction, schedule.flow_group_id)["settings"]
    policy: CatchUp = settings.get("catchup") or "latest"
    grace = timedelta(seconds=settings.get("grace_seconds") or _GRACE_SECONDS)
    query = sa.select(_RUN.c.id, _RUN.c.due).where(
        _RUN.c.schedule_id == schedule.id, _RUN.c.state == "Scheduled", _RUN.c.due <= transaction.now
    )
    late = [Late(run_id, due) for run_id, due in transaction.connection.execute(query)]
    gone = []
    for run_id, due in missed(late, policy, grace, transaction.now):
        run = open_run(transaction, run_id)
        # Rescued and late runs were on time once; and another server may have been here first.
        if run.state != "Scheduled" or run.row["attempt"] > 0:
            continue
        message = f"Its time was {due:%Y-%m-%d %H:%M:%S} UTC, and catch-up is {policy!r}."
        end_tasks(run, "Cancelled", cause="missed-window", message=message)
        run.run_state("Cancelled", cause="missed-window", message=message)
        run.write()
        gone.append(run_id)
    return gone


def get_schedule(transaction: Transaction, group_id: str) -> dict[str, Any]:
    """
    Return the schedule of a flow.

    Raises:
        NotFound: when it has none.
    """
    query = sa.select(_SCHEDULE).where(_SCHEDULE.c.flow_group_id == group_id)
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

    The unstarted runs of the old one are gone with it (R-BE-60). It stays off while required parameters are
    given by nobody, and says so (R-BE-33).

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
    transaction: Transaction, group_id: str, described: Mapping[str, Any] | None, active: bool | None
) -> tuple[bool, str]:
    """
    Have a flow follow the schedule of its newly registered code, unless it has one of its own.

    Args:
        described: the schedule in the code; None: it has none.
        active: switch it on or off; None: as it is, and on at first (R-BE-35).

    Returns:
        Whether it is on, and why it is off where nobody switched it off.
    """
    try:
        known = get_schedule(transaction, group_id)
    except NotFound:
        known = None
    is_own = known is not None and known["is_own"]
    if described is None and not is_own:
        if known is not None:
            remove_schedule(transaction, group_id)
        return False, ""
    wanted: bool = active if active is not None else known is None or known["active"]
    if known is not None and (is_own or known["described"] == described):
        if wanted != known["active"]:
            switch_schedule(transaction, group_id, active=wanted)
    elif described is not None:
        set_schedule(transaction, group_id, described, is_own=False, active=wanted)
    now = get_schedule(transaction, group_id)
    return now["active"], now["reason"]


def switch_schedule(transaction: Transaction, group_id: str, *, active: bool, reason: str = "") -> None:
    """
    Switch the schedule of a flow on or off.

    Off, its unstarted runs are gone; on, it is a new schedule (R-BE-64).

    Raises:
        NotFound: when it has none.
    """
    known = get_schedule(transaction, group_id)
    if active:
        set_schedule(transaction, group_id, known["described"], is_own=known["is_own"])
        return
    _remove_runs(transaction, known["id"])
    transaction.connection.execute(
        sa.update(_SCHEDULE)
        .where(_SCHEDULE.c.id == known["id"])
        .values(active=False, reason=reason, updated=transaction.now)
    )
    announce(transaction, "schedule", group_id)


def _remove(transaction: Transaction, group_id: str) -> None:
    query = sa.select(_SCHEDULE.c.id).where(_SCHEDULE.c.flow_group_id == group_id).with_for_update()
    for schedule_id in transaction.connection.execute(query).scalars().all():
        _remove_runs(transaction, schedule_id)
        transaction.connection.execute(sa.delete(_SCHEDULE).where(_SCHEDULE.c.id == schedule_id))


def _remove_runs(transaction: Transaction, schedule_id: str) -> None:
    """Delete the runs of a schedule that nobody has begun; their times keep their rows."""
    unstarted = (
        _RUN.c.schedule_id == schedule_id,
        _RUN.c.state == "Scheduled",
        _RUN.c.attempt == 0,
        _RUN.c.due > transaction.now,
    )
    transaction.connection.execute(sa.delete(_RUN).where(*unstarted))


def _why_off(transaction: Transaction, group_id: str, described: Mapping[str, Any]) -> str:
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
