import io
import json
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.cli.errors import Foreseen
from tenuto.cli.inputs import assignments, parameter_file, value_of


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("0.3", 0.3),
        ("true", True),
        ("null", None),
        ('"5"', "5"),
        ('{"a": [1, 2]}', {"a": [1, 2]}),
        ("you", "you"),
        ("[1,x", "[1,x"),
        ("", ""),
        ("True", "True"),
        ("a=b=c", "a=b=c"),
        ("it's", "it's"),
        ("\udcff", "\udcff"),
    ],
)
def test_values_are_json_where_they_can_be_and_text_elsewhere(text: str, value: object) -> None:  # R-CRUN-2
    assert assignments([f"n={text}"], "--param") == {"n": value}


@given(st.text().filter(lambda text: '"' not in text))
def test_text_without_a_double_quote_is_never_refused(text: str) -> None:  # R-CRUN-2
    value = value_of("n", text, "--param")
    assert value == text or json.loads(text) == value or value != value


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)
    )
)
def test_every_json_value_comes_through(value: Any) -> None:  # R-CRUN-2
    assert value_of("n", json.dumps(value), "--param") == value


def test_broken_json_is_shown_indented_with_what_is_wrong() -> None:  # R-CLI-22
    with pytest.raises(Foreseen) as caught:
        assignments(['n={"a": 1'], "--param")
    assert caught.value.message == "The value of --param n is not JSON:"
    shown, reason = caught.value.remedies
    assert shown == '    {"a": 1'
    assert reason.startswith("Expecting ',' delimiter: line 1 column 8")


def test_json_too_deep_to_read_is_refused() -> None:
    with pytest.raises(Foreseen) as caught:
        assignments(["n=" + "[" * 100_000], "--param")
    assert "nested too deeply" in caught.value.remedies[1]


def test_names_may_contain_spaces_and_the_last_of_a_name_counts() -> None:  # R-CLI-22
    assert assignments(["a b=1", "a b=2", "c=x y"], "--param") == {"a b": 2, "c": "x y"}


@pytest.mark.parametrize("text", ["n", "=5", " =5", ""])
def test_what_is_no_assignment_is_wrong_usage(text: str) -> None:
    with pytest.raises(click.BadParameter, match="not of the form NAME=VALUE"):
        assignments([text], "--param")


# ----------------------------------------------------------------------------------------------------- files


def test_a_parameter_file_is_a_json_object(tmp_path: Path) -> None:  # R-CRUN-2, R-CLI-23
    path = tmp_path / "params.json"
    path.write_bytes('\ufeff{"ratio": 0.3, "naïve": [1]}'.encode())
    assert parameter_file(str(path)) == {"ratio": 0.3, "naïve": [1]}


def test_a_parameter_file_may_be_toml(tmp_path: Path) -> None:  # R-CLI-23
    path = tmp_path / "params.TOML"
    path.write_text('ratio = 0.3\n[model]\nname = "x"\n')
    assert parameter_file(str(path)) == {"ratio": 0.3, "model": {"name": "x"}}


def test_a_dash_reads_stdin(monkeypatch: pytest.MonkeyPatch) -> None:  # R-CLI-23
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"n": 1}'))
    assert parameter_file("-") == {"n": 1}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b"{", "is not JSON: Expecting property name"),
        ("a.json", b"[1]", "does not hold a JSON object but a list"),
        ("a.json", b'"x"', "does not hold a JSON object but a text"),
        ("a.json", b"null", "does not hold a JSON object but null"),
        ("a.json", b"true", "does not hold a JSON object but true or false"),
        ("a.json", b"", "is not JSON"),
        ("a.json", b"[" * 100_000, "is not JSON"),
        ("a.json", b"\xff\xfe{}", "is not UTF-8 text"),
        ("a.toml", b"n = ", "is not TOML"),
        ("a.yaml", b"n: 1", "is YAML, which is not read here"),
    ],
)
def test_a_malformed_parameter_file_is_named_with_what_is_wrong(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:  # R-CLI-23
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(Foreseen) as caught:
        parameter_file(str(path))
    assert message in caught.value.message
    assert repr(str(path)) in caught.value.message
    assert caught.value.remedies


def test_a_missing_parameter_file_is_named_by_its_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # R-CLI-23
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Foreseen) as caught:
        parameter_file("no.json")
    assert caught.value.message == f"Parameter file does not exist: {str(tmp_path / 'no.json')!r}"


def test_a_folder_is_no_parameter_file(tmp_path: Path) -> None:
    with pytest.raises(Foreseen, match="cannot be read: .*: Is a directory"):
        parameter_file(str(tmp_path))
