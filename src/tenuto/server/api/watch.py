"""Ends what goes on for those who were let in and would not be any more (S-7): one look for all of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

from starlette.concurrency import run_in_threadpool

from tenuto.server.api.access import Access
from tenuto.server.api.problems import Problem
from tenuto.server.domain.access import Principal
from tenuto.server.store.sql.database import StoreUnavailable, Transaction
from tenuto.server.store.sql.sessions import is_current

__all__ = ["Watch", "until"]

T = TypeVar("T")
LOOK_SECONDS = 2.0
OPEN_MAX = 100


class Watch:
    """
    Knows whose streams are open.

    Args:
        access: what they were let in by.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._ended: dict[Principal, asyncio.Event] = {}
        self._open: Counter[Principal] = Counter()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if not self._open:
                continue
            try:
                lapsed = await run_in_threadpool(self._access.database.read, self._lapsed)
            except StoreUnavailable:
                continue  # Nothing that they could see can be read either.
            for principal in lapsed:
                # Whoever is let in again gets an event of their own.
                if (ended := self._ended.pop(principal, None)) is not None:
                    ended.set()

    def _lapsed(self, transaction: Transaction) -> list[Principal]:
        machine = self._access.machine
        return [who for who in list(self._open) if not is_current(transaction, who, machine)]

    @contextmanager
    def held(self, principal: Principal) -> Iterator[asyncio.Event]:
        """Give what is set when somebody would not be let in any more."""
        ended = self._ended.setdefault(principal, asyncio.Event())
        self._open[principal] += 1
        try:
            yield ended
        finally:
            self._open[principal] -= 1
            if not self._open[principal]:
                del self._open[principal]
                if self._ended.get(principal) is ended:
                    del self._ended[principal]

    def has_room(self, principal: Principal) -> bool:
        """Say whether somebody may have another stream open (S-22)."""
        return self._open[principal] < OPEN_MAX

    def check_room(self, principal: Principal) -> None:
        """
        Let somebody have another stream open.

        Raises:
            Problem: 429 where they have as many as they may.
        """
        if not self.has_room(principal):
            text = f"There are {OPEN_MAX} streams open with this key. Close some of them."
            raise Problem(429, "rate-limited", text, headers={"Retry-After": "1"}, retry_after=1)

    async def guarded(self, principal: Principal, items: AsyncGenerator[T]) -> AsyncIterator[T]:
        """Yield items for as long as somebody would be let in."""
        with self.held(principal) as ended:
            async for item in until(ended, items):
                yield item


async def until(ended: asyncio.Event, items: AsyncGenerator[T]) -> AsyncIterator[T]:
    """Yield items until there are no more, or until something is set."""
    stop = asyncio.ensure_future(ended.wait())
    following: asyncio.Future[T | None] | None = None
    is_over = False

    async def fetch() -> T | None:
        nonlocal is_over
        try:
            return await anext(items)
        except StopAsyncIteration:
            is_over = True
            return None

    try:
        while True:
            following = asyncio.ensure_future(fetch())
            await asyncio.wait({following, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                return
            item = following.result()
            if is_over:
                return
            yield cast("T", item)
    finally:
        stop.cancel()
        if following is not None and not following.done():
            following.cancel()
            await asyncio.wait({following})
        await items.aclose()
