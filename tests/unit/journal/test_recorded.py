import pytest

from tenuto._base.masking import register_secret
from tenuto.journal.recorded import is_recorded, is_secret_name, recorded_value, recorded_values


@pytest.mark.parametrize("value", [1, "a", None, [1, {"a": None}], {"a": 1}, 1.5, True])
def test_plain_values_are_recorded_as_they_are(value: object) -> None:
    assert recorded_value("n", value) == value
    assert is_recorded(recorded_value("n", value))


@pytest.mark.parametrize("value", [(1,), object(), {1: 2}, "x" * 20_000, float("nan"), {"$repr": 1}, b"a"])
def test_what_is_not_plain_is_told_by_its_repr(value: object) -> None:
    found = recorded_value("n", value)

    assert list(found) == ["$repr"]
    assert len(found["$repr"]) <= 200
    assert not is_recorded(found)


def test_secrets_are_not_recorded() -> None:  # S-18
    register_secret("hunter2-hunter2")
    register_secret(123456)

    for value in (
        "a hunter2-hunter2",
        ["hunter2-hunter2"],
        {"hunter2-hunter2": 1},
        123456,
        ("hunter2-hunter2",),
    ):
        found = recorded_value("n", value)
        assert not is_recorded(found)
        assert "hunter2" not in str(found)
        assert "123456" not in str(found)
    assert recorded_values({"hunter2-hunter2": 1}) == {"****": 1}


@pytest.mark.parametrize(
    "name",
    ["password", "db_password", "API_KEY", "apikey", "token", "auth-token", "secret", "secrets", "key"],
)
def test_values_of_names_like_secrets_are_not_recorded(name: str) -> None:  # S-18
    assert is_secret_name(name)
    assert recorded_value(name, "other-word") == {"$repr": "****"}
    assert recorded_value(name, None) is None


@pytest.mark.parametrize("name", ["n", "monkey", "tokens_per_line", "keyboard", "passwordless", "primary"])
def test_other_names_are_no_secrets(name: str) -> None:
    assert not is_secret_name(name)


def test_a_repr_that_fails_does_no_harm() -> None:
    class Bad:
        def __repr__(self) -> str:
            raise ValueError

    assert "ValueError in __repr__" in recorded_value("n", Bad())["$repr"]
