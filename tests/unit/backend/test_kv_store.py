"""The key-value store: values that outlive runs, shared by the processes of a user."""

import json
import os
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto import Flow, task
from tenuto._base.datetimes import utc_now
from tenuto.backend import compare_and_set, delete_key, get_key_value, list_keys, set_key_value
from tenuto.backend.kv_store import KeyValueStoreDamaged

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_value_is_kept_replaced_and_deleted() -> None:
    # R-ART-2, R-BE-156
    first = set_key_value("last", {"day": "2026-01-31", "rows": [1, 2]})
    assert get_key_value("last") == {"day": "2026-01-31", "rows": [1, 2]}
    assert set_key_value("last", None) == first
    assert get_key_value("last") is None
    assert delete_key("last") is True
    assert list_keys() == []


@pytest.mark.parametrize("call", [get_key_value, delete_key])
def test_missing_key_is_a_value_error(call: Any) -> None:
    # R-BE-156
    with pytest.raises(ValueError, match="^No value found for key: nothing$"):
        call("nothing")


def test_default_stands_in_for_a_missing_value_and_only_for_that() -> None:
    # R-API-22
    assert get_key_value("nothing", default=None) is None
    set_key_value("zero", 0)
    assert get_key_value("zero", default=5) == 0


def test_keys_are_listed_in_order_and_by_prefix() -> None:
    # R-BE-156, R-BE-157
    for key in ("b/2", "a", "b/1", ""):
        set_key_value(key, 1)
    assert list_keys() == ["", "a", "b/1", "b/2"]
    assert list_keys(prefix="b/") == ["b/1", "b/2"]


@given(values=st.dictionaries(st.text(), JSON, max_size=4))
def test_values_come_back_as_they_were(values: dict[str, Any]) -> None:
    # R-BE-157
    for key in list_keys():
        delete_key(key)
    for key, value in values.items():
        set_key_value(key, value)
    assert {key: get_key_value(key) for key in list_keys()} == values


def test_value_is_replaced_only_if_it_still_is_the_old_one() -> None:
    # R-BE-157, R-API-22
    assert compare_and_set("n", None, 1)
    assert not compare_and_set("n", None, 2)
    assert not compare_and_set("n", True, 2)
    assert compare_and_set("n", 1, {"a": 1, "b": 2})
    assert compare_and_set("n", {"b": 2, "a": 1}, 3)
    assert get_key_value("n") == 3


def test_value_is_gone_when_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # R-BE-157
    now = utc_now()
    set_key_value("short", 1, ttl=timedelta(minutes=1))
    set_key_value("long", 1)
    assert compare_and_set("short", 1, 2)
    monkeypatch.setattr("tenuto.backend.kv_store.utc_now", lambda: now + timedelta(seconds=59))
    assert list_keys() == ["long", "short"]
    monkeypatch.setattr("tenuto.backend.kv_store.utc_now", lambda: now + timedelta(seconds=61))
    assert list_keys() == ["long"]
    with pytest.raises(ValueError, match="No value found"):
        get_key_value("short")


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        ("x" * 10_001, ValueError, "'k' has 10003 bytes, and 10000 are the limit"),
        (object(), TypeError, "cannot be written as JSON"),
        (float("nan"), TypeError, "cannot be written as JSON"),
    ],
)
def test_values_that_cannot_be_kept_are_refused(value: Any, error: type[Exception], text: str) -> None:
    # R-API-21, R-BE-157
    set_key_value("k", "before")
    with pytest.raises(error, match=text):
        set_key_value("k", value)
    with pytest.raises(error, match=text):
        compare_and_set("k", "before", value)
    assert get_key_value("k") == "before"


def test_key_that_is_no_text_is_refused() -> None:
    with pytest.raises(TypeError, match="A key is a text, not 5"):
        set_key_value(5, 1)  # type: ignore[arg-type]  # that it is refused is the point


def test_store_is_for_its_user_only(tenuto_home: Path) -> None:
    set_key_value("k", 1)
    path = tenuto_home / "key_values.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(tenuto_home.stat().st_mode) == 0o700


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1', '{"format": 9, "keys": {}}', '{"keys": 1}'])
def test_damaged_store_is_an_error_and_never_overwritten(text: str, tenuto_home: Path) -> None:
    tenuto_home.mkdir()
    path = tenuto_home / "key_values.json"
    path.write_text(text)
    with pytest.raises(KeyValueStoreDamaged, match="Put a copy of it back, or remove it"):
        get_key_value("k")
    with pytest.raises(KeyValueStoreDamaged):
        set_key_value("k", 1)
    assert path.read_text() == text


def test_failed_write_leaves_the_old_values(monkeypatch: pytest.MonkeyPatch, tenuto_home: Path) -> None:
    # R-BE-157: atomic
    set_key_value("k", "old")

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(OSError, match="No space left"):
            set_key_value("k", "new")
    assert get_key_value("k") == "old"
    assert sorted(os.listdir(tenuto_home)) == ["key_values.json", "key_values.lock"]


COUNT = """
import sys
from tenuto.backend import compare_and_set, get_key_value, set_key_value

who, times = sys.argv[1], int(sys.argv[2])
for number in range(times):
    set_key_value(f"{who}-{number}", number)
    while True:
        count = get_key_value("count", default=None)
        if compare_and_set("count", count, (count or 0) + 1):
            break
"""


def test_two_processes_at_once_lose_nothing(tenuto_home: Path) -> None:
    # R-BE-157: locked
    times = 60
    processes = [
        subprocess.Popen([sys.executable, "-c", COUNT, who, str(times)], stderr=subprocess.PIPE, text=True)
        for who in ("a", "b")
    ]
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert get_key_value("count") == 2 * times
    assert len(list_keys()) == 2 * times + 1
    assert json.loads((tenuto_home / "key_values.json").read_text())["format"] == 1


def test_tasks_read_and_write_it_in_local_runs() -> None:
    # R-ART-2
    @task
    def remember(value: int) -> str:
        return set_key_value("seen", value)

    @task
    def recall() -> Any:
        return get_key_value("seen")

    with Flow("memory") as flow:
        seen = recall(upstream_tasks=[remember(7)])
    assert flow.run().result[seen].result == 7
