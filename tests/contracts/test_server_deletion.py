"""Both stores delete runs whole, in small steps."""

from functools import partial

import pytest
import sqlalchemy as sa

from tenuto.journal.event import Event, Kind
from tenuto.server.store.sql import deletion, logs, runs, tables
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.runs import LeaseHeld
from tenuto.server.store.sql.stream import UnknownRun
from tests.contracts.server_stores import (
    TIMINGS,
    Server,
    batch_of,
    run_state,
    task_state,
)

BELONGING = (tables.run_event, tables.task_run, tables.log_chunk, tables.artifact, tables.slot)


def failed_run(server: Server, children: int = 3) -> str:
    """Return a run with something in each of its tables."""
    server.new_run("x")
    (grant,) = server.claim("x")
    run_id: str = grant.run["id"]
    events = [task_state("a", "Running", index) for index in range(children)]
    artifact = Event(kind=Kind.ARTIFACT, data={"kind": "link", "body": {}})
    batch = batch_of(grant.epoch, 1, run_state("Running"), *events, artifact)
    server.send(run_id, grant.token, batch)
    record = b'{"epoch":%d,"first":1,"records":[{"lseq":1,"message":"m"}]}' % grant.epoch
    take = partial(logs.take_logs, run_id=run_id, token=grant.token, timings=TIMINGS)
    server.database.write(partial(take, batch=logs.decode_logs(record)))
    slot = sa.insert(tables.slot).values(
        limit_name="l", run_id=run_id, task_run_id="", epoch=1, until=server.clock.now
    )
    server.database.write(lambda tx: tx.connection.execute(slot))
    return run_id


def end(server: Server, run_id: str) -> None:
    server.database.write(partial(runs.cancel, run_id=run_id, by="a", force=True))


def counts(server: Server, run_id: str) -> dict[str, int]:
    def work(transaction: Transaction) -> dict[str, int]:
        queries = {
            table.name: sa.select(sa.func.count()).select_from(table).where(table.c.run_id == run_id)
            for table in BELONGING
        }
        return {name: transaction.connection.execute(query).scalar_one() for name, query in queries.items()}

    return server.database.read(work)


def delete(server: Server, run_id: str) -> int:
    """Delete a run; return in how many steps."""
    server.database.write(partial(deletion.begin_deletion, run_id=run_id, by="a"))
    steps = 1
    while not server.database.write(partial(deletion.delete_part, run_id=run_id)):
        steps += 1
    return steps


def test_nothing_of_a_deleted_run_is_left_and_all_of_others(server: Server) -> None:
    run_id, other = failed_run(server), failed_run(server)
    end(server, run_id)
    before = counts(server, other)
    assert all(before.values())

    delete(server, run_id)

    assert not any(counts(server, run_id).values())
    assert counts(server, other) == before
    with pytest.raises(UnknownRun):
        delete(server, run_id)
    assert server.database.write(partial(deletion.delete_part, run_id=run_id))


def test_a_long_run_is_deleted_in_many_steps(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    # R-BE-22
    large = tuple((table, key, 7) for table, key, _ in deletion._LARGE)
    monkeypatch.setattr(deletion, "_LARGE", large)
    run_id = failed_run(server, children=20)
    end(server, run_id)
    events = counts(server, run_id)["run_event"]
    assert events > 20

    assert delete(server, run_id) >= events // 7


def test_a_run_that_a_worker_is_at_stays(server: Server) -> None:
    run_id = failed_run(server)
    before = counts(server, run_id)
    for step in (partial(deletion.begin_deletion, by="a"), deletion.delete_part):
        with pytest.raises(LeaseHeld):
            server.database.write(partial(step, run_id=run_id))
    assert counts(server, run_id) == before


def test_a_run_that_waits_is_claimed_by_nobody_once_its_deletion_has_begun(server: Server) -> None:
    run_id = server.new_run("x")
    server.database.write(partial(deletion.begin_deletion, run_id=run_id, by="a"))
    assert server.claim("x") == []
