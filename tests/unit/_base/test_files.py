"""Files appear whole or not at all, whatever happens while they are written."""

import errno
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tenuto import context
from tenuto._base import files
from tenuto._base.files import (
    ensure_private_dir,
    is_storage_fault,
    read_sidecar,
    remove_sidecar,
    sidecar_path,
    write_atomic,
    write_with_sidecar,
)

OLD, NEW = b"old content", b"new content, which is longer"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture
def umask() -> Iterator[Callable[[int], None]]:
    before = os.umask(0o022)
    yield lambda value: (os.umask(value), None)[1]
    os.umask(before)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "folder" / "target.bin"
    write_with_sidecar(path, [OLD], {}, private=False, fsync=True)
    return path


def test_a_file_holds_the_chunks_one_after_the_other(tmp_path: Path) -> None:
    chunks: list[bytes | bytearray | memoryview] = [
        b"a",
        bytearray(b"bc"),
        memoryview(b"def"),
        b"",
        memoryview(b"\1\0\2\0").cast("H"),
    ]
    checksum = write_atomic(tmp_path / "x" / "y" / "file", iter(chunks), private=False, fsync=True)
    data = (tmp_path / "x" / "y" / "file").read_bytes()
    assert data == b"abcdef\1\0\2\0"
    assert checksum == (hashlib.sha256(data).hexdigest(), len(data))
    assert names(tmp_path / "x" / "y") == ["file"]


def test_a_relative_path_is_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_atomic("file", [b"1"], private=False, fsync=True)
    write_atomic("a/file", [b"2"], private=False, fsync=False)
    assert (tmp_path / "file").read_bytes() + (tmp_path / "a" / "file").read_bytes() == b"12"


@pytest.mark.parametrize("mode", [0o640, 0o600, 0o755])
def test_a_mode_that_is_given_holds_whatever_the_umask(
    tmp_path: Path, umask: Callable[[int], None], mode: int
) -> None:
    umask(0o077)
    write_atomic(tmp_path / "a", [b"a"], private=False, fsync=True, mode=mode)
    assert (tmp_path / "a").stat().st_mode & 0o777 == mode


def test_private_files_and_folders_are_for_this_user_only(
    tmp_path: Path, umask: Callable[[int], None]
) -> None:
    for number, value in enumerate((0o000, 0o777, 0o022)):
        umask(value)
        folder = tmp_path / f"home{number}" / "results"
        write_with_sidecar(folder / "file", [b"x"], {}, private=True, fsync=False)
        assert [mode(p) for p in (folder.parent, folder)] == [0o700, 0o700]
        assert {mode(p) & 0o077 for p in folder.iterdir()} == {0}


def test_private_folders_are_for_this_user_only(tmp_path: Path, umask: Callable[[int], None]) -> None:
    umask(0o777)
    ensure_private_dir(tmp_path / "a" / "b")
    ensure_private_dir(tmp_path / "a" / "b", fsync=True)
    assert (mode(tmp_path / "a"), mode(tmp_path / "a" / "b")) == (0o700, 0o700)
    existing = tmp_path / "existing"
    existing.mkdir()
    existing.chmod(0o755)
    ensure_private_dir(existing)
    assert mode(existing) == 0o755


def test_other_files_and_folders_follow_the_umask(tmp_path: Path, umask: Callable[[int], None]) -> None:
    umask(0o027)
    write_atomic(tmp_path / "shared" / "file", [b"x"], private=False, fsync=False)
    assert (mode(tmp_path / "shared"), mode(tmp_path / "shared" / "file")) == (0o750, 0o640)


# reliability 3.6: the sidecar
def test_a_sidecar_says_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "file.pickle"
    write_with_sidecar(path, [NEW], {"serializer": "pickle", "run": "r"}, private=False, fsync=True)
    assert sidecar_path(path) == str(tmp_path / ".file.pickle.meta.json")
    expected = {
        "serializer": "pickle",
        "run": "r",
        "length": len(NEW),
        "sha256": hashlib.sha256(NEW).hexdigest(),
    }
    assert read_sidecar(path) == expected
    assert json.loads(Path(sidecar_path(path)).read_bytes()) == expected
    remove_sidecar(path)
    remove_sidecar(path)
    assert read_sidecar(path) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"length": "1", "sha256": ""}', b"\xff"])
def test_a_damaged_sidecar_is_no_sidecar(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".file.meta.json").write_bytes(content)
    with pytest.raises(ValueError, match="its sidecar"):
        read_sidecar(tmp_path / "file")


def test_a_very_long_name_gets_no_sidecar(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 250)
    assert write_with_sidecar(path, [NEW], {}, private=False, fsync=False)[1] == len(NEW)
    assert path.read_bytes() == NEW
    assert read_sidecar(path) is None
    assert names(tmp_path) == [path.name]


# reliability 3.6: temporary names
def test_a_temporary_file_is_named_after_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    replace = os.replace

    def watched(source: str, destination: str) -> None:
        seen.append(os.path.basename(source))
        replace(source, destination)

    monkeypatch.setattr(os, "replace", watched)
    with context(flow_run_id="0190-ab/../c", flow_run_epoch=3):
        write_atomic(tmp_path / "file", [b"x"], private=False, fsync=False)
    write_atomic(tmp_path / "file", [b"x"], private=False, fsync=False)
    first, second = seen
    assert first.startswith(".tmp-0190-abc-3-")
    assert second.startswith(".tmp-none-1-")
    assert len(first.removeprefix(".tmp-0190-abc-3-")) == 16


# reliability 3.6: the order of the steps
def test_the_content_is_on_the_disk_before_the_name_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_with_sidecar(path, [OLD], {}, private=False, fsync=True)
    steps: list[str] = []

    def watch(name: str) -> None:
        original = getattr(os, name)

        def watched(*args: Any) -> Any:
            target = os.readlink(f"/proc/self/fd/{args[0]}") if isinstance(args[0], int) else str(args[-1])
            kind = "folder" if target == str(tmp_path) else "sidecar" if "meta.json" in target else "file"
            kind = "temporary" if os.path.basename(target).startswith(".tmp-") else kind
            steps.append(f"{name} {kind}")
            return original(*args)

        monkeypatch.setattr(os, name, watched)

    if not os.path.exists("/proc/self/fd"):
        pytest.skip("the steps are watched through /proc")
    for name in ("write", "fsync", "replace", "unlink"):
        watch(name)
    write_with_sidecar(path, [NEW], {}, private=False, fsync=True)
    assert steps == [
        "write temporary",
        "fsync temporary",
        "unlink sidecar",  # the stale one: it speaks of the old content
        "replace file",
        "fsync folder",
        "write temporary",
        "fsync temporary",
        "replace sidecar",
        "fsync folder",
    ]
    steps.clear()
    write_with_sidecar(path, [NEW], {}, private=False, fsync=False)
    assert not [step for step in steps if step.startswith("fsync")]


def failing(error: int, after: int = 0) -> Callable[..., Any]:
    """Return a stand-in for a system call that works `after` times on the real thing and then fails."""
    calls = 0

    def call(original: Callable[..., Any]) -> Callable[..., Any]:
        def failing_call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > after:
                raise OSError(error, os.strerror(error))
            return original(*args, **kwargs)

        return failing_call

    return call


# I-12, I-17: a full, broken or read-only disk
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
@pytest.mark.parametrize("name", ["open", "write", "fsync", "fstat", "replace"])
def test_a_fault_leaves_the_old_file_and_nothing_else(
    target: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, name, failing(error)(getattr(os, name)))
        with pytest.raises(OSError, match=os.strerror(error)) as caught:
            write_with_sidecar(target, [NEW], {}, private=False, fsync=True)
    assert target.read_bytes() == OLD
    assert not [n for n in names(target.parent) if n.startswith(".tmp-")]
    assert is_storage_fault(caught.value) == (error != errno.EROFS)
    sidecar = read_sidecar(target)
    assert sidecar is None or sidecar["length"] == len(OLD)


# I-12
@pytest.mark.parametrize(("name", "after"), [("write", 1), ("fsync", 2), ("replace", 1)])
def test_a_fault_at_the_sidecar_leaves_a_complete_file(
    target: Path, monkeypatch: pytest.MonkeyPatch, name: str, after: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, name, failing(errno.ENOSPC, after)(getattr(os, name)))
        with pytest.raises(OSError, match="No space"):
            write_with_sidecar(target, [NEW], {}, private=False, fsync=True)
    assert target.read_bytes() == NEW
    assert names(target.parent) == [target.name]


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
    write_atomic(tmp_path / "file", [NEW], private=False, fsync=True)
    assert (tmp_path / "file").read_bytes() == NEW


def test_a_file_of_the_wrong_length_is_not_put_in_place(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "write", lambda fd, data: len(data))  # claims, and does not
    with pytest.raises(OSError, match="28 bytes were written and 0 are there"):
        write_atomic(target, [NEW], private=False, fsync=False)
    assert target.read_bytes() == OLD


def test_an_error_of_the_content_leaves_nothing(target: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield NEW
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomic(target, chunks(), private=False, fsync=False)
    assert target.read_bytes() == OLD
    assert not [n for n in names(target.parent) if n.startswith(".tmp-")]


def test_a_file_in_the_place_of_a_folder_is_said_to_be_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OLD)
    with pytest.raises(NotADirectoryError, match="file"):
        write_atomic(tmp_path / "file" / "x", [NEW], private=False, fsync=True)
    with pytest.raises(NotADirectoryError):
        ensure_private_dir(tmp_path / "file")
    assert read_sidecar(tmp_path / "file" / "x") is None
    assert (tmp_path / "file").read_bytes() == OLD


def test_a_folder_in_the_place_of_the_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "there" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="there"):
        write_atomic(tmp_path / "there", [NEW], private=False, fsync=True)
    assert names(tmp_path) == ["there"]


def test_a_read_only_folder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o500)
    if os.geteuid() == 0:  # root may write anywhere: let the system say what it would say to others
        monkeypatch.setattr(os, "open", failing(errno.EACCES, after=1)(os.open))
    with pytest.raises(PermissionError):
        write_atomic(folder / "file", [NEW], private=False, fsync=True)
    assert names(folder) == []
    folder.chmod(0o700)


# S-13
def test_a_private_folder_is_not_reached_through_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "home").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        write_atomic(tmp_path / "home" / "file", [NEW], private=True, fsync=False)
    assert names(tmp_path / "elsewhere") == []


# S-13
def test_a_symbolic_link_in_the_file_s_place_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(OLD)
    (tmp_path / "file").symlink_to(tmp_path / "victim")
    write_atomic(tmp_path / "file", [NEW], private=False, fsync=False)
    assert (tmp_path / "victim").read_bytes() == OLD
    assert (tmp_path / "file").read_bytes() == NEW


def test_a_sidecar_of_a_file_that_was_replaced_meanwhile_is_taken_back(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two writers: the slower one's sidecar must not make the faster one's file look damaged."""
    replace = os.replace

    def overtaken(source: str, destination: str) -> None:
        replace(source, destination)
        if destination == str(target):
            monkeypatch.setattr(os, "replace", replace)
            write_with_sidecar(target, [b"of another"], {}, private=False, fsync=False)

    monkeypatch.setattr(os, "replace", overtaken)
    write_with_sidecar(target, [NEW], {}, private=False, fsync=False)
    assert target.read_bytes() == b"of another"
    assert read_sidecar(target) is None


def test_readers_see_one_of_the_written_contents(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [bytes([letter]) * 5000 for letter in b"abcd"]
    write_atomic(path, [contents[0]], private=False, fsync=False)
    done = threading.Event()

    def write(content: bytes) -> None:
        while not done.is_set():
            write_with_sidecar(path, [content[:1000], content[1000:]], {}, private=False, fsync=False)

    writers = [threading.Thread(target=write, args=(content,)) for content in contents]
    for writer in writers:
        writer.start()
    try:
        seen = {path.read_bytes() for _ in range(300)}
    finally:
        done.set()
        for writer in writers:
            writer.join()
    assert seen <= set(contents)


KILLED = """
import os, signal, sys
from tenuto._base.files import write_with_sidecar

call, after, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
original = getattr(os, call)
calls = 0

def dying(*args, **kwargs):
    global calls
    calls += 1
    if calls > after:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **kwargs)

setattr(os, call, dying)
write_with_sidecar(path, [b"new content", b", which is longer"], {}, private=False, fsync=True)
print("not killed")
"""


# I-12: kill -9 at every step
@pytest.mark.parametrize(
    ("call", "after", "content"),
    [
        ("write", 0, OLD),  # the temporary file is empty
        ("write", 1, OLD),  # … is half written
        ("fsync", 0, OLD),  # … is complete
        ("replace", 0, OLD),  # the stale sidecar is gone
        ("fsync", 1, NEW),  # the file is in place
        ("write", 2, NEW),  # before its sidecar
        ("replace", 1, NEW),
        ("fsync", 3, NEW),  # after it
    ],
)
def test_a_killed_writer_leaves_the_old_file_or_the_new_one(
    target: Path, call: str, after: int, content: bytes
) -> None:
    command = [sys.executable, "-c", KILLED, call, str(after), str(target)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stdout + process.stderr
    assert target.read_bytes() == content
    sidecar = read_sidecar(target)
    assert sidecar is None or (sidecar["length"], sidecar["sha256"]) == (
        len(content),
        hashlib.sha256(content).hexdigest(),
    )
    assert {n for n in names(target.parent) if not n.startswith(".")} == {target.name}


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (OSError(errno.ENOSPC, ""), True),
        (OSError(errno.EIO, ""), True),
        (OSError(errno.EDQUOT, ""), True),
        (FileNotFoundError(errno.ENOENT, ""), False),
        (ValueError(), False),
        (None, False),
    ],
    ids=repr,
)
def test_storage_faults_are_told_from_other_errors(error: BaseException | None, answer: bool) -> None:
    assert is_storage_fault(error) is answer


def test_all_lists_the_public_names() -> None:
    public = {
        name
        for name, value in vars(files).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == files.__name__
    }
    assert public | {"TEMPORARY_PREFIX"} == set(files.__all__)
