"""LocalResult: folders, file names, and files that are believed only when they are whole."""

import json
import logging
import ntpath
import os
import pickle
import re
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest

from tenuto import context
from tenuto._base.files import read_sidecar, sidecar_path
from tenuto.engine.results import LocalResult
from tenuto.engine.results import local_result as module
from tenuto.engine.serializers import JSONSerializer, PandasSerializer
from tenuto.exceptions import ResultCorrupt
from tenuto.utilities.configuration import set_temporary_config


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


# R-LOC-1
def test_the_folder_is_in_the_home_folder_by_default(tenuto_home: Path) -> None:
    assert LocalResult().dir == str(tenuto_home / "results")


# R-LOC-1
def test_a_relative_folder_is_made_absolute_at_construction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "then").mkdir()
    monkeypatch.chdir(tmp_path / "then")
    result = LocalResult(dir="data/processed", location="x")
    monkeypatch.chdir(tmp_path)
    assert result.dir == str(tmp_path / "then" / "data" / "processed")
    assert result.write(1).location == str(tmp_path / "then" / "data" / "processed" / "x")


# R-LOC-1
def test_a_tilde_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert LocalResult(dir="~/mine").dir == str(tmp_path / "mine")
    assert LocalResult(dir=Path("~/mine")).dir == str(tmp_path / "mine")


# R-LOC-1
def test_without_validation_the_folder_stays_as_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert LocalResult(dir="~/x", validate_dir=False).dir == "~/x"
    result = LocalResult(dir="later", validate_dir=False, location="a")
    assert result.dir == "later"
    assert result.write(1).location == str(tmp_path / "later" / "a")


# R-LOC-2: observed was a folder at construction; the recommendation makes it at the first write.
def test_the_folder_is_made_at_the_first_write(tmp_path: Path, tenuto_home: Path) -> None:
    result = LocalResult(dir=tmp_path / "a" / "b", location="x")
    assert not result.exists("x")
    assert not (tmp_path / "a").exists()
    result.write(1)
    assert visible(tmp_path / "a" / "b") == ["x"]
    assert not tenuto_home.exists()


# R-LOC-3: observed was that such a folder is replaced; the recommendation honours it.
def test_a_folder_inside_the_home_folder_is_honoured(tenuto_home: Path) -> None:
    result = LocalResult(dir=tenuto_home / "mine", location="x")
    assert result.dir == str(tenuto_home / "mine")
    assert result.write(1).location == str(tenuto_home / "mine" / "x")


# R-LOC-4
def test_an_absolute_location_wins_over_the_folder(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "deep" / "x"
    written = LocalResult(dir=tmp_path / "dir", location=str(elsewhere)).write(1)
    assert written.location == str(elsewhere)
    assert elsewhere.exists()
    assert not (tmp_path / "dir").exists()


# R-LOC-4
def test_the_written_location_is_the_absolute_path(tmp_path: Path) -> None:
    result = LocalResult(dir=tmp_path, location="{x}/{y}.bin")
    written = result.write([1], x="a", y=2)
    assert written.location == str(tmp_path / "a" / "2.bin")
    assert (written.value, written.dir) == ([1], str(tmp_path))
    assert result.read(written.location).value == [1]


# R-LOC-5, D-1
def test_the_default_location_is_named_after_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = datetime(2021, 11, 6, 15, 37, 29, 605869, tzinfo=UTC)
    monkeypatch.setattr(module, "_unused_time", lambda: moment)
    result = LocalResult(dir=tmp_path)
    expected = str(tmp_path / "tenuto-result-2021-11-06t15-37-29-605869-00-00")
    assert result.default_location == expected
    assert result.write(1).location == expected
    assert re.match(r"^(prefect|tenuto)-result-", visible(tmp_path)[0])


# R-LOC-5
def test_default_locations_of_one_moment_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Stopped":
            return cls(2021, 11, 6, tzinfo=tz)

    monkeypatch.setattr(module, "datetime", Stopped)
    monkeypatch.setattr(module, "_last_time", datetime.min.replace(tzinfo=UTC))
    result = LocalResult(dir=tmp_path)
    names: list[str] = []
    threads = [
        threading.Thread(target=lambda: names.extend(result.default_location for _ in range(50)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == 200
    assert min(names).endswith("2021-11-06t00-00-00-000000-00-00")


# R-LOC-6
def test_exists_fills_and_joins_the_location(tmp_path: Path) -> None:
    result = LocalResult(dir=tmp_path)
    (tmp_path / "a-1").write_bytes(b"not a pickle")
    assert result.exists("a-1")  # unreadable counts as existing
    assert result.exists("a-{n}", n=1)
    assert result.exists(str(tmp_path / "a-1"))
    assert not result.exists("a-2")
    assert not result.exists("{n}", n="a/1")
    with pytest.raises(KeyError):
        result.exists("{n}", m=1)
    (tmp_path / "{n}").write_bytes(b"")
    assert result.exists("{n}")  # without values nothing is filled in


# R-LOC-7
def test_read_gives_value_and_the_location_as_given(tmp_path: Path) -> None:
    (tmp_path / "placed").write_bytes(cloudpickle.dumps({"by": "hand"}))
    result = LocalResult(dir=str(tmp_path)).read(location="placed")
    assert (result.value, result.location) == ({"by": "hand"}, "placed")


# R-LOC-7
def test_reading_a_missing_file_raises_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        LocalResult(dir=tmp_path).read("nothing")


# R-LOC-8
def test_names_follow_the_template_to_the_letter(tmp_path: Path) -> None:
    date = datetime(2021, 12, 21, 16, 26, 44, tzinfo=UTC)
    result = LocalResult(dir=tmp_path, location="{date:%a_%b_%d_%Y_%H:%M:%S}/{task_name}_output")
    written = result.write(1, date=date, task_name="get_classes")
    assert written.location == str(tmp_path / "Tue_Dec_21_2021_16:26:44" / "get_classes_output")


# R-LOC-8
@pytest.mark.parametrize("name", ["C:\\data\\16:26.p", 'C:\\a"b', "C:\\a?b", "D:\\what*"])
def test_names_that_windows_does_not_allow_are_said_to_be_so(name: str) -> None:
    with pytest.raises(ValueError, match="Windows does not allow"):
        module._check_windows_name(name)
    module._check_windows_name("C:\\data\\16-26.p")
    assert ntpath.splitdrive(name)[0]


# R-LOC-9
@pytest.mark.parametrize(
    ("serializer", "value"),
    [
        (None, {"a": np.arange(3)}),
        (JSONSerializer(), [1, 2]),
        (PandasSerializer("csv"), pd.DataFrame({"a": [1]})),
    ],
)
def test_the_file_holds_exactly_the_serializers_bytes(tmp_path: Path, serializer: Any, value: Any) -> None:
    result = LocalResult(dir=tmp_path, location="x", serializer=serializer)
    result.write(value)
    assert (tmp_path / "x").read_bytes() == result.serializer.serialize(value)


# reliability 3.6: the sidecar, and what the journal's reference takes from the write
def test_a_sidecar_says_what_was_written_and_by_whom(tmp_path: Path) -> None:
    result = LocalResult(dir=tmp_path, location="x.json", serializer=JSONSerializer())
    with context(flow_run_id="run-1", task_slug="load-1", map_index=3):
        written = result.write([1])
    facts = json.loads((tmp_path / ".x.json.meta.json").read_text())
    assert facts == {
        "serializer": "tenuto.engine.serializers.JSONSerializer",
        "run": "run-1",
        "task": "load-1",
        "index": 3,
        "epoch": 1,
        "length": 3,
        "sha256": "080a9ed428559ef602668b4c00f114f1a11c3f6b02a435f0bdc154578e4d7f22",
    }
    assert written._written == (facts["sha256"], 3)
    assert result.read("x.json")._written == (facts["sha256"], 3)


# I-12, R-LOC-6
@pytest.mark.parametrize("damage", [b"", b"short", b"much longer than what was written there"])
def test_a_file_of_another_length_is_absent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    result = LocalResult(dir=tmp_path, location="x")
    result.write([1, 2, 3])
    (tmp_path / "x").write_bytes(damage)
    with caplog.at_level(logging.WARNING, "tenuto"):
        assert not result.exists("x")
    assert f"x is not used: it has {len(damage)} bytes instead of" in caplog.text
    with pytest.raises(ResultCorrupt, match="bytes instead of"):
        result.read("x")


# I-12
def test_a_file_with_other_content_of_the_same_length_is_not_believed(tmp_path: Path) -> None:
    result = LocalResult(dir=tmp_path, location="x")
    result.write([1, 2, 3])
    data = (tmp_path / "x").read_bytes()
    (tmp_path / "x").write_bytes(bytes([data[0]]) + bytes(len(data) - 1))
    with pytest.raises(ResultCorrupt, match="its content is not what was written"):
        result.read("x")


@pytest.mark.parametrize("content", [b"", b"{}", b"{"])
def test_a_file_with_a_damaged_sidecar_is_absent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    result = LocalResult(dir=tmp_path, location="x")
    result.write(1)
    Path(sidecar_path(tmp_path / "x")).write_bytes(content)
    assert not result.exists("x")
    assert "its sidecar" in caplog.text
    with pytest.raises(ResultCorrupt, match="its sidecar"):
        result.read("x")
    result.write(2)
    assert result.read("x").value == 2


def test_a_writer_between_two_looks_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = LocalResult(dir=tmp_path, location="x")
    result.write([1])
    looks: list[Any] = []

    def look(path: str) -> Any:
        facts = read_sidecar(path)
        if not looks:
            result.write([1, 2, 3])
        looks.append(facts)
        return facts

    monkeypatch.setattr(module, "read_sidecar", look)
    assert result.read("x").value == [1, 2, 3]
    looks.clear()
    result.write([1])
    assert result.exists("x")


# S-13
@pytest.mark.parametrize("location", ["../x", "a/../../x", "..", "a/b/../../../x", "./../x"])
def test_a_relative_location_does_not_lead_out_of_the_folder(tmp_path: Path, location: str) -> None:
    result = LocalResult(dir=tmp_path / "dir", location=location)
    for call in (lambda: result.write(1), lambda: result.read(location), lambda: result.exists(location)):
        with pytest.raises(ValueError, match="leads out of the folder"):
            call()
    assert os.listdir(tmp_path) == []


# S-12, S-13
@pytest.mark.parametrize("value", ["../../x", "/etc/x", "..", "a/../../b", "..\\x", "nul\0"])
def test_a_value_in_a_location_does_not_lead_out_of_the_folder(tmp_path: Path, value: str) -> None:
    result = LocalResult(dir=tmp_path / "dir", location="{v}/{v}")
    location = result.write(1, v=value).location
    assert location is not None
    assert Path(location).resolve().parent.parent == tmp_path / "dir"


def test_dots_inside_the_folder_are_fine(tmp_path: Path) -> None:
    assert LocalResult(dir=tmp_path, location="a/../b").write(1).location == str(tmp_path / "b")


# shapes 2: files of the home folder are private, others follow the umask
def test_files_in_the_home_folder_are_private(tmp_path: Path, tenuto_home: Path) -> None:
    before = os.umask(0o022)
    try:
        private = LocalResult().write(1).location
        public = LocalResult(dir=tmp_path / "dir").write(1).location
    finally:
        os.umask(before)
    assert private is not None
    assert public is not None
    assert stat.S_IMODE(os.stat(private).st_mode) == 0o600
    assert stat.S_IMODE((tenuto_home / "results").stat().st_mode) == 0o700
    assert stat.S_IMODE(os.stat(public).st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "dir").stat().st_mode) == 0o755


# reliability 3.6: what is forced to the disk
@pytest.mark.parametrize(
    ("location", "durability", "forced"),
    [
        (None, "relaxed", False),
        (None, "full", True),
        ("x", "relaxed", True),
        (lambda **_: "x", "relaxed", True),
    ],
)
def test_named_files_are_forced_to_the_disk_and_others_when_durability_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: Any, durability: str, forced: bool
) -> None:
    calls: list[int] = []
    monkeypatch.setattr(os, "fsync", calls.append)
    with set_temporary_config({"journal.durability": durability}):
        LocalResult(dir=tmp_path, location=location).write(1)
    assert bool(calls) is forced


def test_a_local_result_pickles(tmp_path: Path) -> None:
    result = LocalResult(dir=tmp_path, location="{x}", serializer=JSONSerializer())
    restored = pickle.loads(pickle.dumps(result))
    assert restored == result
    assert restored != LocalResult(dir=tmp_path / "other", location="{x}", serializer=JSONSerializer())
    assert restored.write(1, x="a").location == str(tmp_path / "a")


# R-RES-6
def test_validators_are_ignored(tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="validators"):
        LocalResult(dir=tmp_path, validators=[len])
