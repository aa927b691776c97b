import collections
import copyreg
import datetime
import errno
import functools
import io
import os
import pickle
import stat
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto._base.masking import register_secret
from tenuto.exceptions import ResultCorrupt
from tenuto.journal.event import Event, Kind, ResultRef, decode_line, encode_line
from tenuto.journal.values import NotKept, keep, keep_file, load
from tests.unit.journal.strategies import plain, same

CAP = 256 << 20
MEGABYTE = 1 << 20


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    (tmp_path / "run" / "kept").mkdir(parents=True)
    return tmp_path / "run"


@pytest.fixture
def path(run_folder: Path) -> Path:
    return run_folder / "kept" / "task.1"


def kept(value: object, path: Path, cap: int = CAP) -> ResultRef:
    ref = keep(value, path, cap)
    assert isinstance(ref, ResultRef), ref
    return ref


def refused(value: object, path: Path, cap: int = CAP) -> NotKept:
    outcome = keep(value, path, cap)
    assert isinstance(outcome, NotKept)
    assert not path.exists()
    return outcome


class Model:
    """A user's class."""

    def __init__(self, weights: object) -> None:
        self.weights = weights

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and bool(np.array_equal(self.weights, other.weights))  # type: ignore[arg-type]

    __hash__ = None  # type: ignore[assignment]


# Inline


@given(plain)
def test_small_plain_values_are_kept_inside_of_the_event(value: Any) -> None:
    ref = kept(value, Path("/nowhere/file"))

    event = decode_line(encode_line(Event(kind=Kind.TASK_STATE, result=ref)))
    assert event is not None
    assert event.result is not None
    assert (ref.kind, ref.location, ref.serializer) == ("inline", "", "json")
    assert same(load(event.result, Path("/nowhere")), value)


def test_a_dict_keeps_its_order_and_its_digest_does_not_depend_on_it(run_folder: Path, path: Path) -> None:
    one, other = kept({"b": 1, "a": {"d": 2, "c": 3}}, path), kept({"a": {"c": 3, "d": 2}, "b": 1}, path)

    assert one.sha256 == other.sha256
    assert list(load(one, run_folder)) == ["b", "a"]
    assert list(load(other, run_folder)) == ["a", "b"]


def test_inline_is_at_most_4_kb(path: Path) -> None:
    assert kept("a" * 4094, path).kind == "inline"
    assert kept("a" * 4095, path).kind == "kept"


def test_a_changed_inline_value_is_not_believed(run_folder: Path, path: Path) -> None:
    ref = msgspec.structs.replace(kept(1, path), value=msgspec.Raw(b"2"))

    with pytest.raises(ResultCorrupt, match="SHA-256"):
        load(ref, run_folder)


def test_a_value_that_holds_a_secret_is_not_put_into_an_event(run_folder: Path, path: Path) -> None:  # I-21
    register_secret("hunter2-hunter2")

    ref = kept({"url": "db://me:hunter2-hunter2@host"}, path)

    assert ref.kind == "kept"
    assert b"hunter2" not in encode_line(Event(kind=Kind.TASK_STATE, result=ref))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load(ref, run_folder) == {"url": "db://me:hunter2-hunter2@host"}


# Files


@pytest.mark.parametrize(
    ("value", "serializer"),
    [
        ("x" * 10_000, "json"),
        ([{"a": n, "b": None} for n in range(1000)], "json"),
        ((1, 2), "pickle"),
        ({1, 2}, "pickle"),
        ({1: "a"}, "pickle"),
        (b"bytes", "pickle"),
        (float("inf"), "pickle"),
        ("\ud800", "pickle"),
        (datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), "pickle"),
        (collections.OrderedDict(a=1), "pickle"),
        (list(range(1_000_000)), "pickle"),
        (Path("a"), "pickle"),
    ],
)
def test_values_come_back(run_folder: Path, path: Path, value: object, serializer: str) -> None:
    ref = kept(value, path)

    assert (ref.kind, ref.location, ref.serializer) == ("kept", "task.1", serializer)
    assert ref.length == path.stat().st_size
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    loaded = load(ref, run_folder)
    assert loaded == value
    assert type(loaded) is type(value)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4),
        np.asfortranarray(np.arange(12).reshape(3, 4)),
        np.arange(12).reshape(3, 4)[:, ::2],
        np.zeros((0, 3)),
        np.array(5),
        np.array(5.0, dtype=">f8"),
        np.array([True, False]),
        np.array([1 + 2j]),
        np.array(["a", "bc"]),
        np.array([b"a"]),
        np.array(["a", None, 3], dtype=object),
        np.array(["2020-01-01"], dtype="datetime64[ns]"),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.arange(3, dtype=np.float16),
        np.arange(3, dtype=np.longdouble),
        np.ma.masked_array([1, 2], mask=[True, False]),
        np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.zeros(300_000),
    ],
)
def test_arrays_come_back_with_dtype_shape_and_class(run_folder: Path, path: Path, array: Any) -> None:
    loaded = load(kept(array, path), run_folder)

    assert type(loaded) is type(array)
    assert loaded.dtype == array.dtype
    assert loaded.shape == array.shape
    np.testing.assert_array_equal(loaded, array)


def test_an_array_is_a_file_that_numpy_reads(path: Path) -> None:
    array = np.arange(1000.0).reshape(10, 100)

    assert kept(array, path).serializer == "npy"

    with path.open("rb") as file:
        np.testing.assert_array_equal(np.load(file), array)


@pytest.mark.parametrize("size", [10, 100_000])
def test_loaded_arrays_can_be_changed(run_folder: Path, path: Path, size: int) -> None:
    for value in (np.zeros(size), {"a": np.zeros(size)}, Model(np.zeros(size))):
        loaded: Any = load(kept(value, path), run_folder)
        array = loaded["a"] if isinstance(loaded, dict) else getattr(loaded, "weights", loaded)
        array[0] = 5
        assert array.flags.writeable


def test_frames_come_back(run_folder: Path, path: Path) -> None:
    frame = pd.DataFrame(
        {
            "n": np.arange(50_000),
            "x": np.linspace(0, 1, 50_000),
            "s": [f"row {n}" for n in range(50_000)],
            "c": pd.Categorical(["a", "b"] * 25_000),
            "t": pd.date_range("2020", periods=50_000, tz="Europe/Paris"),
        }
    )

    loaded = load(kept({"frame": frame, "series": frame["x"]}, path), run_folder)

    pd.testing.assert_frame_equal(loaded["frame"], frame)
    pd.testing.assert_series_equal(loaded["series"], frame["x"])


def test_a_pickle_without_large_buffers_is_a_plain_pickle(path: Path) -> None:
    kept((1, "a"), path)

    assert pickle.loads(path.read_bytes()) == (1, "a")


def test_an_object_shared_inside_of_a_value_stays_shared(run_folder: Path, path: Path) -> None:
    array = np.zeros(100_000)

    loaded = load(kept((array, [array]), path), run_folder)

    assert loaded[0] is loaded[1][0]


def test_an_older_file_is_replaced_and_never_written_into(run_folder: Path, path: Path) -> None:
    old = kept((1,), path)
    link = path.with_name("link")
    os.link(path, link)

    kept((2, 2), path)

    assert load(msgspec.structs.replace(old, location="link"), run_folder) == (1,)


# Not by reference


def test_lambdas_and_local_classes_are_pickled_by_value(run_folder: Path, path: Path) -> None:
    factor = 3

    class Local:
        def times(self, number: int) -> int:
            return number * factor

    assert load(kept(lambda number: number + factor, path), run_folder)(1) == 4
    assert load(kept(Local(), path), run_folder).times(2) == 6


def test_an_importable_class_goes_by_reference(run_folder: Path, path: Path) -> None:
    loaded = load(kept(Model((1, 2)), path), run_folder)

    assert type(loaded) is Model


# What is not kept


class Stubborn:
    def __reduce__(self) -> str:
        raise RuntimeError("not me")


class Rude:
    def __reduce__(self) -> str:
        class Nameless(Exception):
            def __str__(self) -> str:
                raise ValueError

        raise Nameless


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (threading.Lock(), "cannot be pickled"),
        ((n for n in range(3)), "cannot be pickled"),
        (Stubborn(), "RuntimeError: not me"),
        (Rude(), "cannot be pickled"),
        ([Model(Stubborn())], "RuntimeError: not me"),
    ],
)
def test_what_cannot_be_pickled_is_not_kept_and_raises_nothing(
    path: Path, value: object, reason: str
) -> None:
    assert reason in refused(value, path).reason


def test_an_open_file_is_not_kept_as_a_copy_of_its_text(path: Path) -> None:
    with open(os.devnull) as text, open(os.devnull, "rb") as data:
        assert "an open file" in refused(text, path).reason
        assert "an open file" in refused([data], path).reason


def test_a_value_nested_too_deep_for_pickle_is_not_kept(path: Path) -> None:
    deep: list[Any] = []
    for _ in range(200_000):
        deep = [deep]

    refused(deep, path)
    while deep:  # Taken apart here: the interpreter would recurse.
        deep = deep.pop()


@pytest.mark.parametrize(
    "value",
    [
        "x" * (2 * MEGABYTE),
        b"x" * (2 * MEGABYTE),
        np.zeros(MEGABYTE),
        {"a": np.zeros(MEGABYTE)},
        [(n, n) for n in range(MEGABYTE)],
        lambda data=b"x" * (2 * MEGABYTE): data,
    ],
)
def test_what_is_over_the_cap_is_not_kept(path: Path, value: object) -> None:
    outcome = refused(value, path, MEGABYTE)

    assert outcome.over_cap
    assert "1 MB" in outcome.reason


def test_a_full_disk_is_a_reason_and_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)

    assert "No space left" in refused((1,), path).reason


def test_a_durable_file_is_on_the_disk_or_not_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    assert isinstance(keep_file((1,), path, CAP, durable=True), ResultRef)
    assert len(synced) == 1

    def broken(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    assert isinstance(keep_file((1,), path, CAP, durable=True), NotKept)
    assert not path.exists()


def test_an_interrupt_while_writing_leaves_no_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(fd: int, data: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "write", interrupted)

    with pytest.raises(KeyboardInterrupt):
        keep((1,), path, CAP)
    assert not path.exists()


def test_a_folder_that_is_not_there_is_a_reason(tmp_path: Path) -> None:
    assert "No such file" in refused((1,), tmp_path / "none" / "file").reason


def test_a_symbolic_link_is_replaced_not_followed(path: Path, tmp_path: Path) -> None:  # S-13
    victim = tmp_path / "victim"
    victim.write_text("mine")
    path.symlink_to(victim)

    kept((1,), path)

    assert victim.read_text() == "mine"
    assert not path.is_symlink()


def test_without_pickle_plain_values_and_arrays_are_kept(path: Path) -> None:
    def keep_plainly(value: object) -> ResultRef | NotKept:
        return keep_file(value, path, CAP, allow_pickle=False)

    assert isinstance(keep_plainly("a" * 5000), ResultRef)
    assert isinstance(keep_plainly(np.arange(5000)), ResultRef)
    assert keep_plainly((1,)) == NotKept("it cannot be pickled: PicklingError: results.pickle is off")


# Reading back


# I-12
@given(data=st.data())
def test_damaged_files_are_never_unpickled(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    folder = tmp_path_factory.mktemp("run")
    (folder / "kept").mkdir()
    path = folder / "kept" / "task.1"
    value = data.draw(st.sampled_from([(1, "two"), {"a": np.zeros(20_000)}, np.arange(9.0), "x" * 5000]))
    ref = kept(value, path)
    whole = bytearray(path.read_bytes())
    match data.draw(st.sampled_from(["cut", "grow", "change"])):
        case "cut":
            del whole[data.draw(st.integers(0, len(whole) - 1)) :]
        case "grow":
            whole += b"."
        case "change":
            whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(whole)

    with pytest.raises(ResultCorrupt):
        load(ref, folder)


def test_a_planted_pickle_is_not_run(run_folder: Path, path: Path, tmp_path: Path) -> None:
    ref = kept((1,), path)
    path.write_bytes(pickle.dumps(functools.partial(os.mkdir, str(tmp_path / "planted"))))

    with pytest.raises(ResultCorrupt):
        load(ref, run_folder)


def test_a_kept_file_that_is_gone_is_told(run_folder: Path, path: Path) -> None:
    ref = kept((1,), path)
    path.unlink()

    with pytest.raises(ResultCorrupt, match="No such file"):
        load(ref, run_folder)


@pytest.mark.parametrize(
    "location", ["../1.journal", "/etc/passwd", "a/b", "", ".", "..", "a\0", "c:x", "\\x"]
)
def test_a_location_cannot_lead_out_of_the_folder(run_folder: Path, location: str) -> None:  # S-13
    with pytest.raises(ResultCorrupt, match="not that of a kept file"):
        load(ResultRef("kept", location, "pickle", "0" * 64, 1), run_folder)


def test_a_symbolic_link_is_not_read(run_folder: Path, path: Path) -> None:  # S-13
    ref = kept((1,), path)
    path.rename(run_folder / "elsewhere")
    path.symlink_to(run_folder / "elsewhere")

    with pytest.raises(ResultCorrupt):
        load(ref, run_folder)


def test_a_value_whose_class_refuses_to_come_back_is_told(
    run_folder: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Dask, once loaded, changes how exceptions are pickled: of all classes that there are by then.
    monkeypatch.delitem(copyreg.dispatch_table, Awkward, raising=False)
    ref = kept(Awkward("a", "b"), path)

    with pytest.raises(ResultCorrupt, match="cannot be read back: TypeError"):
        load(ref, run_folder)


class Awkward(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)


def test_pickles_are_refused_where_the_policy_says_so(run_folder: Path, path: Path) -> None:  # S-10
    with pytest.raises(ResultCorrupt, match=r"results\.pickle is off"):
        load(kept((1,), path), run_folder, allow_pickle=False)


def test_an_unknown_kind_or_serializer_is_told(run_folder: Path, path: Path) -> None:
    ref = kept((1,), path)

    with pytest.raises(ResultCorrupt, match="'result'"):
        load(msgspec.structs.replace(ref, kind="result"), run_folder)
    with pytest.raises(ResultCorrupt, match="'arrow'"):
        load(msgspec.structs.replace(ref, serializer="arrow"), run_folder)


# Memory


@pytest.mark.parametrize("shape", ["array", "object", "frame"])
def test_keeping_and_loading_makes_no_second_copy_of_a_large_array(
    run_folder: Path, path: Path, shape: str
) -> None:
    size = 48 * MEGABYTE
    array = np.zeros(size // 8)
    value: Any = {"array": array, "object": Model(array), "frame": pd.DataFrame({"x": array})}[shape]
    kept((1,), path)  # Imports whatever is needed.

    tracemalloc.start()
    try:
        ref = kept(value, path)
        peak_of_keeping = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        loaded = load(ref, run_folder)
        peak_of_loading = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()

    assert ref.length >= size
    assert peak_of_keeping < 4 * MEGABYTE
    assert peak_of_loading < size + 4 * MEGABYTE
    assert loaded is not None


def test_bytes_io_and_string_io_are_values(run_folder: Path, path: Path) -> None:
    assert load(kept(io.BytesIO(b"a"), path), run_folder).getvalue() == b"a"
