"""Texts about users' objects, which may raise from their own `__repr__`, and about durations."""

import sys

__all__ = ["clean_text", "duration_text", "safe_repr", "safe_text"]


def clean_text(text: str) -> str:
    """Return the text with lone surrogates replaced, so that UTF-8 can carry it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def safe_repr(value: object, characters_max: int = sys.maxsize) -> str:
    """Return the repr, cut; never raises for a user's object whose own `__repr__` does."""
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001  # decoration: a user's broken __repr__ must cost nothing else
        text = f"<{type(value).__qualname__}: {type(error).__name__} in __repr__>"
    return text if len(text) <= characters_max else text[: characters_max - 1] + "…"


def safe_text(error: BaseException) -> str:
    """Return `str(error)`; never raises for an exception whose own `__str__` does."""
    try:
        return str(error)
    except Exception as second:  # noqa: BLE001  # a user's broken __str__ must not hide the failure itself
        return f"<message not available: {type(second).__name__} in __str__>"


def duration_text(seconds: float) -> str:
    """Return a duration in at most two units: `12 s`, `3 min 20 s`, `2 h 5 min`, `4 d 1 h`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    for unit, size, lower, lower_size in (
        ("d", 86400, "h", 3600),
        ("h", 3600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if whole >= size:
            rest = whole % size // lower_size
            return f"{whole // size} {unit} {rest} {lower}" if rest else f"{whole // size} {unit}"
    raise AssertionError(whole)
