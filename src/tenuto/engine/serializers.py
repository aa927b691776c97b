"""
Serializers: a value to bytes and back.

The bytes are all that is stored: no header is added, so that other tools can read what is written.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from tenuto.configuration import config
from tenuto.exceptions import PrefectException

__all__ = [
    "AutoSerializer",
    "CompressedSerializer",
    "DateTimeSerializer",
    "JSONSerializer",
    "PandasSerializer",
    "PickleSerializer",
    "PicklesRefused",
    "Serializer",
]

T = TypeVar("T")

# The types that pandas both reads and writes, known without importing it; others are looked up there.
_PANDAS_TYPES = frozenset(
    {"csv", "excel", "feather", "hdf", "html", "json", "orc", "parquet", "pickle", "stata", "xml"}
)
_COMPRESSIONS = ("gzip", "bz2", "lzma", "zlib")


class PicklesRefused(PrefectException, ValueError):
    """The setting `results.pickle` does not allow a pickle to be made or read; `policy` is its value."""

    def __init__(self, policy: str) -> None:
        self.policy = policy
        super().__init__(
            f"Pickles are refused here: the setting results.pickle is {policy!r}. Give the result another "
            "serializer, such as JSONSerializer or PandasSerializer, or set results.pickle to 'own'."
        )

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return type(self), (self.policy,)


class Serializer(ABC):
    """Turns values into bytes and back. Subclasses of the same class are equal unless they say otherwise."""

    __slots__ = ()

    @abstractmethod
    def serialize(self, value: Any) -> bytes:
        """Return the value as bytes."""

    @abstractmethod
    def deserialize(self, value: bytes) -> Any:
        """Return the value that the bytes stand for."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


class PickleSerializer(Serializer):
    """
    Pickles by cloudpickle: data frames, arrays, functions, and what a script defines itself.

    Reading a pickle runs code: read only what you or your flows have written. With the setting
    `results.pickle` at anything but `own`, nothing is pickled or unpickled.
    """

    __slots__ = ()

    def serialize(self, value: Any) -> bytes:
        """Return the pickled value."""
        _check_pickles_allowed()
        import cloudpickle

        return bytes(cloudpickle.dumps(value))

    def deserialize(self, value: bytes) -> Any:
        """Return the unpickled value; a pickle wrapped in base64 is unwrapped."""
        _check_pickles_allowed()
        import pickle

        try:
            return pickle.loads(value)
        except Exception as error:
            # Damaged pickles raise nearly anything. An older way of storing them was base64; when it is not
            # that either, the first error is the one that tells something.
            unwrapped = _from_base64(value)
            if unwrapped is None:
                raise
            try:
                return pickle.loads(unwrapped)
            except Exception:  # noqa: BLE001
                # Bytes that merely look like base64.
                raise error from None


class JSONSerializer(Serializer):
    """Writes JSON. Values that JSON cannot represent raise TypeError."""

    __slots__ = ()

    def serialize(self, value: Any) -> bytes:
        """Return the value as JSON text in UTF-8."""
        return json.dumps(value).encode()

    def deserialize(self, value: bytes) -> Any:
        """Return the value of a JSON text."""
        return json.loads(value)


class DateTimeSerializer(Serializer):
    """Writes date-times as ISO 8601 text."""

    __slots__ = ()

    def serialize(self, value: Any) -> bytes:
        """
        Return a datetime as text, UTC as `Z`; one without a zone is taken as UTC.

        Raises:
            TypeError: for anything but a datetime.
        """
        if not isinstance(value, datetime):
            raise TypeError(f"DateTimeSerializer writes datetimes, not {type(value).__name__}.")
        aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        text = aware.isoformat()
        return (text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text).encode()

    def deserialize(self, value: bytes) -> datetime:
        """Return the aware datetime of an ISO 8601 text."""
        parsed = datetime.fromisoformat(value.decode())
        return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)


class PandasSerializer(Serializer):
    """
    Writes a DataFrame by its `to_TYPE` method and reads it by `pandas.read_TYPE`.

    Args:
        file_type: `csv`, `parquet`, `json`, `pickle`, … .
        deserialize_kwargs: keywords of the reading function.
        serialize_kwargs: keywords of the writing method.

    Raises:
        ValueError: if pandas does not read or does not write that type.
    """

    def __init__(
        self,
        file_type: str,
        deserialize_kwargs: dict[str, Any] | None = None,
        serialize_kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.file_type = file_type
        self.deserialize_kwargs = dict(deserialize_kwargs or {})
        self.serialize_kwargs = dict(serialize_kwargs or {})
        if file_type not in _PANDAS_TYPES:
            pandas = _import_pandas()
            if not hasattr(pandas, f"read_{file_type}"):
                raise ValueError(f"Could not find deserialization methods for {file_type}")
            if not hasattr(pandas.DataFrame, f"to_{file_type}"):
                raise ValueError(f"Could not find serialization methods for {file_type}")

    def serialize(self, value: Any) -> bytes:
        """Return the frame as bytes of the file type."""
        if self.file_type == "pickle":
            _check_pickles_allowed()
        write = getattr(value, f"to_{self.file_type}")

        def write_to(buffer: io.BytesIO | io.StringIO) -> bytes:
            write(buffer, **self.serialize_kwargs)
            written = buffer.getvalue()
            return written if isinstance(written, bytes) else written.encode()

        return _as_bytes_or_text(write_to, io.BytesIO, io.StringIO)

    def deserialize(self, value: bytes) -> Any:
        """Return the frame that the bytes stand for."""
        if self.file_type == "pickle":
            _check_pickles_allowed()
        read = getattr(_import_pandas(), f"read_{self.file_type}")
        return _as_bytes_or_text(
            lambda buffer: read(buffer, **self.deserialize_kwargs),
            lambda: io.BytesIO(value),
            lambda: io.StringIO(value.decode()),
        )

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), self.file_type))


class AutoSerializer(Serializer):
    """
    Chooses by the value: Parquet for frames, npy for arrays, JSON for plain values, else pickle.

    The first bytes say on reading which it was. Frames that Parquet cannot hold unchanged, arrays of objects,
    and subclasses of all these are pickled. `serializer="auto"` of a result means this one.
    """

    __slots__ = ()

    def serialize(self, value: Any) -> bytes:
        """Return the value as bytes of the form that fits it."""
        # A value of a library can only be met where that library is loaded.
        pandas, numpy = sys.modules.get("pandas"), sys.modules.get("numpy")
        if pandas is not None and type(value) is pandas.DataFrame:
            written = _as_parquet(value)
            if written is not None:
                return written
        elif numpy is not None and type(value) is numpy.ndarray and not value.dtype.hasobject:
            buffer = io.BytesIO()
            numpy.save(buffer, value, allow_pickle=False)
            return buffer.getvalue()
        elif _is_plain(value):
            try:
                return json.dumps(value).encode()
            except (RecursionError, ValueError):
                pass  # too deep, or a cycle: a matter for pickle
        return PickleSerializer().serialize(value)

    def deserialize(self, value: bytes) -> Any:
        """Return the value that the bytes stand for."""
        if value.startswith(b"PAR1"):
            return PandasSerializer("parquet").deserialize(value)
        if value.startswith(b"\x93NUMPY"):
            import numpy

            return numpy.load(io.BytesIO(value), allow_pickle=False)
        # Every pickle of ours begins so, and no text in UTF-8 does.
        if value.startswith(b"\x80"):
            return PickleSerializer().deserialize(value)
        return json.loads(value)


class CompressedSerializer(Serializer):
    """
    Compresses what another serializer writes.

    Args:
        serializer: of the value.
        format: name of a module with `compress` and `decompress`: `gzip`, `bz2`, `lzma`, `zlib`.
        compress: instead of `format`: function bytes -> bytes.
        decompress: its inverse.
        compress_kwargs: keywords of `compress`.
        decompress_kwargs: keywords of `decompress`.

    Raises:
        ValueError: if neither or both ways are given, or the module has no such functions.
        ImportError: if there is no such module.
    """

    def __init__(
        self,
        serializer: Serializer,
        format: str | None = None,
        compress: Callable[..., bytes] | None = None,
        decompress: Callable[..., bytes] | None = None,
        compress_kwargs: dict[str, Any] | None = None,
        decompress_kwargs: dict[str, Any] | None = None,
    ) -> None:
        required = "You must specify either `format` or `compress`/`decompress`"
        if format is not None:
            if compress is not None or decompress is not None:
                raise ValueError(f"{required}, but not both.")
            compress, decompress = _compression(format)
        if compress is None or decompress is None:
            raise ValueError(f"{required}.")
        self.serializer = serializer
        self.compress = compress
        self.decompress = decompress
        self.compress_kwargs = dict(compress_kwargs or {})
        self.decompress_kwargs = dict(decompress_kwargs or {})

    def serialize(self, value: Any) -> bytes:
        """Return the compressed bytes of the value."""
        return self.compress(self.serializer.serialize(value), **self.compress_kwargs)

    def deserialize(self, value: bytes) -> Any:
        """Return the value that the compressed bytes stand for."""
        return self.serializer.deserialize(self.decompress(value, **self.decompress_kwargs))

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), self.serializer))


def _as_parquet(frame: Any) -> bytes | None:
    """Return a frame as Parquet; None where reading that would not give the same frame."""
    if importlib.util.find_spec("pyarrow") is None:
        return None
    import pyarrow

    serializer = PandasSerializer("parquet")
    try:
        written = serializer.serialize(frame)
        frame_read = serializer.deserialize(written)
    except (pyarrow.ArrowException, TypeError, ValueError):
        return None
    same = frame_read.equals(frame) and frame_read.columns.equals(frame.columns)
    same = same and frame_read.index.equals(frame.index) and list(frame_read.dtypes) == list(frame.dtypes)
    # Equal lists and arrays in cells of objects are not the same type.
    return (
        written
        if same and not any(dtype.kind == "O" and dtype.name == "object" for dtype in frame.dtypes)
        else None
    )


def _is_plain(value: Any) -> bool:
    """Say whether JSON gives the same value back."""
    waiting, seen = [value], set()
    while waiting:
        item = waiting.pop()
        kind = type(item)
        if kind is list or kind is dict:
            if id(item) in seen:
                continue
            seen.add(id(item))
            if kind is dict and not all(type(key) is str for key in item):
                return False
            waiting.extend(item.values() if kind is dict else item)
        elif kind is float:
            if not math.isfinite(item):
                return False
        elif not (item is None or kind in (bool, int, str)):
            return False
    return True


def _check_pickles_allowed() -> None:
    policy = config.results.pickle
    if policy != "own":
        raise PicklesRefused(policy)


def _compression(format: str) -> tuple[Callable[..., bytes], Callable[..., bytes]]:
    try:
        module = importlib.import_module(format)
    except ImportError as error:
        raise ImportError(
            f"There is no module {format!r} to compress with. Common ones are {', '.join(_COMPRESSIONS)}."
        ) from error
    try:
        return module.compress, module.decompress
    except AttributeError as error:
        raise ValueError(
            f"The module {format!r} has no functions `compress` and `decompress`. "
            f"Modules that have are {', '.join(_COMPRESSIONS)}."
        ) from error


def _import_pandas() -> Any:
    try:
        return importlib.import_module("pandas")
    except ImportError as error:
        raise ImportError("PandasSerializer needs pandas. Install it with: pip install pandas") from error


def _as_bytes_or_text(
    use: Callable[[io.BytesIO | io.StringIO], T],
    binary: Callable[[], io.BytesIO],
    text: Callable[[], io.StringIO],
) -> T:
    """Return what `use` gives with a binary buffer, or with a text one where pandas takes nothing else."""
    try:
        return use(binary())
    except TypeError as error:
        try:
            return use(text())
        except (TypeError, ValueError):
            raise error from None  # the kind of buffer was not the trouble


def _from_base64(value: bytes) -> bytes | None:
    import base64
    import binascii

    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        return None
