import errno
import json
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tenuto._base.context import context
from tenuto._base.masking import register_secret
from tenuto.journal.logs import LogLine, RunLogHandler, read_logs

RUN = "0196b3a0-0000-7000-8000-000000000000"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "1.logs.jsonl"


@pytest.fixture
def handler(path: Path) -> Iterator[RunLogHandler]:
    made = RunLogHandler(path, RUN)
    yield made
    made.close()


@pytest.fixture
def logger(handler: RunLogHandler) -> logging.Logger:
    made = logging.Logger("tenuto.TaskRunner")  # noqa: LOG001  # of this test alone
    made.addHandler(handler)
    return made


@pytest.fixture(autouse=True)
def running() -> Iterator[None]:
    token = context.enter({"flow_run_id": RUN, "task_slug": "add-1", "map_index": 3})
    yield
    context.leave(token)


def lines(path: Path) -> list[LogLine]:
    return list(read_logs(path))


def test_a_record_is_a_json_line_of_this_shape(path: Path, logger: logging.Logger) -> None:
    logger.info("Task '%s': Starting task run...", "add")

    [line] = path.read_text().splitlines()
    found = json.loads(line)
    assert found.pop("ts") > 1_700_000_000_000_000
    assert found == {
        "lseq": 1,
        "level": 20,
        "logger": "tenuto.TaskRunner",
        "message": "Task 'add': Starting task run...",
        "slug": "add-1",
        "index": 3,
    }


def test_defaults_are_left_out(path: Path, logger: logging.Logger) -> None:
    token = context.enter({"flow_run_id": RUN, "map_index": None})
    logger.warning("of the run")
    context.leave(token)

    assert not {"slug", "index", "dropped", "reason"} & set(json.loads(path.read_text()))


def test_numbers_are_dense(path: Path, logger: logging.Logger) -> None:
    for _ in range(5):
        logger.info("m")

    assert [line.lseq for line in lines(path)] == [1, 2, 3, 4, 5]


def test_only_records_of_its_own_run_are_written(path: Path, logger: logging.Logger) -> None:
    for other in ({"flow_run_id": "another"}, {}):
        token = context.enter(other)
        logger.info("m")
        context.leave(token)

    assert path.read_bytes() == b""


def test_the_level_counts(path: Path, tmp_path: Path) -> None:
    made = RunLogHandler(tmp_path / "x", RUN, logging.WARNING)
    logger = logging.Logger("tenuto")  # noqa: LOG001  # of this test alone
    logger.addHandler(made)

    logger.info("no")
    logger.warning("yes")
    made.close()

    assert [line.message for line in lines(tmp_path / "x")] == ["yes"]


def test_secrets_are_masked_in_messages_and_tracebacks(path: Path, logger: logging.Logger) -> None:  # S-18
    register_secret("hunter2-hunter2")

    logger.info("%s", "hunter2-hunter2")
    try:
        raise ValueError("hunter2-hunter2")
    except ValueError:
        logger.exception("failed")

    assert "hunter2" not in path.read_text()
    assert "****" in lines(path)[0].message


def test_a_traceback_follows_the_message_after_a_newline(path: Path, logger: logging.Logger) -> None:
    try:
        raise ValueError("bad")
    except ValueError:
        logger.exception("failed")
    logger.info("here", stack_info=True)

    first, second = lines(path)
    assert first.message.startswith("failed\nTraceback (most recent call last):\n")
    assert first.message.endswith("ValueError: bad")
    assert second.message.startswith("here\nStack (most recent call last):")


@pytest.mark.parametrize("message", ["a\nb", "nul \0", "lone \ud800", "\x1b[31m"])
def test_hostile_messages_are_one_line_each(path: Path, logger: logging.Logger, message: str) -> None:
    logger.info("%s", message)
    logger.info("after")

    first, second = lines(path)
    assert second.message == "after"
    assert first.message[:1] == message[:1]


@pytest.mark.parametrize("character", ["x", "ü", "\0", '"'])
def test_line_is_cut_to_what_a_server_takes_of_one(
    path: Path, logger: logging.Logger, character: str
) -> None:  # reliability 3.7
    logger.info("%s", character * (1 << 20))
    assert 900_000 < path.stat().st_size <= 1 << 20
    assert lines(path)[0].message.endswith(f"{character} … cut")


def test_a_record_that_cannot_be_formatted_stops_nobody(
    path: Path, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    monkeypatch.setattr(RunLogHandler, "handleError", lambda self, record: told.append(record))

    logger.info("%d", "no number")
    logger.info("after")

    assert len(told) == 1
    assert [line.message for line in lines(path)] == ["after"]


def test_a_full_disk_is_counted_and_marked(
    path: Path, logger: logging.Logger, handler: RunLogHandler, monkeypatch: pytest.MonkeyPatch
) -> None:  # I-13
    real = os.write

    def full(fd: int, data: Any) -> int:
        if len(data) > 20:
            real(fd, data[:20])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    logger.info("first")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        for _ in range(3):
            logger.info("lost")
    logger.info("later")

    first, marker, later = lines(path)
    assert (first.message, later.message) == ("first", "later")
    assert (marker.lseq, marker.dropped, marker.reason) == (2, 3, os.strerror(errno.ENOSPC))
    assert marker.message == ""


def test_a_short_write_is_taken_back(
    path: Path, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: real(fd, data[:7]))
        logger.info("lost")
    logger.info("later")

    assert [(line.message, line.dropped) for line in lines(path)] == [("", 1), ("later", 0)]


def test_beyond_the_cap_records_are_counted_and_marked_at_the_end(path: Path) -> None:  # I-13
    made = RunLogHandler(path, RUN, bytes_max=300)
    logger = logging.Logger("tenuto")  # noqa: LOG001  # of this test alone
    logger.addHandler(made)

    for number in range(100):
        logger.info("record %s", number)
    made.close()

    *kept, marker = lines(path)
    assert len(kept) + marker.dropped == 100
    assert marker.lseq == len(kept) + 1
    assert "log file" in marker.reason


def test_threads_may_log_at_once(path: Path, logger: logging.Logger) -> None:
    def work() -> None:
        token = context.enter({"flow_run_id": RUN})
        for _ in range(200):
            logger.info("m")
        context.leave(token)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [line.lseq for line in lines(path)] == list(range(1, 801))


def test_a_fork_of_the_process_writes_nothing(path: Path, logger: logging.Logger) -> None:
    logger.info("parent")

    pid = os.fork()
    if pid == 0:  # The child.
        logger.info("child")
        os._exit(0)
    os.waitpid(pid, 0)
    logger.info("parent again")

    assert [line.message for line in lines(path)] == ["parent", "parent again"]


def test_after_close_records_are_left_alone(
    path: Path, logger: logging.Logger, handler: RunLogHandler
) -> None:
    handler.close()
    handler.close()
    logger.info("late")

    assert path.read_bytes() == b""


def test_the_file_is_private_and_never_an_old_one(path: Path, handler: RunLogHandler) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        RunLogHandler(path, RUN)


def test_reading_stops_at_a_line_that_is_short_or_damaged(path: Path, logger: logging.Logger) -> None:
    for _ in range(3):
        logger.info("m")
    whole = path.read_bytes()

    path.write_bytes(whole[:-3])
    assert len(lines(path)) == 2
    path.write_bytes(whole.replace(b'"lseq":2', b'"lseq":"x"'))
    assert len(lines(path)) == 1
    assert lines(path.with_name("none")) == []
