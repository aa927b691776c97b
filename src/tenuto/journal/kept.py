"""
The bytes of a kept result, by serializer.

- `json`: the JSON of a plain value;
- `npy`: a numpy array of a plain dtype, in numpy's own format;
- `pickle`: a pickle of protocol 5. Large buffers (arrays, frames) follow the pickle stream one after the
  other, so that they are written from where they lie in memory; then a trailer tells the lengths. Without
  such buffers it is a plain pickle.

Everything is written once, straight to where it goes, and hashed on the way; reading hashes on the way too,
and hands out nothing before the checksum was right.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pickle
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

import msgspec

from tenuto._base.checksums import Checksum
from tenuto._base.files import temporary_name
from tenuto._base.plain import ordered_json, plain_json

__all__ = [
    "FileSink",
    "MemorySink",
    "OverCap",
    "Sink",
    "Wrong",
    "read_segments",
    "read_value",
    "segments_of",
    "write_value",
]

JSON_BYTES_MAX = 1 << 20
"""Plain values up to this length are kept as JSON, which others can read; longer ones are pickled faster."""
OUT_OF_BAND_BYTES_MIN = 64 * 1024
"""Smaller buffers are copied into the pickle stream: a table of thousands of them would cost more."""

_CHUNK_BYTES = 1 << 20
_MAGIC = b"tenuto5\n"  # A pickle ends with "."; a file that ends with this has a trailer.
_TAIL = struct.Struct("<QQ8s")  # Length of the pickle stream, number of buffers, magic.
_NO_FOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
_OPEN_NEW: int = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | getattr(os, "O_BINARY", 0)


class OverCap(Exception):
    """The value needs more bytes than it may have."""


class Wrong(Exception):
    """The file does not hold the bytes that were recorded."""


class _NamesScript(Exception):
    """The pickle refers to a script: in the process that reads it `__main__` is another module."""


def _names_script(frame: bytes) -> bool:
    # The names are pickling.SCRIPT_MODULES: that module imports cloudpickle, which is not wanted here.
    return b"__main__" in frame or b"<flow>" in frame


class Sink:
    """Hashes and counts what is written; a subclass takes it, and drops it when its block raises."""

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.length = 0
        self.refuse_scripts = False
        self._sha256 = hashlib.sha256()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def write(self, data: Any) -> int:
        """Append bytes or any contiguous buffer of bytes; the C pickler calls this too."""
        size = len(data)
        self.reserve(size)
        # The pickler hands over its opcodes in frames of about 64 KB; longer pieces are the user's own data.
        if self.refuse_scripts and size < 4 * OUT_OF_BAND_BYTES_MIN and _names_script(bytes(data)):
            raise _NamesScript
        view = memoryview(data)
        for start in range(0, size, _CHUNK_BYTES):
            # In pieces that fit the processor's cache: hashed and taken while they are there.
            piece = view[start : start + _CHUNK_BYTES]
            self._sha256.update(piece)
            self._take(piece)
        self.length += size
        return size

    def reserve(self, size: int) -> None:
        """Refuse what would not fit, before it is written."""
        if self.length + size > self.cap:
            raise OverCap

    def restart(self) -> None:
        """Begin anew."""
        self._drop()
        self._sha256 = hashlib.sha256()
        self.length = 0
        self.refuse_scripts = False

    def hexdigest(self) -> str:
        """Return the SHA-256 of all that was written."""
        return self._sha256.hexdigest()

    def _take(self, piece: memoryview) -> None:
        raise NotImplementedError

    def _drop(self) -> None:
        raise NotImplementedError


class FileSink(Sink):
    """
    A new file, removed again when its block raises.

    Args:
        path: of the file.
        cap: the most bytes that it may have.
        durable: the block ends when the file is on the disk.
        shared: its folder is one that others use, too: the umask says who can read it, and it appears
            complete or not at all. Otherwise it is private, and written where it stays: nobody believes a
            kept file before an event tells its checksum.

    An existing file of the name (a hard link into an older run, perhaps) is never overwritten.
    """

    def __init__(self, path: Path, cap: int, *, durable: bool = False, shared: bool = False) -> None:
        super().__init__(cap)
        self.path = path
        self.durable = durable
        self.mode = 0o666 if shared else 0o600
        self._written_at = path.with_name(temporary_name()) if shared else path
        self._fd = -1

    def __enter__(self) -> Self:
        try:
            self._fd = os.open(self._written_at, _OPEN_NEW, self.mode)
        except FileExistsError:
            os.unlink(self._written_at)
            self._fd = os.open(self._written_at, _OPEN_NEW, self.mode)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        is_whole = False
        try:
            try:
                if kind is None and self.durable:
                    os.fsync(self._fd)
            finally:
                os.close(self._fd)
            if kind is None and self._written_at != self.path:
                os.replace(self._written_at, self.path)
            is_whole = kind is None
        finally:
            if not is_whole:
                with contextlib.suppress(OSError):  # The error on its way tells more than a failed clean-up.
                    os.unlink(self._written_at)

    def _take(self, piece: memoryview) -> None:
        done = 0
        while done < len(piece):
            done += os.write(self._fd, piece[done:])

    def _drop(self) -> None:
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)


class MemorySink(Sink):
    """Bytes in memory, handed over when the block ends well."""

    def __init__(self, cap: int, hand_over: Callable[[bytearray], object]) -> None:
        super().__init__(cap)
        self._data = bytearray()
        self._hand_over = hand_over

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._hand_over(self._data)

    def _take(self, piece: memoryview) -> None:
        self._data += piece

    def _drop(self) -> None:
        self._data.clear()


def write_value(value: object, sink: Sink, allow_pickle: bool) -> str:
    """
    Write a value in the form that suits it, and return that form's name.

    Raises:
        OverCap, OSError: as the sink does.
        Exception: whatever the value's own pickling raises.
    """
    if _is_plain_array(value):
        _write_npy(value, sink)
        return "npy"
    if type(value) in (str, list, dict) or not allow_pickle:
        data = plain_json(value, JSON_BYTES_MAX)
        if data is not None:
            sink.write(ordered_json(value, JSON_BYTES_MAX) or data)
            return "json"
    if not allow_pickle:
        raise pickle.PicklingError("results.pickle is off")
    _write_pickle(value, sink)
    return "pickle"


def _write_pickle(value: object, sink: Sink) -> None:
    sink.refuse_scripts = True
    try:
        _pickle_with(pickle.Pickler, value, sink)
    except (OverCap, OSError):
        raise
    except Exception:  # noqa: BLE001  # see below
        # By reference it does not go: lambdas, local classes, everything of a script. Such things can be
        # pickled by value, and when that fails too, its error is the one to tell.
        from tenuto.journal.pickling import ScriptPickler

        sink.restart()
        _pickle_with(ScriptPickler, value, sink)


def _pickle_with(pickler: Any, value: object, sink: Sink) -> None:
    buffers: list[memoryview] = []
    pending = 0

    def take(buffer: pickle.PickleBuffer) -> bool:
        nonlocal pending
        view = buffer.raw()
        if view.nbytes < OUT_OF_BAND_BYTES_MIN:
            return True
        pending += view.nbytes
        sink.reserve(pending)
        buffers.append(view)
        return False

    pickler(sink, protocol=5, buffer_callback=take).dump(value)
    if not buffers:
        return
    sink.refuse_scripts = False
    stream_bytes = sink.length
    for view in buffers:
        sink.write(view)
    lengths = struct.pack(f"<{len(buffers)}Q", *(view.nbytes for view in buffers))
    sink.write(lengths + _TAIL.pack(stream_bytes, len(buffers), _MAGIC))


def _is_plain_array(value: object) -> bool:
    numpy = sys.modules.get("numpy")
    if numpy is None or type(value) is not numpy.ndarray:
        return False
    array = cast(Any, value)
    flags = array.flags
    return array.dtype.kind in "biufc" and array.dtype.isnative and (flags.c_contiguous or flags.f_contiguous)


def _write_npy(array: Any, sink: Sink) -> None:
    from numpy.lib import format as npy

    header = npy.header_data_from_array_1_0(array)
    npy.write_array_header_1_0(cast(BinaryIO, sink), header)
    flat = array.reshape(-1, order="F" if header["fortran_order"] else "C")
    if flat.size:
        sink.write(memoryview(flat.view("u1")))


def read_segments(path: Path, written: Checksum) -> list[bytearray]:
    """
    Return the verified bytes of a kept file: the stream, then each out-of-band buffer.

    They are read once and without a second copy.

    Raises:
        Wrong: when length, checksum or trailer are not right.
        OSError: when the file cannot be read.
    """
    with io.FileIO(path, opener=lambda name, flags: os.open(name, flags | _NO_FOLLOW)) as file:
        return segments_of(file, os.fstat(file.fileno()).st_size, written)


def segments_of(file: io.FileIO | io.BytesIO, length: int, written: Checksum) -> list[bytearray]:
    """Return the verified segments of `length` bytes; raises as `read_segments` does."""
    _check(written, written._replace(length=length))  # Before any of it is read.
    sizes = _segment_sizes(file, length)
    file.seek(0)
    digest = hashlib.sha256()
    segments = [_read_hashed(file, size, digest) for size in sizes]
    _check(written, Checksum(digest.hexdigest(), length))
    return segments[:-1] if len(segments) > 1 else segments


def _check(written: Checksum, found: Checksum) -> None:
    damage = written.damage(found)
    if damage is not None:
        raise Wrong(damage)


def _segment_sizes(file: io.FileIO | io.BytesIO, length: int) -> list[int]:
    """Return the lengths of stream, buffers and trailer, if there is one; they add up to the file."""
    if length < _TAIL.size:
        return [length]
    file.seek(length - _TAIL.size)
    stream_bytes, count, magic = _TAIL.unpack(_read_exactly(file, _TAIL.size))
    if magic != _MAGIC:
        return [length]
    table_bytes = 8 * count
    if table_bytes > length - _TAIL.size:
        raise Wrong("its trailer is damaged")
    file.seek(length - _TAIL.size - table_bytes)
    table = _read_exactly(file, table_bytes)
    sizes = [stream_bytes, *struct.unpack(f"<{count}Q", table), table_bytes + _TAIL.size]
    if sum(sizes) != length:
        raise Wrong("its trailer is damaged")
    return sizes


def _read_exactly(file: io.FileIO | io.BytesIO, size: int) -> bytearray:
    return _read_hashed(file, size, hashlib.sha256())


def _read_hashed(file: io.FileIO | io.BytesIO, size: int, digest: Any) -> bytearray:
    """Read into one writable buffer: a task may change the arrays that are made over it."""
    data = bytearray(size)
    view = memoryview(data)
    done = 0
    while done < size:
        count = file.readinto(view[done : done + _CHUNK_BYTES])
        if not count:
            raise Wrong("it became shorter while it was read")
        digest.update(view[done : done + count])
        done += count
    return data


def read_value(serializer: str, segments: list[bytearray]) -> Any:
    """Return the value of verified segments. Raises what the value's own unpickling raises."""
    if serializer == "json":
        return msgspec.json.decode(segments[0])
    if serializer == "npy":
        return _read_npy(segments[0])
    if serializer == "pickle":
        return pickle.loads(segments[0], buffers=segments[1:])
    raise Wrong(f"no reader is known for serializer {serializer!r}")


def _read_npy(data: bytearray) -> Any:
    import numpy
    from numpy.lib import format as npy

    header = io.BytesIO(data[:4096])  # Headers of plain dtypes are far shorter.
    npy.read_magic(header)
    shape, fortran_order, dtype = npy.read_array_header_1_0(header)
    body = memoryview(data)[header.tell() :]
    array = numpy.frombuffer(body, dtype=dtype) if len(body) else numpy.empty(0, dtype=dtype)
    return array.reshape(shape, order="F" if fortran_order else "C")
