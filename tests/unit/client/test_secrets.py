"""Secrets are read at run time from the context, and hidden from then on."""

from collections.abc import Iterator

import pytest

import tenuto
from tenuto._base import masking
from tenuto._base.masking import mask
from tenuto.client import Secret
from tenuto.configuration import Config
from tenuto.utilities.configuration import set_temporary_config


@pytest.fixture(autouse=True)
def nothing_registered() -> Iterator[None]:
    masking.forget_secrets()
    yield
    masking.forget_secrets()


def test_secret_comes_from_the_context_by_its_exact_name() -> None:
    # R-SEC-1
    with tenuto.context(secrets={"Name": "value"}):
        assert Secret("Name").get() == "value"
        assert Secret("Name").exists()
        assert not Secret("NAME").exists()
        with pytest.raises(ValueError, match="NAME"):
            Secret("NAME").get()
    assert not Secret("Name").exists()


def test_missing_secret_is_named() -> None:
    # R-SEC-2
    with pytest.raises(ValueError, match=r'^Local Secret "ABSENT" was not found\.$'):
        Secret("ABSENT").get()
    with (
        set_temporary_config({"cloud.use_local_secrets": False}),
        pytest.raises(ValueError, match="TENUTO__CONTEXT__SECRETS__ABSENT"),
    ):
        Secret("ABSENT").get()


def test_json_is_parsed_and_other_text_is_not() -> None:
    # R-SEC-3
    values = {"n": "42", "o": '{"a": [1]}', "t": "just text", "b": "[1, x", "typed": 5}
    with tenuto.context(secrets=values):
        assert {name: Secret(name).get() for name in values} == {
            "n": 42,
            "o": {"a": [1]},
            "t": "just text",
            "b": "[1, x",
            "typed": 5,
        }


def test_objects_are_plain_dictionaries_of_their_own() -> None:
    # R-SEC-3, recommendation
    kept = Config(a={"b": 1})
    with tenuto.context(secrets={"X": kept}):
        value = Secret("X").get()
        assert type(value) is dict
        assert type(value["a"]) is dict
        value["a"]["b"] = 2
        assert Secret("X").get() == {"a": {"b": 1}}


def test_value_is_hidden_from_then_on() -> None:
    # S-18 (reliability 5)
    with tenuto.context(secrets={"X": '{"token": "canary-token"}', "Y": "other-canary"}):
        assert mask("other-canary") == "other-canary"
        Secret("X").get()
        Secret("Y").get()
        assert mask("canary-token other-canary") == "**** ****"
        assert "canary" not in repr(Secret("Y"))


def test_secret_is_not_read_while_a_flow_is_built() -> None:
    # R-SEC-4
    from tenuto import Flow

    with tenuto.context(secrets={"X": "value"}):
        with Flow("building"), pytest.raises(ValueError, match="run time"):
            Secret("X").get()
        with tenuto.context(flow="a value of the user's own"):
            assert Secret("X").get() == "value"
