"""Stand-in workers at a server, while a test does something to it; and the verdict on what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Self

import sqlalchemy as sa

from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction
from tests.fault.harness.check import check_store
from tests.fault.harness.servers import FaultServer
from tests.fault.harness.stand_ins import Fleet, judge_ledger, register_flow

__all__ = ["WORKERS", "Trial", "verdict"]

WORKERS = 8
SECONDS_MAX = 120.0


class Trial:
    """
    A server that stand-ins report to.

    Args:
        server: not started yet.
        seed: of what they do.
        options: of the `Fleet`.
    """

    def __init__(self, server: FaultServer, seed: int, **options: Any) -> None:
        self.server = server.start()
        flow_id = register_flow(server.address, "reported")
        self.fleet = Fleet(server.address, WORKERS, seed=seed, flow_id=flow_id, **options)
        self._starts: list[float] = []

    def __enter__(self) -> Self:
        self.fleet.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.fleet.__exit__(*exc)

    def wait_for(self, happened: Callable[[], bool]) -> None:
        """Wait until something has happened."""
        deadline = time.monotonic() + SECONDS_MAX
        while not happened():
            self.fleet.check()
            assert time.monotonic() < deadline, f"It has not happened.\n{self.server.errors}"
            time.sleep(0.001)

    def wait_for_events(self, more: int) -> None:
        """Wait until so many more events are acknowledged."""
        ledger = self.fleet.ledger
        wanted = ledger.events + more
        self.wait_for(lambda: ledger.events >= wanted)

    def start_again(self) -> None:
        """Start the server, which has ended."""
        began = time.monotonic()
        self.server.start()
        self._starts.append(time.monotonic() - began)
        self.fleet.check()

    def finish(self) -> dict[str, Any]:
        """
        Have all runs finished; return what figures tell of it.

        Raises:
            AssertionError: when something acknowledged is lost, was done twice, or the store is wrong.
        """
        self.fleet.finish()
        told = verdict(self.server, self.fleet)
        if self._starts:
            told["p99_recover_ms"] = 1000 * sorted(self._starts)[int(len(self._starts) * 0.99)]
        return told


def verdict(server: FaultServer, *fleets: Fleet) -> dict[str, Any]:
    """Compare what fleets of one ledger were told with what is stored; return what figures tell of it."""
    ledger = fleets[0].ledger
    with server.store() as store:
        violations = store.read(check_store)
        judged = store.read(lambda transaction: judge_ledger(transaction, ledger))
        rescues = store.read(count_rescues)
    assert violations == []
    assert not any(judged.values()), judged
    return {
        "store": "postgresql" if server.settings.is_postgresql else "sqlite",
        "acked": ledger.events,
        "runs": len(ledger.ended),
        "unknown": ledger.unknown,
        "rescues": rescues,
        "violations": len(violations),
        **judged,
    }


def count_rescues(transaction: Transaction) -> int:
    event = tables.run_event
    cause = event.c.payload["cause"].as_string()
    query = sa.select(sa.func.count()).where(event.c.pseq.is_(None), cause == "lease-lost")
    found: int = transaction.connection.execute(query).scalar_one()
    return found
