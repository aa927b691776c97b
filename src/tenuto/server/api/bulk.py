"""The same change to many flow runs: each in a transaction of its own, a page of them with each request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from tenuto.exceptions import PrefectException
from tenuto.server.api.models import Given, Time, Uuid
from tenuto.server.api.problems import Problem, problem_of
from tenuto.server.api.requests import Store, StoreOf
from tenuto.server.api.routing import asks, new_router
from tenuto.server.domain.access import Permission
from tenuto.server.store.sql import deletion, flow_runs, restarts, runs
from tenuto.server.store.sql.flow_runs import RunFilter
from tenuto.server.store.sql.pages import LIMIT_MAX, PageRequest

__all__ = ["router"]

router = new_router("/flow-runs", tags=["flow runs"])


class BulkFilter(Given):
    """Which flow runs are meant: those that all of this holds for."""

    states: list[str] = Field(default_factory=list, description="Class names.")
    flow_id: Uuid | None = None
    flow_group_id: Uuid | None = None
    flow_name: str | None = None
    project_id: Uuid | None = None
    project_name: str | None = None
    agent_id: Uuid | None = None
    parent_flow_run_id: Uuid | None = None
    labels: list[str] = Field(default_factory=list, description="All of these.")
    since: Time | None = Field(None, description="Made then or later.")
    until: Time | None = Field(None, description="Made before.")
    text: str = Field("", description="In the name, or the beginning of the id.")


class Bulk(Given):
    """Which flow runs are meant, by their ids or by a filter, and from where on."""

    ids: Annotated[list[Uuid], Field(max_length=LIMIT_MAX)] = Field(default_factory=list)
    filter: BulkFilter | None = None
    cursor: str = Field("", description="`next_cursor` of the answer before.")
    limit: int = Field(50, ge=1, le=LIMIT_MAX, description="At most so many with this request.")
    message: str = ""
    dry_run: bool = Field(False, description="Change nothing: only count.")

    def meant(self) -> RunFilter:
        """
        Return the filter.

        Raises:
            Problem: 422 when it would be all runs: nobody deletes those by a field that is missing.
        """
        given = {} if self.filter is None else self.filter.model_dump(exclude_defaults=True)
        if not self.ids and not given:
            raise Problem(422, "invalid-request", "Say which flow runs: ids, or a filter that is not empty.")
        return RunFilter(ids=self.ids, **given)


class BulkChange(Bulk):
    """What is to be done with which flow runs."""

    action: Literal["cancel", "restart"]


class Refusal(BaseModel):
    """A flow run that was left as it is."""

    id: str
    problem: str = Field(description="Slug of the problem.")
    detail: str


class BulkDone(BaseModel):
    """What came of it."""

    states: dict[str, int] = Field(description="All flow runs that are meant, by state, before.")
    done: list[str] = Field(description="Ids of those that it was done to.")
    refused: list[Refusal]
    next_cursor: str | None = Field(description="Ask again with this one; null: these were the last.")


@router.post("/bulk", response_model=BulkDone, **asks(Permission.RUN))
def change_many(store: StoreOf, body: BulkChange) -> Any:
    """Cancel or restart many flow runs, the newest first."""
    by = store.principal.name

    def cancel(run_id: str) -> None:
        store.go_on(lambda tx: runs.cancel(tx, run_id, by=by, message=body.message))

    def restart(run_id: str) -> None:
        store.go_on(lambda tx: restarts.restart(tx, run_id, by=by, message=body.message))

    return _each(store, body, body.action, cancel if body.action == "cancel" else restart)


@router.post("/bulk-delete", response_model=BulkDone, **asks(Permission.EDIT))
def delete_many(store: StoreOf, body: Bulk) -> Any:
    """Delete many flow runs with all that belongs to them, the newest first."""

    def delete(run_id: str) -> None:
        store.go_on(lambda tx: deletion.begin_deletion(tx, run_id, by=store.principal.name))
        while not store.go_on(lambda tx: deletion.delete_part(tx, run_id)):
            pass

    return _each(store, body, "delete", delete)


def _each(store: Store, body: Bulk, action: str, change: Callable[[str], None]) -> dict[str, Any]:
    """Do something to each run of the next page of those that are meant."""
    meant, request = body.meant(), PageRequest(limit=body.limit, cursor=body.cursor)
    states, page = store.read(
        lambda tx: (flow_runs.count_by_state(tx, meant), flow_runs.list_flow_runs(tx, meant, request))
    )
    done: list[str] = []
    refused: list[dict[str, str]] = []
    if body.dry_run:
        return {"states": states, "done": done, "refused": refused, "next_cursor": None}
    ids = [row["id"] for row in page.rows]
    # Who asked for what is written down before it is begun.
    store.write(lambda _: None, after={"action": action, "flow_run_ids": ids})
    for run_id in ids:
        try:
            change(run_id)
        except PrefectException as error:
            problem = problem_of(error)
            if problem is None or problem.status >= 500:
                raise
            refused.append({"id": run_id, "problem": problem.slug, "detail": problem.detail})
        else:
            done.append(run_id)
    return {"states": states, "done": done, "refused": refused, "next_cursor": page.next_cursor}
