"""What a migration hands back."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Finding", "Migrated"]


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """
    Something that cannot be carried over.

    Attributes:
        line: of the file, the first is 1.
        what: a sentence without its full stop.
        instead: what to do, a sentence.
    """

    line: int
    what: str
    instead: str

    def __str__(self) -> str:
        return f"{self.line}: {self.what} — {self.instead}"


@dataclass(frozen=True, slots=True)
class Migrated:
    """A text as Tenuto reads it, and what could not be carried over into it, in the order of the lines."""

    text: str
    findings: tuple[Finding, ...] = ()
