"""The index of cached results: read once, whoever adds to it, and whatever is in the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tenuto.journal import cache_index
from tenuto.journal.cache_index import CacheEntry, CacheIndex, append
from tenuto.journal.event import ResultRef

NOW = 1_000_000


def entry(name: str, *, expires: int = NOW + 1, **inputs: str) -> CacheEntry:
    return CacheEntry("run", ResultRef("kept", name), expires, inputs=inputs)


def names(entries: list[CacheEntry]) -> list[str]:
    return [one.result.location for one in entries]


def file_of(home: Path) -> Path:
    (found,) = (home / "cache").iterdir()
    return found


def test_entries_come_newest_first_without_the_expired(tmp_path: Path) -> None:
    for one in (entry("a"), entry("old", expires=NOW), entry("b")):
        append(tmp_path, "key", one, NOW)
    assert names(CacheIndex(tmp_path, "key").entries(NOW)) == ["b", "a"]
    assert CacheIndex(tmp_path, "another").entries(NOW) == []


def test_entries_are_found_by_their_inputs(tmp_path: Path) -> None:
    index = CacheIndex(tmp_path, "key")
    for number in range(3):
        append(tmp_path, "key", entry(str(number), x=str(number % 2)), NOW)
    assert names(index.entries(NOW, {"x": "0"})) == ["2", "0"]
    assert index.entries(NOW, {"x": "0", "y": "1"}) == []


def test_each_line_is_read_once_however_often_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[bytes] = []
    read = cache_index._decoded

    def counted(line: bytes) -> CacheEntry | None:
        decoded.append(line)
        return read(line)

    monkeypatch.setattr(cache_index, "_decoded", counted)
    index = CacheIndex(tmp_path, "key")
    for number in range(20):
        append(tmp_path, "key", entry(str(number)), NOW)  # As another process may, in between.
        assert len(index.entries(NOW)) == number + 1
    assert len(decoded) == 20


def test_what_is_no_entry_is_passed_over(tmp_path: Path) -> None:
    append(tmp_path, "key", entry("a"), NOW)
    with open(file_of(tmp_path), "ab") as file:
        file.write(b"\xff\xfe\n{}\n[1]\n\n" + b'{"run": "cut')
    index = CacheIndex(tmp_path, "key")
    assert names(index.entries(NOW)) == ["a"]
    with open(file_of(tmp_path), "ab") as file:
        file.write(b" off\n")
    append(tmp_path, "key", entry("b"), NOW)
    assert names(index.entries(NOW)) == ["b", "a"]


def test_another_file_in_its_place_is_read_from_its_beginning(tmp_path: Path) -> None:
    index = CacheIndex(tmp_path, "key")
    append(tmp_path, "key", entry("a"), NOW)
    append(tmp_path, "key", entry("b"), NOW)
    assert len(index.entries(NOW)) == 2
    path = file_of(tmp_path)
    line = path.read_bytes().splitlines(keepends=True)[1]
    (path.parent / "new").write_bytes(line)
    os.replace(path.parent / "new", path)
    assert names(index.entries(NOW)) == ["b"]
    path.unlink()
    assert index.entries(NOW) == []


def test_large_file_is_written_anew_only_to_drop_what_has_expired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_index, "_BYTES_BEFORE_CLEANING", 10)
    append(tmp_path, "key", entry("a", expires=NOW + 5), NOW)
    inode = file_of(tmp_path).stat().st_ino
    append(tmp_path, "key", entry("b", expires=NOW + 9), NOW)
    assert file_of(tmp_path).stat().st_ino == inode
    append(tmp_path, "key", entry("c", expires=NOW + 9), NOW + 5)
    assert names(CacheIndex(tmp_path, "key").entries(NOW + 5)) == ["c", "b"]
    assert file_of(tmp_path).read_bytes().count(b"\n") == 2
