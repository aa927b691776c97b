"""
Digests of numpy and pandas values.

Imported only when such a value is there: loads neither library by itself.
"""

from __future__ import annotations

import functools
from typing import Any, Protocol

__all__ = ["add_numpy", "add_pandas"]


class Walk(Protocol):
    """What `digests` hands in."""

    def put(self, tag: str, data: Any = b"") -> None:
        """Hash one piece."""

    def need(self, size: int) -> None:
        """Give up at once on what needs more bytes than are left."""

    def add(self, value: Any, depth: int) -> None:
        """Hash a value."""

    def add_all(self, tag: str, values: Any, count: int, depth: int) -> None:
        """Hash a sequence."""


def add_numpy(walk: Walk, value: Any, depth: int) -> bool:
    """Hash an array, a scalar or a dtype of numpy; False for anything else of the library."""
    import numpy

    if isinstance(value, numpy.dtype):
        walk.put("numpy.dtype", _dtype_text(value))
        return True
    if isinstance(value, numpy.generic):
        walk.put("numpy.scalar", type(value).__name__.encode())
        return _add_array(walk, numpy.asarray(value), depth)
    if type(value) is not numpy.ndarray:
        return False  # Matrices, masked and record arrays mean more than their elements.
    walk.put("numpy.ndarray")
    return _add_array(walk, value, depth)


def _add_array(walk: Walk, array: Any, depth: int) -> bool:
    import numpy

    dtype = array.dtype
    walk.need(array.nbytes)  # Before it is copied into one piece.
    walk.put("dtype", _dtype_text(dtype))
    walk.put("shape", repr(array.shape).encode())
    if dtype.kind == "O" or dtype.hasobject:
        if dtype.fields is not None:
            return False
        walk.add_all("objects", array.ravel(order="C").tolist(), array.size, depth)
        return True
    if dtype.kind not in "biufcSUmMVT":
        return False
    if dtype.kind == "T":  # Variable-width strings live outside of the array's own buffer.
        walk.add_all("strings", array.ravel(order="C").tolist(), array.size, depth)
        return True
    if dtype.kind == "V" and dtype.fields is not None:
        # By field: the padding between fields may hold anything.
        return all(_add_array(walk, numpy.ascontiguousarray(array[name]), depth) for name in dtype.names)
    native = array.astype(dtype.newbyteorder("="), copy=False)
    data = numpy.ascontiguousarray(native)
    if dtype.kind in "fc":
        data = _one_nan(data)
    walk.put("data", data.reshape(-1).view("u1").data if data.size else b"")
    return True


def _one_nan(data: Any) -> Any:
    """Return floats in which all NaNs have the same bits: they may differ in some that nothing shows."""
    import numpy

    missing = numpy.isnan(data)
    if not missing.any():
        return data
    data = data.copy()
    data[missing] = numpy.nan
    return data


@functools.lru_cache(maxsize=256)
def _dtype_text(dtype: Any) -> bytes:
    """Return the text of a dtype without its byte order, which is no property of the values."""
    return repr(dtype.newbyteorder("=")).encode("utf-8", "backslashreplace")


def add_pandas(walk: Walk, value: Any, depth: int) -> bool:
    """
    Hash a frame, series, index, extension array or scalar of pandas.

    False for anything else of the library.
    """
    import pandas

    if isinstance(value, pandas.DataFrame) and type(value) is pandas.DataFrame:
        walk.need(int(value.memory_usage(index=False).sum()))
        walk.put("pandas.DataFrame")
        walk.add(value.index, depth + 1)
        walk.add(value.columns, depth + 1)
        for position in range(value.shape[1]):
            _add_values(walk, value.iloc[:, position], depth)
        walk.add(value.attrs, depth + 1)
        return True
    if type(value) is pandas.Series:
        walk.put("pandas.Series")
        walk.add(value.name, depth + 1)
        walk.add(value.index, depth + 1)
        _add_values(walk, value, depth)
        walk.add(value.attrs, depth + 1)
        return True
    if isinstance(value, pandas.Index):
        return _add_index(walk, value, depth)
    if isinstance(value, pandas.api.extensions.ExtensionArray):
        walk.put("pandas.array", type(value).__name__.encode())
        _add_values(walk, pandas.Series(value), depth)
        return True
    return _add_scalar(walk, value)


def _add_index(walk: Walk, value: Any, depth: int) -> bool:
    import pandas

    walk.put("pandas.Index", type(value).__name__.encode())
    if isinstance(value, pandas.RangeIndex):
        walk.put("range", f"{value.start}\0{value.stop}\0{value.step}".encode())
        walk.add(value.name, depth + 1)
        return True
    walk.add(list(value.names), depth + 1)
    if isinstance(value, pandas.MultiIndex):
        for level in range(value.nlevels):
            walk.add(value.get_level_values(level), depth + 1)
        return True
    if isinstance(value, pandas.DatetimeIndex | pandas.TimedeltaIndex):
        walk.put("freq", str(value.freqstr).encode())
    _add_values(walk, value.to_series(index=range(len(value))), depth)
    return True


def _add_values(walk: Walk, series: Any, depth: int) -> None:
    """Hash the elements of a series, whatever array type lies below, in the form that its dtype suggests."""
    import numpy
    import pandas

    dtype = series.dtype
    walk.put("pandas.dtype", repr(dtype).encode("utf-8", "backslashreplace"))
    if isinstance(dtype, numpy.dtype):
        walk.add(series.to_numpy(), depth + 1)
    elif isinstance(dtype, pandas.CategoricalDtype):
        walk.put("ordered", b"\1" if dtype.ordered else b"\0")
        walk.add(dtype.categories, depth + 1)
        walk.add(series.cat.codes.to_numpy(), depth + 1)
    elif isinstance(dtype, pandas.DatetimeTZDtype):
        walk.add(dtype.tz, depth + 1)
        walk.add(series.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(), depth + 1)
    else:
        missing = series.isna().to_numpy()
        walk.add(missing, depth + 1)
        # Strings, nullable numbers, periods, intervals, arrow columns: as scalars, missing ones apart.
        walk.add_all("values", series[~missing].tolist(), int((~missing).sum()), depth)


def _add_scalar(walk: Walk, value: Any) -> bool:
    import pandas

    if value is pandas.NaT or value is pandas.NA:
        walk.put("pandas.missing", repr(value).encode())
        return True
    if isinstance(value, pandas.Timestamp):
        walk.put("pandas.Timestamp", f"{value.value}\0{value.unit}\0{value.tz!r}\0{value.fold}".encode())
        return True
    if isinstance(value, pandas.Timedelta):
        walk.put("pandas.Timedelta", f"{value.value}\0{value.unit}".encode())
        return True
    if isinstance(value, pandas.Period | pandas.Interval):
        walk.put("pandas.scalar", repr(value).encode())
        return True
    return False
