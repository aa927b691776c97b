"""Pages of long lists: each begins after the last row of the one before, whatever was added meanwhile."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa

from tenuto.exceptions import PrefectException
from tenuto.server.store.sql.database import Transaction

__all__ = ["BadQuery", "Page", "PageRequest", "read_page"]

LIMIT_MAX = 200


class BadQuery(PrefectException, ValueError):
    """A list was asked for in a way that it cannot be given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """
    Which part of a list is wanted.

    Attributes:
        limit: at most so many rows.
        cursor: `next_cursor` of the page before; empty: the first.
        sort: name of a column, with `-` for the highest first; empty: the list's own order.
        count: whether to count all rows.
    """

    limit: int = 50
    cursor: str = ""
    sort: str = ""
    count: bool = False


@dataclass(slots=True)
class Page:
    """
    A part of a list.

    Attributes:
        rows: in order.
        next_cursor: of the page that follows; None at the end.
        total: of all rows, where it was asked for.
    """

    rows: list[dict[str, Any]]
    next_cursor: str | None = None
    total: int | None = field(default=None)


def read_page(
    transaction: Transaction,
    query: sa.Select[Any],
    request: PageRequest,
    sorts: Mapping[str, Sequence[Any]],
    default: str,
) -> Page:
    """
    Read a page of a query.

    Args:
        query: without order and limit.
        request: which page.
        sorts: by the names that a request may sort by, the columns that decide, the last of them unique.
        default: how it is sorted if the request does not say.

    Raises:
        BadQuery: for an unknown sort, a limit out of range, a cursor that is none.
    """
    if not 1 <= request.limit <= LIMIT_MAX:
        raise BadQuery(f"limit is {request.limit}; it may be 1 to {LIMIT_MAX}.")
    sort = request.sort or default
    name, is_descending = sort.removeprefix("-"), sort.startswith("-")
    if name not in sorts:
        raise BadQuery(f"sort is {name!r}; this list can be sorted by {', '.join(sorted(sorts))}.")
    columns = [sa.type_coerce(column, column.type) for column in sorts[name]]
    total = None
    if request.count:
        total = transaction.connection.execute(
            sa.select(sa.func.count()).select_from(query.subquery())
        ).scalar_one()
    if request.cursor:
        place = _decode(request.cursor, sort, len(columns))
        after = sa.tuple_(
            *(sa.literal(value, column.type) for value, column in zip(place, columns, strict=True))
        )
        here = sa.tuple_(*columns)
        query = query.where(here < after if is_descending else here > after)
    keys = [column.label(f"_key_{number}") for number, column in enumerate(columns)]
    query = query.add_columns(*keys).limit(request.limit + 1)
    query = query.order_by(*(column.desc() if is_descending else column.asc() for column in columns))
    rows = [dict(row) for row in transaction.connection.execute(query).mappings()]
    more = len(rows) > request.limit
    rows = rows[: request.limit]
    cursor = None
    if more:
        cursor = _encode(sort, [rows[-1][f"_key_{number}"] for number in range(len(columns))])
    for row in rows:
        for number in range(len(columns)):
            del row[f"_key_{number}"]
    return Page(rows, cursor, total)


def _encode(sort: str, place: list[Any]) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode([sort, *place])).decode().rstrip("=")


def _decode(cursor: str, sort: str, length: int) -> list[Any]:
    try:
        data = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        found = msgspec.msgpack.decode(data)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        found = None
    if not isinstance(found, list) or len(found) != length + 1 or found[0] != sort:
        raise BadQuery("cursor is none that this list has given, or was given for another order.")
    return found[1:]
