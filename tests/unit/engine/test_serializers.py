"""Serializers: values to bytes and back."""

import base64
import bz2
import enum
import json
import pickle
import subprocess
import sys
import zlib
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.engine.result.base import is_same
from tenuto.engine.serializers import (
    CompressedSerializer,
    DateTimeSerializer,
    JSONSerializer,
    PandasSerializer,
    PickleSerializer,
    PicklesRefused,
    Serializer,
)
from tenuto.utilities.configuration import set_temporary_config

FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


class Upper(Serializer):
    """A serializer of a user's own."""

    def serialize(self, value: Any) -> bytes:
        return str(value).upper().encode()

    def deserialize(self, value: bytes) -> Any:
        return value.decode().lower()


class Level(enum.Enum):
    HIGH = 2


def test_the_base_class_is_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Serializer()  # type: ignore[abstract]  # the point of the test
    assert Upper().deserialize(Upper().serialize("abc")) == "abc"


# R-SER-1
def test_serializers_of_one_class_are_equal() -> None:
    for cls in (PickleSerializer, JSONSerializer, DateTimeSerializer, Upper):
        assert cls() == cls()
        assert hash(cls()) == hash(cls())
    assert PickleSerializer() != JSONSerializer()
    assert JSONSerializer() != 5


# R-SER-1
def test_settings_count_for_equality_of_pandas_and_compressed() -> None:
    assert PandasSerializer("csv") == PandasSerializer("csv")
    assert PandasSerializer("csv") != PandasSerializer("json")
    assert PandasSerializer("csv") != PandasSerializer("csv", serialize_kwargs={"index": False})
    assert PandasSerializer("csv") != PandasSerializer("csv", deserialize_kwargs={"index_col": 0})
    assert CompressedSerializer(PickleSerializer(), "gzip") == CompressedSerializer(
        PickleSerializer(), "gzip"
    )
    assert CompressedSerializer(PickleSerializer(), "gzip") != CompressedSerializer(PickleSerializer(), "bz2")
    assert CompressedSerializer(PickleSerializer(), "gzip") != CompressedSerializer(JSONSerializer(), "gzip")
    assert CompressedSerializer(PickleSerializer(), "gzip") != CompressedSerializer(
        PickleSerializer(), "gzip", compress_kwargs={"compresslevel": 1}
    )
    assert hash(PandasSerializer("csv")) == hash(PandasSerializer("csv"))
    assert hash(CompressedSerializer(JSONSerializer(), "bz2")) == hash(
        CompressedSerializer(JSONSerializer(), "bz2")
    )


# R-SER-2
@pytest.mark.parametrize(
    "value",
    [
        FRAME,
        np.arange(6).reshape(2, 3),
        {"train": FRAME, "test": np.ones(2), "n": [1, (2, {3})]},
        FRAME["a"],
        datetime(2021, 1, 1, tzinfo=UTC),
        Level.HIGH,
        None,
        b"\0\1",
        {1: "int key", (1, 2): "tuple key"},
    ],
    ids=lambda value: type(value).__name__,
)
def test_pickles_round_trip(value: Any) -> None:
    serializer = PickleSerializer()
    assert is_same(serializer.deserialize(serializer.serialize(value)), value)


# R-SER-2
def test_functions_and_errors_round_trip_as_pickles() -> None:
    serializer = PickleSerializer()
    number = 3
    assert serializer.deserialize(serializer.serialize(lambda x: x + number))(4) == 7
    assert repr(serializer.deserialize(serializer.serialize(ValueError("bad")))) == "ValueError('bad')"


# R-SER-2
def test_what_a_script_defines_can_be_read_without_the_script(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from tenuto.engine.serializers import PickleSerializer\n"
        "class Model:\n"
        "    def __init__(self, n): self.n = n\n"
        "    def predict(self): return helper(self.n)\n"
        "def helper(n): return n + 1\n"
        "open(sys.argv[1], 'wb').write(PickleSerializer().serialize([Model(4), lambda x: helper(x)]))\n"
    )
    subprocess.run([sys.executable, str(script), str(tmp_path / "out")], check=True)
    model, function = PickleSerializer().deserialize((tmp_path / "out").read_bytes())
    assert (model.predict(), function(1)) == (5, 2)


def test_pickles_in_base64_are_read() -> None:
    assert PickleSerializer().deserialize(base64.b64encode(cloudpickle.dumps([1, 2]))) == [1, 2]
    assert PickleSerializer().deserialize(pickle.dumps({"a": 1}, protocol=0)) == {"a": 1}


@pytest.mark.parametrize("data", [b"no pickle", b"aaaa", pickle.dumps([1] * 100)[:-20]])
def test_damaged_pickles_raise_the_first_error(data: bytes) -> None:
    with pytest.raises((pickle.UnpicklingError, EOFError, KeyError, ValueError)) as first:
        pickle.loads(data)
    with pytest.raises(first.type, match=r"^" + str(first.value)[:20]):
        PickleSerializer().deserialize(data)
    with pytest.raises(EOFError):
        PickleSerializer().deserialize(b"")


# S-10
@pytest.mark.parametrize("policy", ["off", "signed"])
@pytest.mark.parametrize("serializer", [PickleSerializer(), PandasSerializer("pickle")], ids=repr)
def test_pickles_are_refused_where_the_setting_says_so(policy: str, serializer: Serializer) -> None:
    written = serializer.serialize(FRAME)
    with set_temporary_config({"results.pickle": policy}):
        with pytest.raises(PicklesRefused, match=r"results.pickle") as caught:
            serializer.deserialize(written)
        with pytest.raises(PicklesRefused, match="JSONSerializer"):
            serializer.serialize(FRAME)
        assert JSONSerializer().deserialize(JSONSerializer().serialize([1])) == [1]
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert is_same(serializer.deserialize(written), FRAME)


@given(json_values)
def test_json_round_trips(value: Any) -> None:
    serializer = JSONSerializer()
    assert serializer.deserialize(serializer.serialize(value)) == value
    assert serializer.serialize(value) == json.dumps(value).encode()


@pytest.mark.parametrize("value", [FRAME, {1, 2}, object(), b"x", datetime(2020, 1, 1, tzinfo=UTC)])
def test_json_refuses_other_values(value: Any) -> None:
    with pytest.raises(TypeError):
        JSONSerializer().serialize(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2020, 1, 1, tzinfo=UTC), "2020-01-01T00:00:00Z"),
        (datetime(2020, 1, 1), "2020-01-01T00:00:00Z"),  # noqa: DTZ001
        (datetime(2020, 1, 1, 5, 6, 7, 89, tzinfo=UTC), "2020-01-01T05:06:07.000089Z"),
        (datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=2))), "2020-01-01T00:00:00+02:00"),
    ],
)
def test_datetimes_are_written_as_iso_text(value: datetime, text: str) -> None:
    serializer = DateTimeSerializer()
    assert serializer.serialize(value) == text.encode()
    restored = serializer.deserialize(text.encode())
    assert restored == (value if value.tzinfo else value.replace(tzinfo=UTC))
    assert restored.tzinfo is not None


def test_datetimes_only_and_iso_text_only() -> None:
    with pytest.raises(TypeError, match="not str"):
        DateTimeSerializer().serialize("2020-01-01")
    with pytest.raises(ValueError, match="soon"):
        DateTimeSerializer().deserialize(b"soon")
    naive = DateTimeSerializer().deserialize(b"2020-01-01")
    assert naive == datetime(2020, 1, 1, tzinfo=UTC)


# R-SER-3
@pytest.mark.parametrize(
    ("file_type", "read", "write"),
    [
        ("csv", {"index_col": 0}, {}),
        ("csv", {}, {"index": False}),
        ("json", {}, {}),  # pandas writes it as text only
        ("pickle", {}, {}),
        ("parquet", {}, {}),
        ("feather", {}, {}),
    ],
)
def test_frames_round_trip(file_type: str, read: dict[str, Any], write: dict[str, Any]) -> None:
    serializer = PandasSerializer(file_type, deserialize_kwargs=read, serialize_kwargs=write)
    data = serializer.serialize(FRAME)
    assert type(data) is bytes
    assert is_same(serializer.deserialize(data), FRAME)


# R-SER-3
def test_an_unknown_file_type_fails_at_once() -> None:
    with pytest.raises(ValueError, match=r"^Could not find deserialization methods for zzz$"):
        PandasSerializer("zzz")
    with pytest.raises(ValueError, match=r"^Could not find serialization methods for fwf$"):
        PandasSerializer("fwf")  # pandas reads such files and does not write them
    assert PandasSerializer("clipboard").file_type == "clipboard"


# R-SER-3
def test_a_wrong_setting_is_the_error_that_shows() -> None:
    with pytest.raises(TypeError, match="nonsense"):
        PandasSerializer("csv", serialize_kwargs={"nonsense": 1}).serialize(FRAME)


# R-INV-5
def test_pandas_is_imported_only_when_it_is_used() -> None:
    code = (
        "import sys\n"
        "from tenuto.engine.serializers import PandasSerializer\n"
        "PandasSerializer('csv'); PandasSerializer('parquet')\n"
        "assert 'pandas' not in sys.modules and 'cloudpickle' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# R-INV-5
def test_missing_pandas_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        PandasSerializer("csv").deserialize(b"a\n1\n")


# R-SER-4
@pytest.mark.parametrize("module", ["gzip", "bz2", "lzma", "zlib"])
def test_compressed_values_round_trip(module: str) -> None:
    serializer = CompressedSerializer(PickleSerializer(), format=module)
    data = serializer.serialize([0] * 10_000)
    assert len(data) < 1000
    assert serializer.deserialize(data) == [0] * 10_000


# R-SER-4
def test_compressing_functions_and_their_keywords_are_used() -> None:
    serializer = CompressedSerializer(
        JSONSerializer(),
        compress=bz2.compress,
        decompress=bz2.decompress,
        compress_kwargs={"compresslevel": 1},
    )
    assert serializer.serialize([1]) == bz2.compress(b"[1]", compresslevel=1)
    raw = CompressedSerializer(JSONSerializer(), format="zlib", decompress_kwargs={"bufsize": 1})
    assert raw.deserialize(zlib.compress(b"[1]")) == [1]


# R-SER-4
def test_wrong_settings_of_compression_fail_at_once() -> None:
    inner = JSONSerializer()
    required = r"^You must specify either `format` or `compress`/`decompress`"
    with pytest.raises(ValueError, match=required + r"\.$"):
        CompressedSerializer(inner)
    with pytest.raises(ValueError, match=required + r"\.$"):
        CompressedSerializer(inner, compress=bz2.compress)
    with pytest.raises(ValueError, match=required + r", but not both\.$"):
        CompressedSerializer(inner, format="gzip", compress=bz2.compress, decompress=bz2.decompress)
    with pytest.raises(ImportError, match="gzip, bz2, lzma, zlib"):
        CompressedSerializer(inner, format="no_such_module")
    with pytest.raises(ValueError, match="'json' has no functions `compress` and `decompress`"):
        CompressedSerializer(inner, format="json")
