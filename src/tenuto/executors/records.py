"""Log records on their way from the process that a task ran in to that of the flow."""

from __future__ import annotations

import copy
import logging
from typing import Any

from tenuto._base.context import context
from tenuto._base.logging import get_logger

__all__ = ["portable_record", "relay", "run_of_record"]

_formatter = logging.Formatter()


def portable_record(record: logging.LogRecord) -> dict[str, Any]:
    """Return the attributes of a record, as far as everybody can unpickle them; its texts are final."""
    final = copy.copy(record)
    final.msg, final.args = record.getMessage(), None
    if record.exc_info:
        final.exc_text = record.exc_text or _formatter.formatException(record.exc_info)
        final.exc_info = None
    return {
        name: value
        for name, value in vars(final).items()
        if isinstance(value, str | int | float | None) and name != "message"
    }


def run_of_record() -> dict[str, Any]:
    """Return what of the context tells which task run a record of now belongs to."""
    values = context.current()
    return {key: values.get(key) for key in ("flow_run_id", "task_slug", "map_index")}


def relay(attributes: dict[str, Any], run: dict[str, Any]) -> None:
    """Log here what was logged elsewhere."""
    record = logging.makeLogRecord(attributes)
    own = record.name.startswith("tenuto.")
    logger = get_logger(record.name.removeprefix("tenuto.")) if own else logging.getLogger(record.name)
    with context(run):
        logger.handle(record)
