"""Secrets that this process has read are replaced by `****` in what it logs and records."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["MASK", "known_secrets", "mask", "register_forms", "register_secret"]

MASK = "****"
_LENGTH_MIN = 4
# A line of a long secret (a key file) is masked by itself, because logs are split into lines. Shorter lines
# are more likely braces and field names of a pretty-printed document than something to hide.
_LINE_LENGTH_MIN = 8

_forms: set[str] = set()
_pattern: re.Pattern[str] | None = None


def register_secret(value: object) -> None:
    """
    Have `mask` hide a value: each text and number inside it, and their escaped and encoded forms.

    Values shorter than four characters are not registered: hiding them would blacken ordinary text.
    """
    register_forms(_all_forms(value))


def known_secrets() -> list[str]:
    """Return every text that `mask` hides, for another process that works for the same run."""
    return list(_forms)


def register_forms(forms: Iterable[str]) -> None:
    """Have `mask` hide these texts: what `known_secrets` gave elsewhere."""
    global _pattern
    found = set(forms) - _forms
    if found:
        _forms.update(found)
        # The longest first: a secret that contains another one must be replaced whole.
        ordered = sorted(_forms, key=lambda form: (-len(form), form))
        _pattern = re.compile("|".join(map(re.escape, ordered)))


def mask(text: str) -> str:
    """Return `text` with every registered secret replaced."""
    return text if _pattern is None else _pattern.sub(MASK, text)


def forget_secrets() -> None:
    """Mask nothing any more (for tests)."""
    global _pattern
    _forms.clear()
    _pattern = None


def _all_forms(value: object) -> Iterator[str]:
    for text in _texts(value):
        for part in _parts(text):
            yield from _encoded(part)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes | bytearray):
        yield bytes(value).decode("utf-8", "replace")
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int | float):
        yield str(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, Iterable):
        for item in value:
            yield from _texts(item)


def _parts(text: str) -> Iterator[str]:
    if len(text.strip()) >= _LENGTH_MIN:
        yield text
        lines = text.splitlines()
        if len(lines) > 1:
            yield from (line for line in map(str.strip, lines) if len(line) >= _LINE_LENGTH_MIN)
        elif text.strip() != text:
            yield text.strip()


def _encoded(text: str) -> Iterator[str]:
    import base64
    import json
    import urllib.parse

    yield text
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield repr(text)[1:-1]
    yield urllib.parse.quote(text)
    yield urllib.parse.quote(text, safe="")
    yield urllib.parse.quote_plus(text)
    data = text.encode("utf-8", "surrogatepass")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield from _base64_cores(data, encode)


def _base64_cores(data: bytes, encode: Any) -> Iterator[str]:
    """Yield what of `data` is fixed in base64 text, for each of the three alignments it can have."""
    for offset in range(3):
        encoded = encode(b"\0" * offset + data).decode().rstrip("=")
        # Characters that also hold bits of a neighbour differ from text to text.
        first = (offset * 8 + 5) // 6
        last = (offset + len(data)) * 8 // 6
        core = encoded[first:last]
        if len(core) >= _LENGTH_MIN:
            yield core
