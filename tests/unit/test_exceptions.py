"""The tree of errors."""

import pickle

import pytest

from tenuto import exceptions
from tenuto.exceptions import PrefectException, PrefectSignal, ResultCorrupt
from tenuto.utilities import exceptions as old_address


def test_names_of_both_families_are_one_class() -> None:
    assert exceptions.TenutoException is PrefectException
    assert exceptions.TenutoSignal is PrefectSignal


def test_signals_are_no_exceptions() -> None:
    # R-SIG-1
    assert not issubclass(PrefectSignal, Exception)
    for signal in (exceptions.TaskTimeoutSignal, exceptions.VersionLockMismatchSignal):
        assert issubclass(signal, PrefectSignal)


@pytest.mark.parametrize(
    "name",
    ["PrefectException", "ClientError", "AuthorizationError", "ObjectNotFoundError", "FlowStorageError"],
)
def test_message_is_optional(name: str) -> None:
    cls = getattr(exceptions, name)
    assert issubclass(cls, PrefectException)
    assert str(cls()) == ""
    assert str(pickle.loads(pickle.dumps(cls("text")))) == "text"


def test_damaged_result_tells_where_and_what_to_do() -> None:
    error = ResultCorrupt("data/x", "its length is 3, not 5")
    assert isinstance(error, ValueError)
    assert "'data/x' is damaged: its length is 3, not 5" in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_old_address_has_old_and_new_names() -> None:
    # R-REAL-2
    assert old_address.ClientError is exceptions.ClientError
    assert old_address.PrefectError is PrefectException
