"""Texts about users' objects, which may raise from their own `__repr__`, or hold odd characters."""

import sys

__all__ = ["clean_text", "safe_repr", "safe_text"]


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
