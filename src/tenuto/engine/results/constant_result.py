"""Results of constants: the value is in the flow itself."""

from __future__ import annotations

from typing import Any, NoReturn, Self

from tenuto.engine.result.base import Result
from tenuto.serialization.state import register_result

__all__ = ["ConstantResult"]


class ConstantResult(Result):
    """
    Holds a value that is part of the flow and stored nowhere else.

    Args:
        **kwargs: those of `Result`, but for `serializer`.

    Raises:
        ValueError: for a serializer.
    """

    def __init__(self, **kwargs: Any) -> None:
        if "serializer" in kwargs:
            raise ValueError("A ConstantResult stores nothing, so that it takes no serializer.")
        super().__init__(**kwargs)

    def read(self, location: str) -> Self:
        """Return this result itself."""
        return self

    def exists(self, location: str, **kwargs: Any) -> bool:
        """Say yes: the value is here."""
        return True

    def write(self, /, value_: Any, **kwargs: Any) -> NoReturn:
        """
        Refuse.

        Raises:
            ValueError: always.
        """
        raise ValueError("Constants are part of the flow and cannot be written.")


register_result(ConstantResult, lambda described: ConstantResult(location=described.get("location")))
