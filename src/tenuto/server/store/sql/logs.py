"""Log records of runs: taken in without gaps, kept as the lines that they came as (reliability 3.7)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from tenuto.journal.logs import LogLine
from tenuto.server.domain.timings import Timings
from tenuto.server.store.sql import tables
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.feed import announce
from tenuto.server.store.sql.ingest import BadBatch, Gap
from tenuto.server.store.sql.json import without_nul
from tenuto.server.store.sql.leases import Fenced, Lease, check_lease
from tenuto.server.store.sql.stream import open_run

__all__ = ["LogBatch", "RawLogs", "decode_logs", "read_log_lines", "take_logs"]

RECORDS_MAX = 1_000
RECORD_BYTES_MAX = 1 << 20
# Between the parts of JSON a line may end; inside of its texts it is escaped.
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")


class RawLogs(msgspec.Struct, forbid_unknown_fields=True):
    """Log records as they are sent."""

    epoch: int
    first: int
    records: list[msgspec.Raw]


@dataclass(frozen=True, slots=True)
class LogBatch:
    """
    Log records of one producer, in a row.

    Attributes:
        epoch: of the lease that they were written under.
        first: `lseq` of the first; those of the others follow it.
        lines: each as JSON.
        dropped: how many records they tell to be missing.
    """

    epoch: int
    first: int
    lines: list[bytes]
    dropped: list[int]


_batches = msgspec.json.Decoder(RawLogs)
_records = msgspec.json.Decoder(LogLine)


def decode_logs(body: bytes) -> LogBatch:
    """
    Return the log records of a request's body.

    Raises:
        BadBatch: if they are malformed, too many or too large, or their numbers have gaps.
    """
    try:
        raw = _batches.decode(body)
        if raw.first < 1 or not raw.records or len(raw.records) > RECORDS_MAX:
            raise BadBatch(f"Log records are sent by 1 to {RECORDS_MAX:,} at a time, counted from 1.")
        lines, dropped = [], []
        for number, payload in enumerate(raw.records, raw.first):
            line = without_nul(bytes(payload)).translate(_ONE_LINE)
            if len(line) > RECORD_BYTES_MAX:
                text = f"Log record {number} has {len(line):,} bytes; the limit is {RECORD_BYTES_MAX:,}."
                raise BadBatch(text, is_too_large=True)
            record = _records.decode(line)
            if record.lseq != number:
                raise BadBatch(f"Log record {number} says that it is number {record.lseq}.")
            lines.append(line)
            dropped.append(record.dropped)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadBatch(f"The log records are malformed: {error}") from error
    return LogBatch(raw.epoch, raw.first, lines, dropped)


def take_logs(transaction: Transaction, run_id: str, token: str, batch: LogBatch, timings: Timings) -> int:
    """
    Take in log records, each once; return the number of the last that is stored.

    They are taken from who holds the run, and after its end for a while from who held it last.

    Raises:
        UnknownRun, Fenced, Gap.
    """
    run = open_run(transaction, run_id)
    check_lease(run, Lease(batch.epoch, token))
    ended = run.row["end_time"]
    if ended is not None and not run.row["is_local"] and ended < transaction.now - timings.late_reports:
        raise Fenced(run_id, run.row["epoch"])
    chunk = tables.log_chunk
    last: int = (
        transaction.connection.execute(
            sa.select(sa.func.max(chunk.c.lseq_to)).where(
                chunk.c.run_id == run_id, chunk.c.epoch == batch.epoch
            )
        ).scalar()
        or 0
    )
    if batch.first > last + 1:
        raise Gap(last + 1)
    known = last + 1 - batch.first
    lines = batch.lines[known:]
    if not lines:
        return last
    upto = last + len(lines)
    transaction.connection.execute(
        sa.insert(chunk).values(
            run_id=run_id,
            epoch=batch.epoch,
            lseq_from=last + 1,
            lseq_to=upto,
            dropped=sum(batch.dropped[known:]),
            bytes=b"".join(line + b"\n" for line in lines),
            recv_ts=transaction.now,
        )
    )
    announce(transaction, "logs", run_id, last + 1, upto)
    return upto


def read_log_lines(
    transaction: Transaction, run_id: str, after: tuple[int, int] = (0, 0), limit: int = 1_000
) -> Iterator[tuple[int, bytes]]:
    """
    Yield log records with their epoch, in order, as JSON.

    Args:
        after: epoch and `lseq` of the last one that is known.
        limit: at most so many.
    """
    chunk = tables.log_chunk
    epoch, lseq = after
    query = (
        sa.select(chunk.c.epoch, chunk.c.lseq_from, chunk.c.bytes)
        .where(
            chunk.c.run_id == run_id,
            sa.or_(chunk.c.epoch > epoch, sa.and_(chunk.c.epoch == epoch, chunk.c.lseq_to > lseq)),
        )
        .order_by(chunk.c.epoch, chunk.c.lseq_from)
    )
    left = limit
    for at, first, data in transaction.connection.execute(query):
        for number, line in enumerate(bytes(data).splitlines(), first):
            if at == epoch and number <= lseq:
                continue
            if left == 0:
                return
            left -= 1
            yield at, line
