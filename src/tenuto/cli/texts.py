"""Texts about values: durations, ages, sizes, names that may hold anything."""

from __future__ import annotations

from datetime import UTC, datetime

from tenuto._base.texts import duration_text

__all__ = ["age_text", "local_time", "middle_cut", "printable", "seconds_text", "size_text", "until_text"]


def printable(text: str) -> str:
    r"""
    Return text on one line, without what a terminal would obey: that becomes `\x1b`, `\n`, `\u202e`.

    For names and messages that come from files or other people.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def seconds_text(seconds: float | None) -> str:
    """Return a measured duration: milliseconds below a second, `-` when there is none."""
    if seconds is None:
        return "-"
    if seconds < 0.001:
        return "< 1 ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else duration_text(seconds)


def age_text(microseconds: int, now: datetime | None = None) -> str:
    """Return how long ago a time was: `3 min ago`; a clock that was set back makes none negative."""
    passed = (now or datetime.now(UTC)).timestamp() - microseconds / 1e6
    if passed < 1:
        return "just now"
    return f"{duration_text(passed).split(' ')[0]} {duration_text(passed).split(' ')[1]} ago"


def until_text(moment: datetime, now: datetime | None = None) -> str:
    """Return how far away a time is: `2 h 5 min`; `-` if it has passed."""
    left = (moment - (now or datetime.now(UTC))).total_seconds()
    return duration_text(left) if left > 0 else "-"


def local_time(microseconds: int | None) -> str:
    """Return a time on this machine's clock with its distance from UTC."""
    if microseconds is None:
        return "-"
    return datetime.fromtimestamp(microseconds / 1e6, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S%z")


def size_text(count: int) -> str:
    """Return a number of bytes in a unit that people read: `12.3 MB`."""
    size = float(count)
    for unit in ("bytes", "KB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def middle_cut(text: str, width: int) -> str:
    """Return text of at most `width` characters: what is cut is in the middle, where names differ least."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"
