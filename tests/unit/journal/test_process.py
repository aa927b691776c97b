import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tenuto.journal import process
from tenuto.journal.process import (
    ProcessIdentity,
    distributions_sha256,
    host_name,
    is_running,
    start_ticks,
    this_process,
)


def test_this_process_runs() -> None:
    me = this_process()

    assert me.pid == os.getpid()
    assert me.start_ticks > 0
    assert is_running(me)


def test_another_process_of_the_same_number_is_another_one() -> None:
    assert not is_running(replace(this_process(), start_ticks=this_process().start_ticks + 1))


def test_a_process_from_before_a_reboot_is_gone() -> None:
    assert not is_running(replace(this_process(), boot_id="before"))


def test_a_process_that_has_ended_is_gone_also_before_its_parent_looks() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = ProcessIdentity(host_name(), this_process().boot_id, child.pid, start_ticks(child.pid) or 0)
    assert is_running(identity)

    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # A zombie now.
    assert not is_running(identity)
    child.communicate()
    assert not is_running(identity)


def test_where_there_is_no_proc_the_time_of_creation_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    process._identity.cache_clear()
    monkeypatch.setattr(process, "boot_id", lambda: "")
    me = this_process()

    assert me.boot_id == ""
    assert me.start_ticks > 1_700_000_000_000_000
    assert is_running(me)
    assert is_running(replace(me, start_ticks=me.start_ticks + 1_900_000))  # A clock was set a little.
    assert not is_running(replace(me, start_ticks=me.start_ticks + 2_100_000))
    assert not is_running(replace(me, pid=2**22 + 1))
    process._identity.cache_clear()


def test_a_process_with_a_name_like_a_stat_line_is_read_right(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = " ".join(["S", *map(str, range(4, 53))])
    monkeypatch.setattr(Path, "read_bytes", lambda self: f"7 (a) Z 9 (b)) {fields}".encode())

    assert start_ticks(7) == 22


def test_a_fork_is_a_process_of_its_own() -> None:
    this_process()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:  # The child.
        os.write(writer, str(this_process().pid).encode())
        os._exit(0)
    os.waitpid(pid, 0)

    assert os.read(reader, 20) == str(pid).encode()
    os.close(reader)
    os.close(writer)


def test_the_digest_of_distributions_changes_with_what_is_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    distributions_sha256.cache_clear()
    before = distributions_sha256()
    (tmp_path / "new-1.0.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path), "/no/such/folder"])

    assert distributions_sha256() == before  # Once a process.
    distributions_sha256.cache_clear()
    assert distributions_sha256() != before
    distributions_sha256.cache_clear()
