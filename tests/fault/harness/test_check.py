"""The checker finds what is wrong in a store: each thing that it looks at is spoilt in turn."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from tenuto.server.store.sql.database import Transaction
from tests.fault.harness.check import check_store
from tests.fault.harness.simulation import SimulatedStore, Tally, simulate, store_in_memory

SPOILT = {
    "UPDATE flow_run SET seq = seq + 1": "its row is at event",
    "UPDATE flow_run SET epoch = -1": "its epochs are",
    "UPDATE flow_run SET pseq = pseq + 1": "its row is at event",
    "UPDATE flow_run SET state = 'Queued', lease_until = NULL": "its state is 'Queued', and its stream says",
    "UPDATE flow_run SET cause = 'none'": "its cause is 'none'",
    "UPDATE flow_run SET state = 'Running', lease_until = NULL, is_local = 0": "and nobody holds it.",
    "UPDATE flow_run SET lease_until = 1, token_digest = NULL": "it has a lease that nobody can show.",
    "UPDATE flow_run SET state = 'Scheduled', due = NULL, is_local = 0": "it is Scheduled for no time.",
    "UPDATE flow_run SET submit_until = 1 WHERE state <> 'Submitted'": "and is to begin until",
    "UPDATE flow_run SET attempt = attempt + 1": "times, and its row says",
    "DELETE FROM run_event WHERE seq = 2": "its events have the numbers",
    "DELETE FROM run_event WHERE pseq = 1": "have the producer's numbers",
    "UPDATE run_event SET kind = 2 WHERE kind = 1": "is not the one that its row tells of",
    "UPDATE run_event SET payload = json_set(payload, '$.state', 'Cached') WHERE kind = 1": "to Cached.",
    "UPDATE task_run SET state = 'Cached'": "is 'Cached', and the stream says",
    "DELETE FROM task_run": "it has rows for the task runs []",
    "UPDATE scheduled_time SET run_id = NULL": "has no run.",
    "DELETE FROM scheduled_time": "has 0 times.",
    "INSERT INTO slot SELECT 'gpu', id, '', 99, 1 FROM flow_run": "A slot of 'gpu' is held for run",
    "DELETE FROM feed": "and its followers were told of []",
}


@pytest.fixture(scope="module")
def store() -> Iterator[SimulatedStore]:
    """Give a store in which much has happened."""
    with store_in_memory() as store:
        simulate(store, random.Random(1), 200, Tally())
        yield store


@pytest.mark.parametrize("statement", SPOILT)
def test_checker_says_what_is_wrong(store: SimulatedStore, statement: str) -> None:
    def spoil(transaction: Transaction) -> tuple[list[str], list[str]]:
        before = check_store(transaction)
        with transaction.connection.begin_nested() as spoilt:
            assert transaction.connection.execute(sa.text(statement)).rowcount > 0
            found = check_store(transaction)
            spoilt.rollback()
        return before, found

    before, found = store.database.write(spoil)
    assert before == []
    assert any(SPOILT[statement] in sentence for sentence in found), found
