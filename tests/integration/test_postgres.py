"""The PostgreSQL that other tests run on is a real one, can be made to fail, and leaves nothing."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

import tests.fakes.postgres
from tests.fakes.postgres import PostgresCannotStart, PostgresServer, find_programs, postgres_server
from tests.snippets import ROOT

# Has a server, says where, and waits for its end.
OWNER = """
import sys
from tests.fakes.postgres import postgres_server
with postgres_server() as server:
    print(server.port, server.folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


def setting(connection: psycopg.Connection, name: str) -> str:
    row = connection.execute(f"SHOW {name}".encode()).fetchone()
    assert row is not None
    return str(row[0])


def names(server: PostgresServer) -> set[str]:
    with server.connect() as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}


def test_commits_are_durable_and_only_loopback_is_listened_at(postgres: PostgresServer) -> None:
    with postgres.connect() as connection:
        assert setting(connection, "fsync") == setting(connection, "synchronous_commit") == "on"
        assert setting(connection, "listen_addresses") == "127.0.0.1"
        assert setting(connection, "unix_socket_directories") == ""


def test_user_of_a_database_has_no_rights_beyond_it(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE mine (a int)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE ROLE other")


def test_each_test_has_a_database_of_its_own_that_goes_with_it(postgres: PostgresServer) -> None:
    before = names(postgres)
    with postgres.database() as first, postgres.database() as second:
        for url in (first, second):
            with psycopg.connect(url) as connection:
                connection.execute("CREATE TABLE one (a int)")
        assert len(names(postgres) - before) == 2
        left_open = psycopg.connect(first)
    assert names(postgres) == before
    left_open.close()


def test_database_can_be_a_copy_of_another(postgres: PostgresServer) -> None:
    with postgres.database() as url:
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE made_once (a int)")
        with (
            postgres.database(template=url.rpartition("/")[2]) as copy,
            psycopg.connect(copy) as connection,
        ):
            connection.execute("INSERT INTO made_once VALUES (1)")


@pytest.mark.parametrize("immediate", [True, False])
def test_restarted_server_is_where_it_was_with_what_was_committed(
    own_server: PostgresServer, immediate: bool
) -> None:
    with own_server.database() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE kept (a int)")
            connection.execute("INSERT INTO kept VALUES (1)")
            own_server.restart(immediate=immediate)
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT a FROM kept").fetchall() == [(1,)]


def test_stopped_server_refuses_connections_until_it_is_started(own_server: PostgresServer) -> None:
    with own_server.database() as url:
        own_server.stop()
        with pytest.raises(psycopg.OperationalError, match="refused"):
            psycopg.connect(url)
        own_server.start()
        psycopg.connect(url).close()


def test_sessions_can_be_ended_from_outside(own_server: PostgresServer) -> None:
    with own_server.database() as url:
        sessions = [psycopg.connect(url, autocommit=True) for _ in range(3)]
        assert own_server.terminate_backends(url.rpartition("/")[2], limit=1) == 1
        assert own_server.terminate_backends() == 2
        for session in sessions:
            with pytest.raises(psycopg.OperationalError, match="terminat"):
                session.execute("SELECT 1")
            session.close()


# A terminal sends Ctrl-C to all processes of the foreground; a kill reaches the tests only.
@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT])
def test_server_and_its_folder_are_gone_when_the_tests_are_ended(signal_number: int) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        text=True,
        start_new_session=True,
    )
    assert owner.stdout is not None
    assert owner.stderr is not None
    port, folder = owner.stdout.readline().split()
    psycopg.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres").close()
    os.killpg(owner.pid, signal_number)
    # The keeper has the owner's stderr, so this ends with the last of them.
    errors = owner.communicate()[1]
    assert owner.returncode == -signal_number, errors
    assert not Path(folder).exists()
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres")


def test_newest_installed_version_is_taken_where_none_is_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for version, programs in {"9": 3, "15": 3, "17": 1}.items():
        folder = tmp_path / version / "bin"
        folder.mkdir(parents=True)
        for name in ("initdb", "pg_ctl", "postgres")[:programs]:
            (folder / name).touch()
    assert find_programs(tmp_path) == str(tmp_path / "15" / "bin")


def test_machine_without_postgresql_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PostgresCannotStart, match=re.escape("apt-get install postgresql")):
        find_programs(tmp_path)


def test_server_that_does_not_start_says_why_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tests.fakes.postgres.SETTINGS, "shared_buffers", "no size")
    server = PostgresServer()
    with pytest.raises(PostgresCannotStart, match="shared_buffers"):
        server.start_at_free_port()
    server.close()
    assert not server.folder.exists()
