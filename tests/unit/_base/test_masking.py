"""Registered secrets do not get into texts, in any form in which they would be written."""

import base64
import json
import urllib.parse
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto._base import masking
from tenuto._base.masking import mask, register_secret


@pytest.fixture(autouse=True)
def nothing_registered() -> Iterator[None]:
    masking.forget_secrets()
    yield
    masking.forget_secrets()


def test_nothing_is_masked_when_nothing_is_registered() -> None:
    text = "password=hunter2"
    assert mask(text) is text


def test_plain_and_encoded_forms_are_masked() -> None:
    # S-18 (reliability 5)
    secret = 'hunter "2"/ü\n?'
    register_secret(secret)
    forms = [
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
        urllib.parse.quote(secret),
        urllib.parse.quote_plus(secret),
        urllib.parse.quote(secret, safe=""),
    ]
    for form in forms:
        assert mask(f"<{form}>") == "<****>"


@given(st.binary(max_size=7), st.binary(max_size=7))
def test_base64_of_a_text_around_a_secret_is_masked(before: bytes, after: bytes) -> None:
    # S-18: the secret inside a longer encoded text, at each of the three alignments
    register_secret("correct horse battery")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(before + b"correct horse battery" + after).decode()
        shown = mask(text)
        assert "****" in shown
        # 21 bytes are 28 characters, of which one at most also holds bits of a neighbour.
        assert len(text) - len(shown) + len("****") >= 27


def test_lines_of_a_long_secret_are_masked_one_by_one() -> None:
    # S-18: split lines
    register_secret("-----BEGIN KEY-----\nMIIEvQIBADANBg\n{\n-----END KEY-----\n")
    assert mask("read MIIEvQIBADANBg and {") == "read **** and {"


def test_values_inside_containers_are_masked_and_keys_are_not() -> None:
    register_secret({"ACCESS_KEY": "AKIA-canary", "more": [b"bytes-canary", 123456, True, None]})
    assert (
        mask("ACCESS_KEY=AKIA-canary bytes-canary 123456 True None") == "ACCESS_KEY=**** **** **** True None"
    )


def test_short_values_are_not_registered() -> None:
    for value in ("abc", "   a   ", 12, "", None, True):
        register_secret(value)
    assert mask("abc 12 a True") == "abc 12 a True"


def test_secret_inside_a_longer_secret_is_replaced_with_it() -> None:
    register_secret("pass")
    register_secret("password-long")
    assert mask("password-long pass") == "**** ****"


def test_registering_again_changes_nothing() -> None:
    register_secret("hunter22")
    pattern = masking._pattern
    register_secret("hunter22")
    assert masking._pattern is pattern
