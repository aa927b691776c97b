# ruff: noqa: F401  # the imports are for the values that are made from their texts below
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import json
import os
import subprocess
import sys
import uuid
import zoneinfo
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto._base import digests as digests_module
from tenuto._base.digests import combine, digest, provenance
from tenuto.journal.values import inline
from tests.unit.journal.strategies import plain

UTC = datetime.UTC
PARIS = zoneinfo.ZoneInfo("Europe/Paris")


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Shade(enum.Enum):
    RED = 1


class Point(NamedTuple):
    x: int
    y: int


class Place(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass(frozen=True)
class Split:
    train: Any
    test: Any


@dataclasses.dataclass
class Other:
    train: Any
    test: Any


def series(*values: Any, **options: Any) -> Any:
    return pd.Series(list(values), **options)


# Each of these differs from each other one, and equals only itself made anew.
DISTINCT: list[str] = [
    "None",
    "1",
    "1.0",
    "True",
    "'1'",
    "b'1'",
    "bytearray(b'1')",
    "0",
    "0.0",
    "-0.0",
    "False",
    "''",
    "b''",
    "float('nan')",
    "float('inf')",
    "1j",
    "2**70",
    "-(2**70)",
    "2**3000",
    "'\\ud800'",
    "[]",
    "()",
    "{}",
    "set()",
    "frozenset()",
    "[1]",
    "(1,)",
    "{1}",
    "frozenset({1})",
    "[[1]]",
    "[(1,)]",
    "([1],)",
    "((1,),)",
    "[1, 2]",
    "[2, 1]",
    "(1, 2)",
    "(1.0, 2)",
    "['1', '2']",
    "['12']",
    "('1', '2')",
    "('12',)",
    "('1', ('2',))",
    "(('1',), '2')",
    "{'a': 1}",
    "{'a': 1.0}",
    "{'a': (1,)}",
    "{'a': [1]}",
    "{1: 'a'}",
    "{'1': 'a'}",
    "{'a': 1, 'b': (2,)}",
    "{'a': (2,), 'b': 1}",
    "collections.OrderedDict(a=1, b=2)",
    "collections.OrderedDict(b=2, a=1)",
    "collections.deque([1])",
    "collections.deque([1], maxlen=3)",
    "range(3)",
    "range(4)",
    "slice(1, 2)",
    "...",
    "datetime.date(2020, 1, 1)",
    "datetime.datetime(2020, 1, 1)",
    "datetime.datetime(2020, 1, 1, tzinfo=UTC)",
    "datetime.datetime(2020, 1, 1, tzinfo=PARIS)",
    "datetime.datetime(2020, 10, 25, 2, 30, tzinfo=PARIS)",
    "datetime.datetime(2020, 10, 25, 2, 30, tzinfo=PARIS, fold=1)",
    "datetime.time(1)",
    "datetime.time(1, tzinfo=UTC)",
    "datetime.timedelta(1)",
    "datetime.timedelta(0, 1)",
    "UTC",
    "PARIS",
    "decimal.Decimal('1')",
    "decimal.Decimal('1.0')",
    "fractions.Fraction(1, 3)",
    "uuid.UUID(int=1)",
    "PurePosixPath('a')",
    "PureWindowsPath('a')",
    "Colour.RED",
    "Colour.BLUE",
    "Shade.RED",
    "Point(1, 2)",
    "Place(1, 2)",
    "Split(1, 2)",
    "Split(1, (2,))",
    "Split((1,), 2)",
    "Other(1, 2)",
    "np.arange(3)",
    "np.arange(3.0)",
    "np.arange(3, dtype='i4')",
    "np.arange(3, dtype='u8')",
    "np.arange(3).reshape(1, 3)",
    "np.arange(3).reshape(3, 1)",
    "np.arange(3).astype(str)",
    "np.arange(3).astype('S')",
    "np.arange(3).astype(object)",
    "np.array([0, 1, '2'], dtype=object)",
    "np.array([0, 1, (2,)], dtype=object)",
    "np.array([], dtype=int)",
    "np.array([], dtype=float)",
    "np.zeros((0, 2))",
    "np.array([1.0, np.nan])",
    "np.array(['2020-01-01'], dtype='M8[ns]')",
    "np.array(['2020-01-01'], dtype='M8[D]')",
    "np.array([(1, 2.0)], dtype=[('a', 'i4'), ('b', 'f8')])",
    "np.array([(1, 2.0)], dtype=[('b', 'i4'), ('a', 'f8')])",
    "np.array(1)",
    "np.int64(1)",
    "np.int32(1)",
    "np.float64(1)",
    "np.bool_(True)",
    "np.str_('1')",
    "np.dtype('f8')",
    "np.dtype('f4')",
    "pd.DataFrame()",
    "pd.DataFrame({'a': [1, 2]})",
    "pd.DataFrame({'a': [1.0, 2.0]})",
    "pd.DataFrame({'a': ['1', '2']})",
    "pd.DataFrame({'a': ['1', None]})",
    "pd.DataFrame({'a': [1, 2]}, index=[1, 2])",
    "pd.DataFrame({'a': [1, 2]}, index=pd.Index([0, 1], name='i'))",
    "pd.DataFrame({'a': [1, 2]}, index=['0', '1'])",
    "pd.DataFrame({'b': [1, 2]})",
    "pd.DataFrame({'a': [2, 1]})",
    "pd.DataFrame({'a': [1, 2], 'b': [3, 4]})",
    "pd.DataFrame({'b': [3, 4], 'a': [1, 2]})",
    "pd.DataFrame({'a': [3, 4], 'b': [1, 2]})",
    "pd.DataFrame({'a': pd.Categorical(['x', 'y'])})",
    "pd.DataFrame({'a': pd.Categorical(['x', 'y'], categories=['y', 'x'])})",
    "pd.DataFrame({'a': pd.Categorical(['x', 'y'], ordered=True)})",
    "pd.DataFrame({'a': pd.array([1, None], dtype='Int64')})",
    "pd.DataFrame({'a': pd.date_range('2020', periods=2)})",
    "pd.DataFrame({'a': pd.date_range('2020', periods=2, tz='UTC')})",
    "pd.DataFrame({'a': pd.date_range('2020', periods=2, tz='Europe/Paris')})",
    "series(1, 2)",
    "series(1, 2, name='a')",
    "series(1, 2, index=[1, 0])",
    "series((1,), [2])",
    "pd.Index([1, 2])",
    "pd.Index([1, 2], name='a')",
    "pd.RangeIndex(1, 3)",
    "pd.MultiIndex.from_tuples([(1, 'a'), (2, 'b')])",
    "pd.MultiIndex.from_tuples([(1, 'a'), (2, 'b')], names=['n', None])",
    "pd.date_range('2020', periods=3)",
    "pd.date_range('2020', periods=3).to_period('D')",
    "pd.array([1, 2], dtype='Int64')",
    "pd.array([1, 2], dtype='Int32')",
    "pd.Timestamp('2020-01-01')",
    "pd.Timestamp('2020-01-01', tz='UTC')",
    "pd.Timedelta(1, 's')",
    "pd.Period('2020', 'Y')",
    "pd.Interval(0, 1)",
    "pd.NaT",
    "pd.NA",
]


def made(text: str) -> Any:
    return eval(text, globals())  # values by their own text, also in another process


@pytest.fixture(scope="module")
def known() -> dict[str, str | None]:
    return {text: digest(made(text)) for text in DISTINCT}


def test_every_known_type_has_a_digest(known: dict[str, str | None]) -> None:
    assert [text for text, found in known.items() if found is None] == []


def test_values_that_differ_have_different_digests(known: dict[str, str | None]) -> None:
    texts: dict[str | None, list[str]] = {}
    for text, found in known.items():
        texts.setdefault(found, []).append(text)

    assert [same for same in texts.values() if len(same) > 1] == []


def test_a_value_made_anew_has_the_same_digest(known: dict[str, str | None]) -> None:
    assert {text: digest(made(text)) for text in DISTINCT} == known


@pytest.mark.parametrize("seed", ["77"])
def test_digests_are_the_same_in_another_process(  # R-CACHE-9
    known: dict[str, str | None], seed: str
) -> None:
    program = (
        "import importlib.util, json, sys;"
        "spec = importlib.util.spec_from_file_location('others', sys.argv[1]);"
        "module = importlib.util.module_from_spec(spec);"
        "sys.modules['others'] = module;"
        "spec.loader.exec_module(module);"
        "print(json.dumps([module.digest(module.made(text)) for text in module.DISTINCT]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.getcwd()}

    output = subprocess.run(
        [sys.executable, "-c", program, __file__], env=environment, capture_output=True, text=True, check=True
    ).stdout

    # Classes of this file go by their module's name, which is another one there.
    own = ("Colour", "Shade", "Point", "Place", "Split", "Other")
    expected = [found for text, found in known.items() if not text.startswith(own)]
    pairs = zip(DISTINCT, json.loads(output), strict=True)
    assert [found for text, found in pairs if not text.startswith(own)] == expected


hashable = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=3),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
values = st.recursive(
    plain | hashable,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(hashable, inner, max_size=3)
        | st.sets(hashable, max_size=3)
    ),
    max_leaves=8,
)


def typed(value: Any) -> Any:
    """A form of a value in which == tells what the digest must tell apart."""
    if isinstance(value, list | tuple):
        return type(value).__name__, [typed(item) for item in value]
    if isinstance(value, dict):
        return "dict", sorted(((repr(typed(key)), typed(item)) for key, item in value.items()), key=repr)
    if isinstance(value, set | frozenset):
        return type(value).__name__, sorted(map(repr, map(typed, value)))
    return type(value).__name__, repr(value)


@given(values, values)
def test_digests_are_equal_exactly_for_equal_values(one: Any, other: Any) -> None:
    assert (digest(one) == digest(other)) == (typed(one) == typed(other))


@given(values)
def test_the_order_of_dicts_and_sets_does_not_count(value: Any) -> None:
    def turned(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: turned(item[key]) for key in reversed(item)}
        if isinstance(item, list | tuple):
            return type(item)(map(turned, item))
        if isinstance(item, set):
            backwards = list(item)[::-1]
            return set(backwards)
        return item

    assert digest(turned(value)) == digest(value)


@given(plain)
def test_the_digest_of_a_small_plain_value_is_the_sha256_of_its_reference(value: Any) -> None:
    ref = inline(value)

    assert ref is not None
    assert digest(value) == ref.sha256


def test_memory_layout_and_byte_order_do_not_count() -> None:
    array = np.arange(12.0).reshape(3, 4)

    assert digest(np.asfortranarray(array)) == digest(array)
    assert digest(np.repeat(array, 2, axis=1)[:, ::2]) == digest(array)
    assert digest(array.astype(">f8")) == digest(array)
    assert digest({"a": array}) == digest({"a": array.copy()})


def test_nans_are_equal_whatever_their_bits() -> None:
    other = np.array([0x7FF8000000000001], dtype="u8").view("f8")

    assert digest(other) == digest(np.array([np.nan]))
    assert digest((float("nan"),)) == digest((-float("nan"),))


def test_padding_between_fields_does_not_count() -> None:
    dtype = np.dtype([("a", "i1"), ("b", "f8")], align=True)
    one, other = np.zeros(2, dtype), np.zeros(2, dtype)
    other.view("u1").reshape(2, -1)[:, 1:8] = 7

    assert digest(one) == digest(other)


def test_where_a_frame_came_from_does_not_count() -> None:
    frame = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", None]})

    assert digest(pd.concat([frame[:1], frame[1:]])) == digest(frame.set_index(pd.Index([0, 1, 2])))
    assert digest(frame.copy()) == digest(frame)
    assert digest(frame[["a", "b"]]) == digest(frame)


class Unknown:
    pass


class Broken:
    __module__ = "numpy.broken"

    @property
    def dtype(self) -> object:
        raise RuntimeError


class Text(str):
    pass


@dataclasses.dataclass
class WithMore:
    a: int

    def __post_init__(self) -> None:
        self.more = 1


@pytest.mark.parametrize(
    "value",
    [
        Unknown(),
        [Unknown()],
        {"a": Unknown()},
        {Unknown(): 1},
        Broken(),
        Text("a"),
        WithMore(1),
        lambda: 1,
        int,
        np.ma.masked_array([1], mask=[True]),
        np.array([Unknown()], dtype=object),
        pd.DataFrame({"a": [Unknown()]}),
        collections.defaultdict(int),
    ],
)
def test_what_is_not_known_has_no_digest(value: object) -> None:
    assert digest(value) is None


def test_circular_and_very_deep_values_have_no_digest() -> None:
    circular: list[Any] = [()]
    circular.append(circular)
    deep: Any = ()
    for _ in range(5000):
        deep = (deep,)

    assert digest(circular) is None
    assert digest(deep) is None


def test_values_over_the_limit_have_no_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests_module, "BYTES_MAX", 1000)

    assert digest("a" * 990) is not None
    assert digest("a" * 1000) is None
    assert digest(b"a" * 1000) is None
    assert digest(np.zeros(1000)) is None
    assert digest(tuple(range(1000))) is None
    assert digest(pd.DataFrame({"a": range(1000)})) is None


# Provenance


def test_provenance_is_marked_and_depends_on_code_and_inputs() -> None:
    one = provenance("code", {"x": "1", "y": "2"})

    assert one.startswith("p:")
    assert one == provenance("code", {"y": "2", "x": "1"})
    others = [
        provenance("other", {"x": "1", "y": "2"}),
        provenance("code", {"x": "2", "y": "1"}),
        provenance("code", {"x": "1"}),
        provenance("code", {"x\0001": "", "y": "2"}),
        provenance("code", {}),
    ]
    assert len({one, *others}) == 6


def test_combining_keeps_order_and_the_mark() -> None:
    assert combine(["a", "b"]) != combine(["b", "a"])
    assert combine(["ab"]) != combine(["a", "b"])
    assert combine([]) == combine([])
    assert not combine(["a", "b"]).startswith("p:")
    assert combine(["a", "p:b"]).startswith("p:")
