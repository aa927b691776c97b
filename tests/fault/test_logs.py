"""A run logs at full speed while its server is gone: each line is stored, or counted as dropped (I-13)."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
import sqlalchemy as sa

from tenuto.configuration import config, home_path
from tenuto.journal.home import Home
from tenuto.journal.logs import LogLine
from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction
from tests.fault.harness.figures import figure
from tests.fault.harness.servers import FaultServer
from tests.integration.shipped_runs import is_shipped, program, ship, until

# Counts what is handed to the file, and may be told that the file is full early.
LOGS = """
import sys
from tenuto import Flow, context, task
from tenuto.journal.logs import RunLogHandler

count, bytes_max = int(sys.argv[1]), int(sys.argv[2])
if bytes_max:
    RunLogHandler.__init__.__kwdefaults__["bytes_max"] = bytes_max
produced, emit = [0], RunLogHandler.emit

def counted(self, record):
    produced[0] += 1
    emit(self, record)

RunLogHandler.emit = counted

@task
def talk():
    for number in range(count):
        context.logger.info("Line %d, said at full speed.", number)

with Flow("talks") as flow:
    talk()

assert flow.run().is_successful()
print(f"produced={produced[0]}")
"""
DOWN_SECONDS = 3.0
MB = 1 << 20


@pytest.mark.parametrize(
    ("lines", "bytes_max"),
    [
        (100_000, 0),
        (100_000, 6 * MB),  # of 15 MB
        pytest.param(1_000_000, 0, marks=pytest.mark.soak),
        pytest.param(1_000_000, 60 * MB, marks=pytest.mark.soak),
    ],
)
def test_each_line_of_a_run_whose_server_goes_away_is_stored_or_counted(
    server: FaultServer, tmp_path: Path, lines: int, bytes_max: int
) -> None:
    server.divisor = 1.0
    server.start()
    config.cloud.api, config.cloud.api_key = server.address.url, server.address.key
    running = talk(server, tmp_path, lines, bytes_max)
    try:
        until(lambda: running.poll() is not None or stored_logs(server).lines, "lines of a run")
        server.kill()
        time.sleep(DOWN_SECONDS)
        server.start()
        said, _ = running.communicate()
    finally:
        running.kill()
        running.wait()
    assert running.returncode == 0
    produced = re.search(r"produced=(\d+)", said)
    assert produced is not None, said
    home = Home(home_path())
    ship()  # What the run has left behind, if its server came back too late for it.
    until(lambda: is_shipped(home, home.run_ids()[0]), "the shipping of the run")

    found = stored_logs(server)

    figure(
        "logs",
        store="postgresql" if server.settings.is_postgresql else "sqlite",
        disk="short" if bytes_max else "enough",
        lines=int(produced[1]),
        stored=found.lines,
        dropped_marked=found.dropped,
        faults=1,
    )
    assert found.lines + found.dropped == int(produced[1])
    assert found.numbers == list(range(len(found.numbers)))  # the oldest, once each, in order
    assert bool(found.dropped) is bool(bytes_max)
    assert len(found.numbers) == lines or found.dropped


def talk(server: FaultServer, folder: Path, lines: int, bytes_max: int) -> subprocess.Popen[str]:
    """Start a run that logs so many lines, quietly."""
    address = {"TENUTO__CLOUD__API": server.address.url, "TENUTO__CLOUD__API_KEY": server.address.key}
    return subprocess.Popen(
        [*program(LOGS, folder), str(lines), str(bytes_max)],
        env={**os.environ, **address},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # The same lines again, for people.
        text=True,
    )


class Logs(NamedTuple):
    """
    What a server has.

    Attributes:
        lines: how many.
        dropped: how many others are said to be missing.
        numbers: of those that the task wrote.
    """

    lines: int
    dropped: int
    numbers: list[int]


def stored_logs(server: FaultServer) -> Logs:
    """Return what a server has of the logs of its runs."""
    chunk = tables.log_chunk
    query = sa.select(chunk.c.bytes).order_by(chunk.c.run_id, chunk.c.epoch, chunk.c.lseq_from)

    def read(transaction: Transaction) -> list[bytes]:
        return [bytes(data) for data in transaction.connection.execute(query).scalars()]

    with server.store() as store:
        chunks = store.read(read)
    records = [msgspec.json.decode(line, type=LogLine) for data in chunks for line in data.splitlines()]
    found = [re.fullmatch(r"Line (\d+), said at full speed\.", record.message) for record in records]
    return Logs(
        lines=sum(not record.dropped for record in records),
        dropped=sum(record.dropped for record in records),
        numbers=[int(match[1]) for match in found if match is not None],
    )
