"""What both stores of the server promise (reliability 3.2 to 3.5)."""

import threading
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from tenuto._base.ids import task_run_id
from tenuto.journal.event import decode_json
from tenuto.server.services.rescue import RescueService
from tenuto.server.services.running import forget_old_notices
from tenuto.server.store.sql import claims, feed, flow_runs, ingest, leases, logs, runs, schema
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.pages import PageRequest
from tenuto.server.store.sql.postgresql import PostgresqlDatabase
from tenuto.server.store.sql.schema import SchemaTooNew, upgrade
from tenuto.server.store.sql.services import beat, begin_server, recover
from tenuto.server.store.sql.sqlite import SqliteDatabase
from tenuto.server.store.sql.stream import IllegalTransition, UnknownRun
from tenuto.server.store.sql.tables import metadata
from tests.contracts.server_stores import (
    TIMINGS,
    Clock,
    Server,
    batch_of,
    body_of,
    run_state,
    task_state,
)


def state_of(server: Server, run_id: str) -> str:
    state: str = server.database.read(partial(flow_runs.get_flow_run, run_id=run_id))["state"]
    return state


def task_states(server: Server, run_id: str) -> dict[str, str]:
    page = server.database.read(
        partial(flow_runs.list_task_runs, run_id=run_id, request=PageRequest(limit=200))
    )
    return {
        row["slug"] + (f"[{row['map_index']}]" if row["map_index"] >= 0 else ""): row["state"]
        for row in page.rows
    }


def running(server: Server, **given: Any) -> claims.Claim:
    """Return a run that an agent has claimed and begun."""
    server.new_run(**given)
    (grant,) = server.claim()
    server.send(grant.run["id"], grant.token, batch_of(grant.epoch, 1, run_state("Running")))
    return grant


# ----------------------------------------------------------------------------------------------------- ingest


def test_a_batch_is_taken_in_once_however_often_it_is_sent(server: Server) -> None:
    grant = running(server)
    run_id = grant.run["id"]
    batch = batch_of(grant.epoch, 2, task_state("a", "Running"), task_state("a", "Success"))

    first = server.send(run_id, grant.token, batch)
    again = server.send(run_id, grant.token, batch)

    assert first == again
    events = server.database.read(partial(flow_runs.read_events, run_id=run_id))
    assert [seq for seq, _, _ in events] == list(range(1, first.seq + 1))  # I-3: dense
    assert task_states(server, run_id) == {"a": "Success"}


def test_an_overlapping_batch_adds_what_is_new(server: Server) -> None:
    grant = running(server)
    run_id = grant.run["id"]
    server.send(run_id, grant.token, batch_of(grant.epoch, 2, task_state("a", "Running")))

    taken = server.send(
        run_id,
        grant.token,
        batch_of(grant.epoch, 2, task_state("a", "Running"), task_state("a", "Failed", message="no")),
    )

    assert taken.acked == 3
    assert task_states(server, run_id) == {"a": "Failed"}


def test_a_gap_is_refused_and_names_what_is_missing(server: Server) -> None:
    grant = running(server)

    with pytest.raises(ingest.Gap) as caught:
        server.send(grant.run["id"], grant.token, batch_of(grant.epoch, 4, task_state("a", "Running")))

    assert caught.value.expected == 2


def test_another_event_of_a_known_number_is_a_conflict(server: Server) -> None:
    grant = running(server)
    run_id = grant.run["id"]
    server.send(run_id, grant.token, batch_of(grant.epoch, 2, task_state("a", "Running")))

    with pytest.raises(ingest.Conflict):
        server.send(run_id, grant.token, batch_of(grant.epoch, 2, task_state("b", "Running")))


@pytest.mark.parametrize("wrong", ["epoch", "token"])
def test_who_does_not_hold_the_lease_changes_nothing(server: Server, wrong: str) -> None:
    grant = running(server)
    run_id = grant.run["id"]
    epoch = grant.epoch + 1 if wrong == "epoch" else grant.epoch
    token = "another" if wrong == "token" else grant.token

    with pytest.raises(leases.Fenced) as caught:
        server.send(run_id, token, batch_of(epoch, 2, run_state("Success")))

    assert caught.value.epoch == grant.epoch
    assert state_of(server, run_id) == "Running"


def test_an_illegal_event_takes_its_whole_batch_with_it(server: Server) -> None:
    grant = running(server)
    run_id = grant.run["id"]

    with pytest.raises(IllegalTransition) as caught:
        server.send(
            run_id,
            grant.token,
            batch_of(grant.epoch, 2, task_state("a", "Success"), task_state("a", "Running")),
        )

    assert caught.value.pseq == 3
    assert task_states(server, run_id) == {}


def test_no_task_runs_after_the_run_has_ended(server: Server) -> None:
    # R-API-64
    grant = running(server)
    run_id = grant.run["id"]
    server.send(run_id, grant.token, batch_of(grant.epoch, 2, run_state("Success")))

    with pytest.raises(IllegalTransition):
        server.send(run_id, grant.token, batch_of(grant.epoch, 3, task_state("a", "Running")))


def test_an_unknown_run_is_named(server: Server) -> None:
    with pytest.raises(UnknownRun, match="01a220af"):
        server.send("01a220af-5023-767a-9f56-b051b2f444e4", "t", batch_of(1, 1, run_state("Running")))


@pytest.mark.parametrize(
    "text", ["\x00", "a\x00b", "\ud83d\ude00 ü", "'; drop table flow_run; --", "\\u0000"]
)
def test_hostile_texts_are_stored(server: Server, text: str) -> None:
    grant = running(server)
    run_id = grant.run["id"]

    server.send(run_id, grant.token, batch_of(grant.epoch, 2, task_state(text, "Failed", message=text)))

    assert list(task_states(server, run_id).values()) == ["Failed"]


@pytest.mark.parametrize("ts", [-1, 0, 2**63 - 1])
def test_times_that_cannot_be_are_held_within_what_can(server: Server, ts: int) -> None:
    grant = running(server)

    server.send(grant.run["id"], grant.token, batch_of(grant.epoch, 2, task_state("a", "Running", ts=ts)))

    assert task_states(server, grant.run["id"]) == {"a": "Running"}


def test_five_hundred_events_come_in_one_batch(server: Server) -> None:
    grant = running(server)
    run_id = grant.run["id"]
    events = [task_state("m", state, index) for index in range(250) for state in ("Running", "Success")]

    taken = server.send(run_id, grant.token, batch_of(grant.epoch, 2, *events))

    assert taken.acked == 501


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"epoch":1,"first":1,"events":[],"digest":""}',
        b'{"epoch":1,"first":0,"events":[{}],"digest":""}',
        b'{"epoch":1,"first":1,"events":[{"kind":"run.state","pseq":2}],"digest":""}',
        b'{"epoch":1,"first":1,"events":[{"kind":"nothing","pseq":1}],"digest":""}',
        b'{"epoch":1,"first":1,"events":[' + b"[" * 100_000 + b'],"digest":""}',
        body_of(1, 1, [run_state("Running")]).replace(b'"Running"', b'"Success"'),
        body_of(1, 1, [run_state("Running")] * 1).replace(b'"epoch":1', b'"epoch":1,"more":2'),
        b"\xff" * 20,
    ],
)
def test_a_malformed_batch_is_refused(body: bytes) -> None:
    with pytest.raises(ingest.BadBatch):
        ingest.decode_batch(body)


def test_an_event_that_is_too_large_is_named() -> None:
    with pytest.raises(ingest.BadBatch, match="Event 1 has") as caught:
        batch_of(1, 1, run_state("Failed", message="x" * (1 << 20)))
    assert caught.value.is_too_large


# ----------------------------------------------------------------------------------------------------- claims


def test_runs_are_claimed_in_the_order_in_which_they_are_due(server: Server, clock: Clock) -> None:
    later = server.new_run(due=clock.now - timedelta(minutes=1))
    sooner = server.new_run(due=clock.now - timedelta(minutes=2))
    server.new_run(due=clock.now + timedelta(minutes=1))

    assert [grant.run["id"] for grant in server.claim(limit=5)] == [sooner, later]


def test_runs_of_several_queues_are_claimed_in_the_order_in_which_they_are_due(
    server: Server, clock: Clock
) -> None:
    ago = [5, 1, 4, 2, 3]
    labels = [(), ("a",), ("a",), ("b",), ()]
    made = {
        server.new_run(*some, due=clock.now - timedelta(minutes=minutes)): minutes
        for minutes, some in zip(ago, labels, strict=True)
    }

    for wanted in ([5, 4], [3, 2], [1]):
        granted = server.claim("a", "b", any_label=True, limit=2)
        assert [made[grant.run["id"]] for grant in granted] == wanted


@pytest.mark.parametrize(
    ("run", "agent", "any_label", "takes"),
    [
        ((), (), False, True),  # R-BE-77
        ((), ("a",), False, False),
        ((), ("a",), True, True),  # R-BE-78
        (("a",), ("a", "b"), False, True),  # R-BE-76
        (("a", "b"), ("a",), False, False),
        (("a",), (), True, False),
    ],
)
def test_labels_say_who_may_take_a_run(
    server: Server, run: tuple[str, ...], agent: tuple[str, ...], any_label: bool, takes: bool
) -> None:
    server.new_run(*run)

    assert bool(server.claim(*agent, any_label=any_label)) is takes


def test_each_run_is_claimed_once_by_many_at_once(server: Server) -> None:
    # I-8
    made = {server.new_run() for _ in range(40)}
    claimed: list[str] = []

    def work() -> None:
        while granted := server.claim(limit=3):
            claimed.extend(grant.run["id"] for grant in granted)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # SQLite's writer serves one after the other; PostgreSQL's claims skip what others have locked.
    while granted := server.claim(limit=3):
        claimed.extend(grant.run["id"] for grant in granted)
    assert sorted(claimed) == sorted(made)


# ----------------------------------------------------------------------------------------------------- leases


def test_a_heartbeat_keeps_the_lease(server: Server, clock: Clock) -> None:
    grant = running(server)
    for _ in range(10):
        clock.advance(seconds=TIMINGS.lease.total_seconds())
        server.heartbeat(grant)

    assert server.sweep() == []


def test_a_lost_worker_s_run_is_claimed_again_and_it_is_fenced(server: Server, clock: Clock) -> None:
    grant = running(server)
    run_id = grant.run["id"]
    server.send(
        run_id,
        grant.token,
        batch_of(
            grant.epoch,
            2,
            task_state("done", "Running"),
            task_state("done", "Success"),
            task_state("at-work", "Running"),
        ),
    )
    clock.advance(seconds=91)

    assert server.sweep() == [run_id]
    assert server.sweep() == []

    assert state_of(server, run_id) == "Scheduled"
    assert task_states(server, run_id) == {"done": "Success", "at-work": "Retrying"}  # I-1
    with pytest.raises(leases.Fenced):
        server.send(run_id, grant.token, batch_of(grant.epoch, 5, run_state("Success")))
    with pytest.raises(leases.Fenced):
        server.heartbeat(grant)
    (again,) = server.claim()
    assert again.epoch > grant.epoch
    assert again.attempt == 2


def test_no_lease_ends_within_the_grace(server: Server, clock: Clock) -> None:
    running(server)
    clock.advance(seconds=89)

    assert server.sweep() == []


def test_a_run_without_rescues_left_fails(server: Server, clock: Clock) -> None:
    grant = running(server, rescues_left=0)
    clock.advance(seconds=91)

    server.sweep()

    run = server.database.read(partial(flow_runs.get_flow_run, run_id=grant.run["id"]))
    assert (run["state"], run["cause"]) == ("Failed", "crashed")


@pytest.mark.parametrize(
    ("policy", "begun", "state"),
    [
        ("off", True, "Failed"),
        ("only-before-start", True, "Failed"),
        ("only-before-start", False, "Scheduled"),
    ],
)
def test_the_policy_of_the_flow_decides(
    server: Server, clock: Clock, policy: str, begun: bool, state: str
) -> None:
    # R-BE-115
    server.new_run(rescue=policy)
    (grant,) = server.claim()
    if begun:
        server.send(grant.run["id"], grant.token, batch_of(grant.epoch, 1, run_state("Running")))
    clock.advance(seconds=91)

    server.sweep()

    assert state_of(server, grant.run["id"]) == state


def test_a_claimed_run_that_never_begins_is_given_to_another(server: Server, clock: Clock) -> None:
    # R-BE-117
    server.new_run()
    (grant,) = server.claim()
    for _ in range(6):
        clock.advance(seconds=55)
        server.heartbeat(grant)

    assert server.sweep() == [grant.run["id"]]


def test_a_run_that_is_given_back_costs_no_rescue(server: Server) -> None:
    grant = running(server)
    run_id = grant.run["id"]
    lease = leases.Lease(grant.epoch, grant.token)

    server.database.write(partial(leases.release, run_id=run_id, lease=lease, cause="drained"))

    run = server.database.read(partial(flow_runs.get_flow_run, run_id=run_id))
    assert (run["state"], run["cause"], run["rescues_left"]) == ("Scheduled", "drained", 3)
    with pytest.raises(leases.Fenced):
        server.heartbeat(grant)


def test_downtime_of_all_servers_extends_leases_once(server: Server, clock: Clock) -> None:
    # reliability 3.10 (3)
    first = server.database.write(begin_server)
    running(server)
    server.database.write(partial(beat, server_id=first))
    clock.advance(seconds=600)
    second = server.database.write(begin_server)

    found = server.database.write(partial(recover, server_id=second, timings=TIMINGS))
    third = server.database.write(begin_server)
    again = server.database.write(partial(recover, server_id=third, timings=TIMINGS))

    assert (found.downtime, found.extended) == (timedelta(seconds=600), 1)
    assert again.extended == 0
    assert server.sweep() == []


def test_a_server_that_starts_beside_another_extends_no_lease(server: Server, clock: Clock) -> None:
    # reliability 3.10 (3)
    first = server.database.write(begin_server)
    running(server)
    server.database.write(partial(beat, server_id=first))
    clock.advance(seconds=TIMINGS.schedule.total_seconds())
    second = server.database.write(begin_server)

    assert server.database.write(partial(recover, server_id=second, timings=TIMINGS)).extended == 0


def test_a_run_that_cannot_be_rescued_keeps_no_other_lost(server: Server, clock: Clock) -> None:
    # S-26
    poisoned, healthy = running(server).run["id"], running(server).run["id"]
    with engine_of(server).begin() as connection:
        run = metadata.tables["flow_run"]
        connection.execute(sa.update(run).where(run.c.id == poisoned).values(state="Nonsense"))
    server_id = server.database.write(begin_server)
    rescue = RescueService(server.database, TIMINGS, server_id, passed=lambda: clock.now.timestamp())
    clock.advance(seconds=91)

    assert rescue.run_once() == 1

    assert state_of(server, healthy) == "Scheduled"


# ----------------------------------------------------------------------------------------------------- people


def test_a_worker_is_asked_to_cancel_and_reports_the_end(server: Server) -> None:
    grant = running(server)
    run_id = grant.run["id"]

    assert server.database.write(partial(runs.cancel, run_id=run_id, by="me")) == "Cancelling"
    assert server.heartbeat(grant).commands == [{"command": "cancel"}]
    taken = server.send(run_id, grant.token, batch_of(grant.epoch, 2, run_state("Cancelled")))

    assert taken.acked == 2
    assert state_of(server, run_id) == "Cancelled"


def test_a_forced_cancel_fences_the_worker(server: Server) -> None:
    grant = running(server)
    run_id = grant.run["id"]
    server.send(run_id, grant.token, batch_of(grant.epoch, 2, task_state("a", "Running")))

    assert server.database.write(partial(runs.cancel, run_id=run_id, by="me", force=True)) == "Cancelled"

    assert task_states(server, run_id) == {"a": "Cancelled"}
    with pytest.raises(leases.Fenced):
        server.heartbeat(grant)


def test_a_cancelled_worker_that_is_lost_leaves_a_cancelled_run(server: Server, clock: Clock) -> None:
    grant = running(server)
    server.database.write(partial(runs.cancel, run_id=grant.run["id"], by="me"))
    clock.advance(seconds=91)

    server.sweep()

    assert state_of(server, grant.run["id"]) == "Cancelled"


def test_a_state_is_set_by_hand_only_where_no_worker_is(server: Server) -> None:
    grant = running(server)

    with pytest.raises(runs.LeaseHeld):
        server.database.write(partial(runs.set_run_state, run_id=grant.run["id"], state="Success", by="me"))


def test_one_idempotency_key_makes_one_run(server: Server) -> None:
    first = server.new_run(idempotency_key="k", parameters={"n": 1})

    assert server.new_run(idempotency_key="k", parameters={"n": 1}) == first
    with pytest.raises(runs.IdempotencyMismatch, match="parameters"):
        server.new_run(idempotency_key="k", parameters={"n": 2})


# ------------------------------------------------------------------------------------------------- logs, feed


def test_log_records_come_back_in_order_and_once(server: Server) -> None:
    grant = running(server)
    run_id = grant.run["id"]

    def send(first: int, count: int) -> int:
        records = b",".join(
            b'{"lseq":%d,"message":"line %d"}' % (number, number) for number in range(first, first + count)
        )
        body = b'{"epoch":%d,"first":%d,"records":[%b]}' % (grant.epoch, first, records)
        batch = logs.decode_logs(body)
        return server.database.write(
            partial(logs.take_logs, run_id=run_id, token=grant.token, batch=batch, timings=TIMINGS)
        )

    assert [send(1, 3), send(1, 3), send(2, 4)] == [3, 3, 5]
    with pytest.raises(ingest.Gap):
        send(7, 1)

    lines = server.database.read(lambda tx: list(logs.read_log_lines(tx, run_id)))
    assert [line for _, line in lines] == [
        b'{"lseq":%d,"message":"line %d"}' % (number, number) for number in range(1, 6)
    ]
    rest = server.database.read(lambda tx: list(logs.read_log_lines(tx, run_id, (grant.epoch, 3))))
    assert rest == lines[3:]


def announce_slowly(transaction: Transaction, key: str, seconds: float) -> None:
    """Announce something, and commit it later."""
    feed.announce(transaction, "run", key)
    threading.Event().wait(seconds)


def test_a_reader_of_the_feed_misses_nothing_of_many_writers(server: Server) -> None:
    # Issue C: 8 writers with pauses before they commit.
    ready = threading.Barrier(8)

    def write(number: int) -> None:
        ready.wait()
        for turn in range(10):
            server.database.write(
                partial(announce_slowly, key=f"{number}-{turn}", seconds=(number * 7 + turn) % 5 / 1000)
            )

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    seen: list[str] = []
    place = feed.Cursor()
    while True:
        was_writing = any(writer.is_alive() for writer in writers)
        found = server.database.read(partial(feed.notices, after=place))
        place = found[-1].cursor if found else place
        seen += [notice.key for notice in found]
        if not found and not was_writing:
            break
    for writer in writers:
        writer.join()

    wanted = [f"{number}-{turn}" for number in range(8) for turn in range(10)]
    assert sorted(key for key in seen if "-" in key and len(key) < 5) == sorted(wanted)


def test_what_was_dropped_from_the_feed_is_noticed_by_who_comes_back(server: Server, clock: Clock) -> None:
    server.new_run()
    place = server.database.read(feed.feed_begin)
    clock.advance(hours=2)
    server.new_run()

    assert server.database.write(forget_old_notices) > 0

    assert server.database.read(feed.feed_begin) > place
    assert server.database.write(forget_old_notices) == 0


def test_events_of_the_store_are_what_the_worker_sent(server: Server) -> None:
    grant = running(server)
    run_id = grant.run["id"]
    event = task_state("a", "Failed", message="ü", inputs={"x": "p:1"}, seconds=1.5)
    server.send(run_id, grant.token, batch_of(grant.epoch, 2, event))

    ((_, _, text),) = server.database.read(partial(flow_runs.read_events, run_id=run_id, after=3))
    assert decode_json(text.encode()) == event
    page = server.database.read(partial(flow_runs.list_task_runs, run_id=run_id, request=PageRequest()))
    assert [row["task_run_id"] for row in page.rows] == [task_run_id(run_id, "a")]


# ----------------------------------------------------------------------------------------------------- schema


def test_a_migrated_database_is_what_the_tables_say(server: Server) -> None:
    with engine_of(server).connect() as connection:
        options = {"compare_type": connection.dialect.name == "postgresql"}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_migrating_again_changes_nothing(server: Server) -> None:
    # I-20
    assert upgrade(engine_of(server)) == []


def test_a_database_of_a_newer_version_is_left_alone(server: Server) -> None:
    with engine_of(server).begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(SchemaTooNew, match="schema 9999"):
        upgrade(engine_of(server))


def test_a_migration_that_is_broken_off_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # I-20
    database = SqliteDatabase(tmp_path / "new.db", Clock())

    def fail(connection: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(schema, "_write_transitions", fail)
        with pytest.raises(OSError, match="disk is full"):
            upgrade(database.engine)
    assert sa.inspect(database.engine).get_table_names() == []

    assert upgrade(database.engine) == ["0001"]
    database.close()


def engine_of(server: Server) -> sa.Engine:
    assert isinstance(server.database, SqliteDatabase | PostgresqlDatabase)
    return server.database.engine
