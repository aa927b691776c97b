"""The safe formatter: what templates can say, and what they cannot."""

import enum
import pickle
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto._base.templates import OUTPUT_BYTES_MAX, TemplateError, field_names, fill

DATE = datetime(2021, 12, 21, 16, 26, 44, 605869, tzinfo=UTC)
ID = UUID("12345678-1234-5678-1234-567812345678")


class Treacherous:
    """Stands for any object with something to give away."""

    secret = "hunter2"

    def __str__(self) -> str:
        return self.secret

    def __format__(self, spec: str) -> str:
        return self.secret


class TreacherousText(str):
    def __str__(self) -> str:
        return "hunter2"

    def __format__(self, spec: str) -> str:
        return "hunter2"


class TreacherousNumber(int):
    def __str__(self) -> str:
        return "hunter2"

    def __format__(self, spec: str) -> str:
        return "hunter2"


class Colour(enum.StrEnum):
    RED = "red"


VALUES: dict[str, Any] = {
    "x": "text",
    "date": DATE,
    "day": date(2021, 12, 21),
    "n": 7,
    "ratio": 0.25,
    "flag": True,
    "flow_run_id": ID,
    "parameters": {"env": "prod", "a": {"b": "deep"}, "n": 3, "a.b": "dotted"},
    "map_index": None,
    "task_name": "get_classes",
    "colour": Colour.RED,
    "thing": Treacherous(),
    "config": {"secrets": {"KEY": "hunter2"}},
    "items": ["hunter2"],
    "run": len,
}


# S-12, R-RES-9
@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        ("{x}", "text"),
        ("{date:%a_%b_%d_%Y_%H:%M:%S}/{task_name}_output", "Tue_Dec_21_2021_16:26:44/get_classes_output"),
        ("{date:%Y-%m-%d}", "2021-12-21"),
        ("{date:%Y/%m}/{day:%d}", "2021/12/21"),
        ("{date}", "2021-12-21 16:26:44.605869+00:00"),
        ("{day}", "2021-12-21"),
        ("{parameters[env]}-{parameters[n]:03}", "prod-003"),
        ("{parameters[a.b]}", "dotted"),
        ("{flow_run_id:.8}", "12345678"),
        ("{flow_run_id}", str(ID)),
        ("{n:05d}|{n:>3}|{ratio:.1%}|{flag}", "00007|  7|25.0%|True"),
        ("{map_index}", "None"),
        ("{colour}", "red"),
        ("{{literally}} {x}", "{literally} text"),
        ("{x}" * 3, "texttexttext"),
        ("größe-{x}", "größe-text"),
    ],
)
@pytest.mark.parametrize("as_path", [True, False])
def test_fields_are_filled(template: str, text: str, as_path: bool) -> None:
    assert fill(template, VALUES, as_path=as_path) == text


# S-12
@pytest.mark.parametrize(
    "template",
    [
        "{x.__class__}",
        "{x.__class__.__mro__}",
        "{thing.secret}",
        "{x[0]}",
        "{x[__class__]}",
        "{config[secrets]}",
        "{items[0]}",
        "{parameters[a][b]}",
        "{parameters[a].keys}",
        "{parameters.keys}",
        "{parameters[]}",
        "{x!r}",
        "{x!s}",
        "{x!a}",
        "{thing!r}",
        "{0}",
        "{}",
        "{0.__class__}",
        "{ x }",
        "{x y}",
        "{x-y}",
        "{date:{x}}",
        "{date:{date}}",
        "{n:{n}}",
        "{x:{{}}}",
        "{n:1000000000}",
        "{n:99999999999999999999d}",
        "{ratio:.999999999f}",
        "{x:>5000}",
        "{date:%5000Y}",
        "{x:" + "a" * 300 + "}",
        "{n:4096}{n:4096}",
        "{x",
        "x}",
        "{x}}",
        "{{x}",
        "{thing}",
        "{config}",
        "{items}",
        "{run}",
        "{parameters}",
        "{parameters[a]}",
        "{map_index:>5}",
        "{x:d}",
        "{n:%Y}",
        "{flow_run_id:d}",
    ],
)
@pytest.mark.parametrize("as_path", [True, False])
def test_everything_else_is_refused(template: str, as_path: bool) -> None:
    with pytest.raises(TemplateError) as caught:
        fill(template, VALUES, as_path=as_path)
    assert "hunter2" not in str(caught.value)
    assert isinstance(caught.value, ValueError)


# S-12
@pytest.mark.parametrize(
    "value",
    [
        Treacherous(),
        {"a": 1},
        [1],
        (1,),
        b"bytes",
        1j,
        object,
        len,
        timedelta(1),
        np.arange(2),
        pd.DataFrame(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_plain_values_fill_a_template(value: Any) -> None:
    with pytest.raises(TemplateError, match="Only text, numbers, booleans, dates and UUIDs"):
        fill("{v}", {"v": value}, as_path=False)


# S-12
def test_the_formatting_of_subclasses_is_not_asked() -> None:
    values = {"text": TreacherousText("honest"), "number": TreacherousNumber(5)}
    assert fill("{text}/{text:>8}/{number}/{number:02d}", values, as_path=True) == "honest/  honest/5/05"


def test_values_of_numpy_and_pandas_that_are_plain_types_serve() -> None:
    values = {"share": np.float64(0.5), "name": np.str_("a"), "at": pd.Timestamp("2021-12-21T16:26:44Z")}
    assert fill("{share}-{name}-{at:%Y%m%d}", values, as_path=True) == "0.5-a-20211221"


# R-RES-5
@pytest.mark.parametrize(("template", "key"), [("{nokey}", "nokey"), ("{parameters[nokey]}", "nokey")])
def test_a_missing_value_is_a_key_error(template: str, key: str) -> None:
    with pytest.raises(KeyError) as caught:
        fill(template, VALUES, as_path=True)
    assert repr(caught.value) == f"KeyError('{key}')"


def test_parameters_must_be_a_mapping_to_be_indexed() -> None:
    with pytest.raises(TemplateError, match="not a mapping"):
        fill("{parameters[a]}", {"parameters": "text"}, as_path=False)


# S-12: output of at most 4 KB
def test_output_is_bounded() -> None:
    assert len(fill("{v}", {"v": "a" * OUTPUT_BYTES_MAX}, as_path=False)) == OUTPUT_BYTES_MAX
    for template, value in [
        ("{v}", "a" * (OUTPUT_BYTES_MAX + 1)),
        ("{v}", "ä" * OUTPUT_BYTES_MAX),
        ("{v}{v}", "a" * 3000),
        ("a" * 5000, ""),
        ("{v}", 10**5000),
        ("{v:.5}", "a" * 10_000 + "b"),
    ]:
        if template == "{v:.5}":
            assert fill(template, {"v": value}, as_path=False) == "aaaaa"
            continue
        with pytest.raises(TemplateError):
            fill(template, {"v": value}, as_path=False)


# S-12: values in paths
@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a/b", "a%2Fb"),
        ("/etc/passwd", "%2Fetc%2Fpasswd"),
        ("..", "%2E%2E"),
        ("../x", "%2E%2E%2Fx"),
        ("a..b", "a%2E%2Eb"),
        ("...", "%2E%2E."),
        ("....", "%2E%2E%2E%2E"),
        ("..\\x", "%2E%2E%5Cx"),
        ("nul\0byte", "nul%00byte"),
        ("%2F", "%252F"),
        ("%2e%2e", "%252e%252e"),
        ("50%", "50%"),
        ("%41", "%41"),
        ("a.csv", "a.csv"),
        (".hidden", ".hidden"),
        ("ünï", "ünï"),
        ("／", "／"),  # full-width: one character of a name, as file systems see it
    ],
)
def test_separators_inside_a_value_are_escaped_in_paths(value: str, written: str) -> None:
    assert fill("dir/{v}", {"v": value}, as_path=True) == f"dir/{written}"
    assert fill("dir/{v}", {"v": value}, as_path=False) == f"dir/{value}"


# S-12
def test_dots_of_several_fields_do_not_climb_together() -> None:
    values = {"a": ".", "b": ".", "none": ""}
    assert fill("x/{a}{b}/y", values, as_path=True) == "x/%2E%2E/y"
    assert fill("x/.{a}/y", values, as_path=True) == "x/%2E%2E/y"
    assert fill("{a}./y", values, as_path=True) == "%2E%2E/y"
    assert fill("../{a}x", values, as_path=True) == "../.x"  # these dots are the template's own


# S-12
def test_an_empty_value_does_not_make_a_path_absolute() -> None:
    with pytest.raises(TemplateError, match="start at the root"):
        fill("{v}/x", {"v": ""}, as_path=True)
    assert fill("a{v}/x", {"v": ""}, as_path=True) == "a/x"
    assert fill("/abs/{v}", {"v": "x"}, as_path=True) == "/abs/x"


@given(st.text(max_size=30))
def test_no_value_leaves_its_place_in_a_path(value: str) -> None:
    text = fill("a/b{v}c/d", {"v": value}, as_path=True)
    first, middle, last = text.split("/")
    assert (first, last) == ("a", "d")
    assert ".." not in middle
    assert "\\" not in middle
    assert "\0" not in middle


@given(st.text(alphabet="ab./\\%25EF\0", max_size=12), st.text(alphabet="ab./\\%25EF\0", max_size=12))
def test_different_values_give_different_names(one: str, other: str) -> None:
    names = {fill("x{v}x", {"v": value}, as_path=True) for value in (one, other)}
    assert len(names) == len({one, other})


@given(st.text(alphabet="{}[]!:.x0 n", max_size=10))
def test_no_template_does_more_than_fill_in_names(template: str) -> None:
    try:
        text = fill(template, {"x": "1", "n": "2", "xn": "3", "nx": "4"}, as_path=False)
    except (TemplateError, KeyError):
        return
    assert len(text) <= OUTPUT_BYTES_MAX


def test_the_names_that_a_template_uses_can_be_asked_for() -> None:
    assert field_names("{date:%Y}/{parameters[env]}-{x}{x}") == {"date", "parameters", "x"}
    assert field_names("plain") == frozenset()
    for template in ("{x.y}", "{x[0]}", "{", "{x!r}"):
        with pytest.raises(TemplateError):
            field_names(template)


def test_errors_say_what_is_wrong_and_pickle() -> None:
    with pytest.raises(TemplateError, match=re.escape("only `parameters` takes an index")) as caught:
        fill("{x[0]}", VALUES, as_path=True)
    restored = pickle.loads(pickle.dumps(caught.value))
    assert str(restored) == str(caught.value)
    assert (restored.template, restored.problem) == (caught.value.template, caught.value.problem)
