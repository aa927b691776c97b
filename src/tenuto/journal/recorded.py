"""User values as they may stand in events and headers: plain JSON, secrets masked, the rest as its repr."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tenuto._base.masking import MASK, mask
from tenuto._base.plain import plain_json
from tenuto._base.texts import clean_text, safe_repr

__all__ = ["NOT_PLAIN_KEY", "is_recorded", "is_secret_name", "recorded_value", "recorded_values"]

NOT_PLAIN_KEY = "$repr"
VALUE_BYTES_MAX = 16 * 1024
_REPR_CHARACTERS_MAX = 200
_SECRET_NAME = re.compile(
    r"(?:^|[_\-. ])(?:api_?key|key|token|password|passwd|secret|credentials?)s?$", re.IGNORECASE
)


def recorded_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return each value as `recorded_value` writes it."""
    return {clean_text(mask(str(name))): recorded_value(str(name), value) for name, value in values.items()}


def recorded_value(name: str, value: object) -> Any:
    """
    Return the value if it is plain JSON of at most 16 KB without a secret in it, else `{"$repr": text}`.

    So what is not a dict with exactly that one key is the value that the run had; see `is_recorded`. Values
    of names like `password` or `api_key` are not written at all.
    """
    if value is not None and is_secret_name(name):
        return {NOT_PLAIN_KEY: MASK}
    data = plain_json(value, VALUE_BYTES_MAX)
    if data is None or (type(value) is dict and NOT_PLAIN_KEY in value):
        return {NOT_PLAIN_KEY: clean_text(mask(safe_repr(value, _REPR_CHARACTERS_MAX)))}
    text = data.decode()
    masked = mask(text)
    return value if masked == text else {NOT_PLAIN_KEY: masked[:_REPR_CHARACTERS_MAX]}


def is_recorded(value: Any) -> bool:
    """Say whether a value of a header is the one that the run had, and not only its repr."""
    return not (type(value) is dict and NOT_PLAIN_KEY in value)


def is_secret_name(name: str) -> bool:
    """Say whether a parameter of this name is taken for a secret, and not recorded."""
    return _SECRET_NAME.search(name) is not None
