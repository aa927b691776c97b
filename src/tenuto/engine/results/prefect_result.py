"""Results that travel with the state: the location is the value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from tenuto.engine.result.base import Result
from tenuto.engine.serializers import DateTimeSerializer, JSONSerializer
from tenuto.serialization.state import register_result

__all__ = ["PrefectResult", "TenutoResult"]


class PrefectResult(Result):
    """
    Keeps a small value as JSON text in its location, so that whoever has the state has the value.

    Args:
        **kwargs: those of `Result`; the serializer is JSON when not given.

    Raises:
        TypeError: for a serializer that does not write JSON or date-time text.
    """

    def __init__(self, **kwargs: Any) -> None:
        serializer = kwargs.get("serializer") or JSONSerializer()
        if not isinstance(serializer, JSONSerializer | DateTimeSerializer):
            raise TypeError("PrefectResult only supports JSONSerializer or DateTimeSerializer")
        super().__init__(**{**kwargs, "serializer": serializer})

    def read(self, location: str) -> Self:
        """
        Return a copy with the value that the text `location` stands for.

        Raises:
            ValueError: if it stands for none.
        """
        new = self.copy()
        new.value = self.serializer.deserialize(location.encode())
        new.location = location
        return new

    def exists(self, location: str, **kwargs: Any) -> bool:
        """Say whether `location` can be read."""
        try:
            self.serializer.deserialize(location.encode())
        except ValueError:
            return False
        return True

    def write(self, /, value_: Any, **kwargs: Any) -> Self:
        """
        Return a copy with the value whose location is its text.

        Raises:
            TypeError: if JSON cannot represent the value.
        """
        new = self.copy()
        new.value = value_
        new.location = self.serializer.serialize(value_).decode()
        return new

    def described_location(self) -> str | None:
        """Return the location, made from the value where nothing has been written yet."""
        if self.location is None and self.value is not None:
            return self.write(self.value).location
        return self.location


TenutoResult = PrefectResult


def _from_description(described: Mapping[str, Any]) -> PrefectResult:
    result = PrefectResult(location=described.get("location"))
    # Descriptions name no serializer; the text tells, for no date-time is JSON.
    if result.location is not None and not result.exists(result.location):
        result.serializer = DateTimeSerializer()
    return result


register_result(PrefectResult, _from_description)
