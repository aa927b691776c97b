"""Help with finding faults."""

import pickle
from typing import Any

import pytest

from tenuto import context
from tenuto.utilities.debug import is_serializable, raise_on_exception


class ReadBackFails:
    """Pickles here; what it becomes elsewhere needs a module that only this process has."""

    def __reduce__(self) -> Any:
        return eval, ("__import__('absent_in_a_fresh_process')",)


class PickleFails:
    def __reduce__(self) -> Any:
        raise RuntimeError("not me")


def test_block_asks_the_engine_to_raise() -> None:
    # R-DBG-1: the key that the engine reads; the runs themselves are in the integration tests
    with raise_on_exception():
        assert context.raise_on_exception is True
    assert "raise_on_exception" not in context


def test_serializable_means_read_back_in_a_fresh_process() -> None:
    # R-DBG-2
    local = 5
    assert is_serializable(lambda: local)
    assert not is_serializable(ReadBackFails())
    assert not is_serializable(PickleFails())
    assert not is_serializable(context)


def test_serialization_faults_are_raised_on_request() -> None:
    # R-DBG-2
    assert is_serializable([1], raise_on_error=True)
    with pytest.raises(RuntimeError, match="not me"):
        is_serializable(PickleFails(), raise_on_error=True)
    with pytest.raises(ValueError, match="absent_in_a_fresh_process"):
        is_serializable(ReadBackFails(), raise_on_error=True)
    with pytest.raises((pickle.PicklingError, TypeError)):
        is_serializable(context, raise_on_error=True)
