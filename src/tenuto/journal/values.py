"""Kept results: values as bytes, written before they are handed on, verified before they are believed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tenuto._base.checksums import Checksum
from tenuto._base.files import told
from tenuto._base.masking import mask
from tenuto._base.plain import ordered_json, plain_json
from tenuto._base.texts import safe_text
from tenuto.exceptions import ObjectStoreError, PrefectException, ResultCorrupt
from tenuto.journal.event import ResultRef
from tenuto.journal.kept import FileSink, OverCap, Sink, Wrong, read_value, write_value
from tenuto.journal.places import KEPT_FOLDER, find

__all__ = ["INLINE_BYTES_MAX", "NotKept", "inline", "keep", "keep_file", "keep_in", "load"]

INLINE_BYTES_MAX = 4096


@dataclass(frozen=True, slots=True)
class NotKept:
    """A value that was not kept, and why, as the end of a sentence."""

    reason: str
    over_cap: bool = False
    """Whether it was only too large."""
    refused: bool = False
    """Whether the disk refused it, as it would any other value."""


def keep(value: object, path: Path, cap: int, *, allow_pickle: bool = True) -> ResultRef | NotKept:
    """
    Keep a value: inline when it is plain JSON of at most 4 KB, else in a file.

    Never raises for the value or the disk.

    Args:
        value: any task's result.
        path: the file to write (mode 0600) when the value is not inline; an older file there is replaced.
        cap: longest file, in bytes; nothing longer is left behind.
        allow_pickle: False keeps only what needs no pickle (`results.pickle = off`).
    """
    ref = inline(value)
    if ref is not None:
        return ref
    return keep_file(value, path, cap, allow_pickle=allow_pickle)


def inline(value: object) -> ResultRef | None:
    """Return the reference that carries a small plain value itself, or None."""
    if value is None:  # What many tasks return.
        return _NONE
    canonical = plain_json(value, INLINE_BYTES_MAX)
    if canonical is None:
        return None
    text = canonical.decode()
    if mask(text) != text:
        return None  # Events are sent and shown; a secret may lie only in a private file.
    data = canonical
    if type(value) is dict or type(value) is list:
        # The order of a dict's keys belongs to the value that a task gets back, though not to its digest.
        data = ordered_json(value, INLINE_BYTES_MAX) or canonical
    digest = hashlib.sha256(canonical).hexdigest()
    return ResultRef("inline", "", "json", digest, len(canonical), msgspec.Raw(data))


_NONE = ResultRef("inline", "", "json", hashlib.sha256(b"null").hexdigest(), 4, msgspec.Raw(b"null"))


def keep_file(
    value: object, path: Path, cap: int, *, allow_pickle: bool = True, durable: bool = False
) -> ResultRef | NotKept:
    """Keep a value in a file, whatever its size. See `keep`. `durable`: return when it is on the disk."""
    return keep_in(FileSink(path, cap, durable=durable), value, path.name, allow_pickle=allow_pickle)


def keep_in(sink: Sink, value: object, location: str, *, allow_pickle: bool = True) -> ResultRef | NotKept:
    """Keep a value in what a sink writes to, whatever its size; `location` is for the reference."""
    try:
        with sink:
            serializer = write_value(value, sink, allow_pickle)
        return ResultRef("kept", location, serializer, sink.hexdigest(), sink.length)
    except OverCap:
        return NotKept(
            f"it is larger than {sink.cap // (1 << 20)} MB (flows.keep_results_max_mb)", over_cap=True
        )
    except ObjectStoreError as error:
        return NotKept(f"the object store refused it: {error.problem}", refused=True)
    except OSError as error:
        return NotKept(f"the disk refused it: {told(error)}", refused=True)
    except Exception as error:  # noqa: BLE001  # see below
        # A user's object may raise anything while it is pickled, which must not fail a task that succeeded.
        return NotKept(f"it cannot be pickled: {type(error).__name__}: {safe_text(error)}")


def load(ref: ResultRef, run_folder: Path, *, allow_pickle: bool = True) -> Any:
    """
    Return the value of an inline or kept result, after its length and SHA-256 were found right.

    Args:
        ref: as recorded in the run's journal.
        run_folder: folder of the run that kept it.
        allow_pickle: False refuses pickles.

    Raises:
        ResultCorrupt: when the bytes are missing or are not those that were recorded, or cannot be read back.
        ObjectStoreError: when a bucket cannot be asked for them.
    """
    if ref.kind == "inline":
        return _load_inline(ref)
    if ref.kind != "kept":
        raise ResultCorrupt(ref.location, f"a result of kind {ref.kind!r} is not kept in the run's folder")
    if ref.serializer == "pickle" and not allow_pickle:
        raise ResultCorrupt(ref.location, "it is a pickle, and results.pickle is off")
    path = str(run_folder / KEPT_FOLDER / ref.location) if "/" not in ref.location else ref.location
    try:
        place, name = find(ref.location, run_folder)
        segments = place.segments(name, Checksum(ref.sha256, ref.length))
    except Wrong as error:
        raise ResultCorrupt(path, str(error)) from None
    except PrefectException:
        raise
    except OSError as error:
        raise ResultCorrupt(path, told(error).rstrip(".")) from error
    try:
        return read_value(ref.serializer, segments)
    except Exception as error:
        # Unpickling runs the code of user classes, which may have changed or gone since the value was kept.
        problem = f"it cannot be read back: {type(error).__name__}: {safe_text(error)}"
        raise ResultCorrupt(path, problem) from error


def _load_inline(ref: ResultRef) -> Any:
    try:
        value = msgspec.json.decode(ref.value)
    except msgspec.DecodeError as error:
        raise ResultCorrupt("journal", str(error)) from error
    canonical = plain_json(value, INLINE_BYTES_MAX)
    if canonical is None or hashlib.sha256(canonical).hexdigest() != ref.sha256:
        raise ResultCorrupt("journal", "the SHA-256 of an inline value is not the recorded one")
    return value
