"""Which handlers see the records of a run."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import Any, cast

from tenuto._base.logging import get_logger
from tenuto.engine.launch import record_logs


class Listening(logging.Handler):
    """Stands for a run's recorder and for its log: keeps the texts, and may leave at the first one."""

    def __init__(self, stays: bool = True) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.block = ExitStack()
        self.stays = stays

    def log_handler(self, level: int) -> logging.Handler:
        return self

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
        if not self.stays:
            self.block.close()


def test_record_reaches_a_run_s_log_while_another_run_ends() -> None:
    # R-LOG-12
    ends, goes_on = Listening(stays=False), Listening()
    ends.block.enter_context(record_logs(cast(Any, ends)))
    with record_logs(cast(Any, goes_on)):
        get_logger().warning("one")
        get_logger().warning("two")
    get_logger().warning("three")
    assert ends.texts == ["one"]
    assert goes_on.texts == ["one", "two"]
