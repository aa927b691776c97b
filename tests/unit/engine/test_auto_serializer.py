"""The serializer that chooses by the value."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tenuto.engine.result.base import is_same
from tenuto.engine.results import LocalResult
from tenuto.engine.serializers import AutoSerializer

FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})


@pytest.mark.parametrize(
    ("value", "start"),
    [
        (FRAME, b"PAR1"),
        (FRAME.set_index("b"), b"PAR1"),
        (pd.DataFrame({"a": [[1], [2]]}), b"\x80"),
        (pd.DataFrame({1: [1, 2]}), None),
        (np.arange(6).reshape(2, 3), b"\x93NUMPY"),
        (np.array([object()], dtype=object)[:0], b"\x80"),
        ({"a": [1, None, "ü", 1.5, True]}, b"{"),
        ("\x80text", b'"'),
        ({1: 2}, b"\x80"),
        ((1, 2), b"\x80"),
        (float("inf"), b"\x80"),
        (datetime(2020, 1, 1, tzinfo=UTC), b"\x80"),
        ([[]], b"["),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_form_fits_the_value_and_gives_it_back(value: Any, start: bytes | None) -> None:
    written = AutoSerializer().serialize(value)
    assert start is None or written.startswith(start)
    read = AutoSerializer().deserialize(written)
    assert type(read) is type(value)
    assert is_same(read, value)


def test_a_cycle_is_pickled() -> None:
    value: list[Any] = []
    value.append(value)
    read = AutoSerializer().deserialize(AutoSerializer().serialize(value))
    assert read[0] is read


def test_results_know_it_by_name() -> None:
    assert LocalResult(serializer="auto").serializer == AutoSerializer()
    with pytest.raises(ValueError, match="no serializer named 'parquet'"):
        LocalResult(serializer="parquet")
