"""What the tests of the command line call a command line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str


class CommandLine(Protocol):
    """Runs a command in this process."""

    def __call__(self, *arguments: str | Path) -> Done: ...
