"""Restarting runs that have finished (R-BE-126 to R-BE-128)."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from tenuto.exceptions import PrefectException
from tenuto.journal.states import FINAL_STATES, SUCCESSFUL_STATES
from tenuto.server.domain.lifecycle import Author
from tenuto.server.domain.restart import TaskFacts, edges_of, runs_again
from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.leases import end_lease
from tenuto.server.store.sql.stream import IllegalTransition, RunStream, open_run

__all__ = ["CannotRestart", "Restart", "check_begun_here", "restart"]

_RESCUES = 3


class CannotRestart(PrefectException, ValueError):
    """The run cannot be restarted; the text says why, and what can be done."""


@dataclass(frozen=True, slots=True)
class Restart:
    """
    What a restart takes back.

    Attributes:
        tasks: task runs that run again.
        kept: how many do not.
    """

    tasks: list[TaskFacts]
    kept: int


def restart(
    transaction: Transaction,
    run_id: str,
    *,
    by: str,
    message: str = "",
    everything: bool = False,
    dry_run: bool = False,
) -> Restart:
    """
    Have a run that has finished be claimed again, under a new epoch.

    Args:
        transaction: to do it in.
        run_id: the run.
        by: who asks.
        message: why.
        everything: run all tasks again; else those that did not succeed, and what depends on them.
        dry_run: change nothing, only tell what would run again.

    Raises:
        UnknownRun.
        IllegalTransition: when the run has not finished.
        CannotRestart: when it began without the server, or nothing of it failed.
    """
    run = open_run(transaction, run_id)
    if run.state not in FINAL_STATES:
        raise IllegalTransition("flow_run", run["name"], run.state, "Scheduled", None)
    check_begun_here(run)
    known = _tasks(run)
    again = runs_again(known, edges_of(_graph(run)), everything=everything)
    if not again and not everything and run.state in SUCCESSFUL_STATES:
        raise CannotRestart(
            f'Nothing of flow run {run["name"]} failed. Restart it with "from": "everything".'
        )
    if not dry_run:
        _take_back(run, again, by, message or f"Restarted by {by}.")
    return Restart(again, len(known) - len(again))


def check_begun_here(run: RunStream) -> None:
    """
    Let through runs that the server can start.

    Raises:
        CannotRestart: when it began without the server.
    """
    if run.row["is_local"]:
        raise CannotRestart(
            f"Flow run {run['name']} began without the server, which cannot start it. Continue it where it "
            f"ran: tenuto run -p FILE --resume {run['name']}"
        )


def _tasks(run: RunStream) -> list[TaskFacts]:
    table = tables.task_run
    query = (
        sa.select(table.c.slug, table.c.map_index, table.c.state, table.c.result_ref != "")
        .where(table.c.run_id == run.id)
        .order_by(table.c.slug, table.c.map_index)
    )
    rows = run.transaction.connection.execute(query)
    return [TaskFacts(slug, index, state, bool(has_value)) for slug, index, state, has_value in rows]


def _graph(run: RunStream) -> object:
    flow = tables.flow
    query = sa.select(flow.c.serialized).where(flow.c.id == run.row["flow_id"])
    return run.transaction.connection.execute(query).scalar_one()


def _take_back(run: RunStream, tasks: list[TaskFacts], by: str, message: str) -> None:
    end_lease(run)
    run.load_tasks_in({task.state for task in tasks})
    for task in tasks:
        if task.state != "Pending":
            run.task_state(task.slug, task.map_index, "Pending", Author.PERSON, message=message, actor=by)
    run.run_state("Scheduled", Author.PERSON, message=message, actor=by)
    run.set(due=run.transaction.now, rescues_left=_RESCUES, cancel_at=None)
    run.write()
