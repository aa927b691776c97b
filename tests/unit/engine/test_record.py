import pytest

from tenuto.engine import state as states
from tenuto.engine.record import state_name
from tenuto.engine.state import ClientFailed, Failed, Finished, Pending, Retrying, State, Success


class Bored(Success):
    """A user's own."""


class VeryBored(Bored):
    """A user's own of a user's own."""


class Failing(Failed):
    """Named like nothing that is known."""


Failing.__name__ = "Success"


class Odd(State):
    """Of no kind that is known."""


@pytest.mark.parametrize(
    ("state", "name"),
    [
        (Success(), "Success"),
        (Retrying(), "Retrying"),
        (Bored(), "Success"),
        (VeryBored(), "Success"),
        (Failing(), "Failed"),
        (ClientFailed(state=Pending()), "Failed"),
        (Finished(), "Failed"),
        (Odd(), "Failed"),
    ],
    ids=repr,
)
def test_records_name_the_nearest_class_that_every_reader_knows(state: State, name: str) -> None:
    assert state_name(state) == name


def test_all_states_that_may_be_stored_keep_their_names() -> None:
    names = set(states.__all__) - {"ClientFailed", "Finished", "State", "state_class"}
    assert {state_name(getattr(states, name)()) for name in names} == names
