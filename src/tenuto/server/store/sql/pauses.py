"""Pausing runs and having them go on: as a whole, or by the answer to one task (R-BE-131 to R-BE-133)."""

from __future__ import annotations

import sqlalchemy as sa

from tenuto.journal.event import Event, Kind
from tenuto.server.domain.lifecycle import Author
from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.flows import NotFound
from tenuto.server.store.sql.leases import end_lease
from tenuto.server.store.sql.restarts import check_begun_here
from tenuto.server.store.sql.runs import LeaseHeld
from tenuto.server.store.sql.stream import IllegalTransition, RunStream, open_run

__all__ = ["answer", "pause", "resume"]


def pause(transaction: Transaction, run_id: str, *, by: str, message: str = "") -> None:
    """
    Pause a run that waits; the worker of one that runs is asked to, and stops between two tasks.

    Raises:
        UnknownRun.
        IllegalTransition: when it has ended, was handed out and not begun, or is being cancelled.
    """
    run, told = open_run(transaction, run_id), message or f"Paused by {by}."
    if run.state == "Running" and run.row["lease_until"] is not None:
        request = {"command": "pause"}
        if request not in run["commands"]:
            run.set(commands=[*run["commands"], request])
            told = message or f"{by} asks for it to be paused."
            run.append(Event(kind=Kind.NOTE, message=told, actor=by), Author.PERSON)
            run.write()
        return
    if run.state == "Paused":
        return
    run.run_state("Paused", message=told, actor=by)
    run.set(due=None)
    run.write()


def resume(transaction: Transaction, run_id: str, *, by: str, message: str = "") -> None:
    """
    Have a paused run go on, with all its paused tasks.

    Raises:
        UnknownRun.
        IllegalTransition: when it is not paused.
        CannotRestart: when it began without the server.
    """
    run, told = open_run(transaction, run_id), message or f"Resumed by {by}."
    if run.state != "Paused":
        raise IllegalTransition("flow_run", run["name"], run.state, "Scheduled", None)
    for slug, index in run.load_tasks_in(["Paused"]):
        run.task_state(slug, index, "Resume", Author.PERSON, message=told, actor=by)
    _go_on(run, by, told)
    run.write()


def answer(transaction: Transaction, task_run_id: str, *, approved: bool, by: str, message: str = "") -> None:
    """
    Have a paused task run, or fail; its flow run goes on, where it was paused.

    Raises:
        NotFound.
        IllegalTransition: when it is not paused.
        LeaseHeld: while a worker is at other tasks of the run.
        CannotRestart: when the run began without the server.
    """
    table = tables.task_run
    query = sa.select(table.c.run_id, table.c.slug, table.c.map_index)
    found = transaction.connection.execute(query.where(table.c.task_run_id == task_run_id)).first()
    if found is None:
        raise NotFound("task run", task_run_id)
    run_id, slug, index = found
    run = open_run(transaction, run_id)
    run.load_tasks([(slug, index)])
    state, told = ("Resume", "Approved") if approved else ("Failed", "Rejected")
    told = f"{told} by {by}{': ' if message else '.'}{message}"
    if run.task_state_now(slug, index) != "Paused":
        raise IllegalTransition("task_run", slug, run.task_state_now(slug, index), state, None)
    if run.state != "Paused" and run.row["lease_until"] is not None:
        raise LeaseHeld(run_id)
    run.task_state(slug, index, state, Author.PERSON, message=told, actor=by)
    if run.state == "Paused":
        _go_on(run, by, told)
    run.write()


def _go_on(run: RunStream, by: str, message: str) -> None:
    """Have a paused run be claimed; whose worker it was has said that it does no more."""
    check_begun_here(run)
    end_lease(run)
    run.run_state("Scheduled", Author.PERSON, message=message, actor=by)
    run.set(due=run.transaction.now)
