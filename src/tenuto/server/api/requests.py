"""What people's routes have in common: the page that is asked for, and how they reach the store."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Path, Query, Request, Response

from tenuto.server.api.problems import Problem
from tenuto.server.api.recording import entry_of, is_audited
from tenuto.server.domain.access import Principal
from tenuto.server.store.sql.audit import record
from tenuto.server.store.sql.database import Database, Transaction
from tenuto.server.store.sql.pages import PageRequest

__all__ = ["JsonLines", "PageOf", "PathId", "Store", "StoreOf", "TaskRunId"]

T = TypeVar("T")


class JsonLines(Response):
    """An answer of many JSON values, a line each."""

    media_type = "application/x-ndjson"


class Store:
    """
    The store, for one request.

    Routes that are not `async` run in a thread of their own, and may wait for it.
    """

    def __init__(self, request: Request) -> None:
        self._database: Database = request.app.state.database
        self.principal: Principal = request.state.principal
        self._request = request

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Do work that only reads."""
        return self._database.read(work)

    def write(
        self,
        work: Callable[[Transaction], T],
        *,
        before: Callable[[T], Mapping[str, Any] | None] = lambda _: None,
        after: Mapping[str, Any] | None = None,
    ) -> T:
        """
        Do work in a transaction, and write down there who did it.

        Args:
            work: what is done.
            before: of what it returns, what was there before, for whoever reads who did what.
            after: what is there then.
        """

        def recorded(transaction: Transaction) -> T:
            result = work(transaction)
            entry = entry_of(self._request, self.principal, "done")
            record(transaction, replace(entry, before=before(result), after=after))
            return result

        return self._database.write(recorded if is_audited(self._request) else work)

    def go_on(self, work: Callable[[Transaction], T]) -> T:
        """Do a further part, in a transaction of its own, of what `write` has begun and written down."""
        return self._database.write(work)

    def url(self, path: str) -> str:
        """Return the link to a page."""
        settings = self._request.app.state.settings
        base = settings.public_url or str(self._request.base_url)
        return base.rstrip("/") + path


# These are `async` although they wait for nothing: FastAPI would hand each of them to a thread, which takes
# longer than most requests.


async def store_of(request: Request) -> Store:
    """Return the store for a request."""
    return Store(request)


async def page_request(
    limit: Annotated[int, Query(ge=1, le=200, description="Rows of a page.")] = 50,
    cursor: Annotated[str, Query(description="`next_cursor` of the page before.")] = "",
    sort: Annotated[str, Query(description="A column, `-` before it for the highest first.")] = "",
    count: Annotated[bool, Query(description="Count all rows.")] = False,
) -> PageRequest:
    """Return the page that a request asks for."""
    return PageRequest(limit=limit, cursor=cursor, sort=sort, count=count)


async def path_id(id: Annotated[str, Path(description="A UUID.")]) -> str:
    """Return an id of a path in its one form."""
    return _uuid(id)


async def task_run_id(task_run_id: Annotated[str, Path(description="A UUID.")]) -> str:
    """Return the id of a task run in a path, in its one form."""
    return _uuid(task_run_id)


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise Problem(404, "not-found", f"{text!r} is no id: ids are UUIDs.") from None


StoreOf = Annotated[Store, Depends(store_of)]
PageOf = Annotated[PageRequest, Depends(page_request)]
PathId = Annotated[str, Depends(path_id)]
TaskRunId = Annotated[str, Depends(task_run_id)]
