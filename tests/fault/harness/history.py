"""
What clients asked for and were told, as JSON lines that many processes append to one file.

An operation is `invoke`d and ends `ok`, `fail` (it was not done) or `unknown` (nobody knows): the invariants
are judged over these and what is stored.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

__all__ = ["History", "Operation", "read_history"]

Outcome = Literal["ok", "fail", "unknown"]


@dataclass
class Operation:
    """
    One operation; `outcome` is None while it is under way, and for ever when its process was killed.

    Attributes:
        name, values: what was asked for.
        outcome, answer: how it ended, and what was told.
        invoked, ended: when, by the machine's monotonic clock.
    """

    id: str
    name: str
    values: dict[str, Any]
    outcome: Outcome | None = None
    answer: dict[str, Any] = field(default_factory=dict)
    invoked: float = 0.0
    ended: float | None = None

    def ok(self, **answer: Any) -> None:
        """Say that it was done."""
        self.outcome, self.answer = "ok", answer

    def fail(self, **answer: Any) -> None:
        """Say that it was not done, and never will be."""
        self.outcome, self.answer = "fail", answer

    def unknown(self, **answer: Any) -> None:
        """Say that nobody knows."""
        self.outcome, self.answer = "unknown", answer


class History:
    """Appends to a file; each line is one `write`, so that those of other processes are never torn."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        os.close(self._descriptor)

    @contextmanager
    def operation(self, name: str, **values: Any) -> Iterator[Operation]:
        """
        Record that something is asked for, and how it ends.

        The body says by `ok`, `fail` or `unknown` how; saying nothing, or an exception, is `unknown`.
        """
        operation = Operation(uuid.uuid4().hex, name, values)
        self._append({"type": "invoke", "id": operation.id, "name": name, "values": values})
        try:
            yield operation
        except BaseException as error:
            if operation.outcome is None:
                operation.unknown(error=f"{type(error).__name__}: {error}")
            raise
        finally:
            outcome = operation.outcome or "unknown"
            self._append({"type": outcome, "id": operation.id, "answer": operation.answer})

    def _append(self, entry: dict[str, Any]) -> None:
        line = json.dumps({**entry, "pid": os.getpid(), "at": time.monotonic()}).encode() + b"\n"
        written = os.write(self._descriptor, line)
        assert written == len(line), "The disk of the history is full."


def read_history(path: Path) -> list[Operation]:
    """Return the operations of all processes, in the order in which they were asked for."""
    operations: dict[str, Operation] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry["type"] == "invoke":
            operations[entry["id"]] = Operation(
                entry["id"], entry["name"], entry["values"], invoked=entry["at"]
            )
        else:
            operation = operations[entry["id"]]
            operation.outcome = entry["type"]
            operation.answer = entry["answer"]
            operation.ended = entry["at"]
    return list(operations.values())
