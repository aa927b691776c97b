"""
What a server does before it serves: makes up for the time in which there was none (reliability 3.10).

Each step is a transaction of its own, and finds nothing left to do the second time: a server that is killed
anywhere is started again. The lock and the schema come before it (`store/sql/opening.py`), the rescue of lost
runs after the time of a lease (`services/rescue.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from tenuto._base.failpoints import failpoint
from tenuto.server.domain.timings import Timings
from tenuto.server.services.scheduler import SchedulerService
from tenuto.server.store.sql import services
from tenuto.server.store.sql.database import Database, StoreUnavailable, Transaction
from tenuto.server.store.sql.refold import inconsistent, live_runs, refold

__all__ = ["recover"]

logger = logging.getLogger("tenuto.server")

_PAGE = 500


def recover(database: Database, timings: Timings) -> str:
    """
    Bring the database to where a server can go on from; return the id by which this server is alive.

    Raises:
        DatabaseDamaged: when what is stored cannot be trusted.
        StoreUnavailable.
    """
    if not database.read(services.has_stopped_in_order):
        database.write(services.check_pages)
    failpoint("recovery.checked")
    server_id, found = database.write(partial(_begin, timings=timings))
    failpoint("recovery.begun")
    if found.extended:
        logger.info(
            "No server was there for %.0f s: %d leases were extended.",
            found.downtime.total_seconds(),
            found.extended,
        )
    refold_all(database)
    failpoint("recovery.refolded")
    # Before anybody can claim what was missed.
    SchedulerService(database, timings, server_id).make_all()
    failpoint("recovery.scheduled")
    return server_id


def _begin(transaction: Transaction, timings: Timings) -> tuple[str, services.Recovered]:
    """Say that a server is alive, and make up for the time before, in one transaction."""
    server_id = services.begin_server(transaction)
    return server_id, services.recover(transaction, server_id, timings)


def refold_all(database: Database) -> int:
    """Have all runs that have not ended be what their events say; return how many were not."""
    live = database.read(live_runs)
    pages = [live[start : start + _PAGE] for start in range(0, len(live), _PAGE)]
    return sum(_refold(database, run_id) for page in pages for run_id in _suspects(database, page))


def _suspects(database: Database, page: Sequence[str]) -> Sequence[str]:
    try:
        return database.read(partial(inconsistent, ids=page))
    except StoreUnavailable:
        raise
    except Exception:
        logger.exception("The events of a flow run cannot be read; %d are looked at one by one.", len(page))
        return page


def _refold(database: Database, run_id: str) -> bool:
    try:
        is_changed = database.write(partial(refold, run_id=run_id))
    except StoreUnavailable:
        raise
    except Exception:  # one run that cannot be read must not keep the server from the others (S-26)
        logger.exception("Flow run %s is not what its events say, and could not be put right.", run_id)
        return False
    if is_changed:
        logger.error("Inconsistency: flow run %s was not what its events say, and is now.", run_id)
    return is_changed
