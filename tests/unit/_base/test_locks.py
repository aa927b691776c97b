"""Locks between threads and processes."""

import threading
from pathlib import Path

import pytest

from tenuto._base.locks import file_lock


def test_one_holder_at_a_time_also_among_threads(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    inside: list[str] = []

    def enter() -> None:
        with file_lock(path):
            inside.append("other")

    with file_lock(path):
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join(0.05)
        inside.append("first")
    thread.join()
    assert inside == ["first", "other"]


def test_an_error_lets_go_of_the_lock(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inside"), file_lock(tmp_path / "lock"):
        raise ValueError("inside")
    with file_lock(tmp_path / "lock"):
        assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
