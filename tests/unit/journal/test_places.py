"""Where kept results lie: what locations mean, and that nothing leads out of them."""

import os
import pickle
from pathlib import Path

import pytest

from tenuto.journal import keeper as module
from tenuto.journal.event import ResultRef
from tenuto.journal.home import Home
from tenuto.journal.keeper import Keeper
from tenuto.journal.kept import Wrong
from tenuto.journal.places import find, full_location, place_at, shown
from tenuto.journal.settings import RecordSettings
from tests.unit.journal.runs import NOW, run_id

RUN = run_id(NOW)


def make_keeper(tmp_path: Path, location: str = "") -> Keeper:
    home = Home(tmp_path / "home")
    home.path.mkdir(exist_ok=True)
    settings = RecordSettings(results_location=full_location(location), min_free_percent=0)
    return Keeper(home, RUN, 1, settings, is_open=True)


def copy_of(keeper: Keeper) -> Keeper:
    """Return the keeper as another process has it."""
    copied = pickle.loads(pickle.dumps(keeper))
    assert isinstance(copied, Keeper)
    return copied


def test_folders_and_urls_are_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/srv/someone")
    assert full_location("") == ""
    assert full_location("a b/ü") == f"file://{tmp_path}/a%20b/%C3%BC"
    assert shown(full_location("a b/ü")) == f"{tmp_path}/a b/ü"
    assert shown(full_location("~/kept")) == "/srv/someone/kept"
    assert full_location("s3://bucket/prefix/") == "s3://bucket/prefix"
    assert shown("s3://bucket/prefix") == "s3://bucket/prefix"
    assert full_location("file:///shared/kept/") == "file:///shared/kept"


@pytest.mark.parametrize(
    "location",
    [
        "",
        "..",
        "../x",
        "/etc/passwd",
        "https://host/run/x",
        "file:///kept/../../etc/passwd",
        "file:///kept/run/..",
        "file:///kept/run/",
        "s3://bucket/run/a:b",
    ],
)
def test_locations_from_a_journal_are_looked_at(location: str, tmp_path: Path) -> None:
    with pytest.raises(Wrong, match="its name is not that of a kept file"):
        find(location, tmp_path)


def test_files_of_a_users_folder_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        keeper = make_keeper(tmp_path, str(tmp_path / "shared"))
        ref = keeper.keep("a-1", -1, (1,))
        own = make_keeper(tmp_path).keep("a-1", -1, (1,))
    finally:
        os.umask(before)
    assert isinstance(ref, ResultRef)
    assert isinstance(own, ResultRef)
    [file] = (tmp_path / "shared" / RUN).iterdir()
    assert file.stat().st_mode & 0o777 == 0o640
    assert file.parent.stat().st_mode & 0o777 == 0o750
    assert (keeper.folder / "kept" / own.location).stat().st_mode & 0o777 == 0o600
    assert keeper.load(ref) == (1,)


def test_half_a_file_is_never_seen_in_a_shared_folder(tmp_path: Path) -> None:
    keeper = make_keeper(tmp_path, str(tmp_path / "shared"))
    seen: list[list[str]] = []

    class Watching:
        def __reduce__(self) -> tuple[type, tuple[str]]:
            seen.append(os.listdir(tmp_path / "shared" / RUN))
            return str, ("x",)

    ref = keeper.keep("a-1", -1, [b"x" * 1_000_000, Watching()])
    assert isinstance(ref, ResultRef)
    assert all(len(names) == 1 and names[0].startswith(".tmp-") for names in seen)
    assert seen
    assert os.listdir(tmp_path / "shared" / RUN) == [ref.location.rpartition("/")[2]]


class Bomb:
    def __reduce__(self) -> tuple[type, tuple[str]]:
        raise ValueError("boom")


def test_nothing_is_left_of_what_could_not_be_kept(tmp_path: Path) -> None:
    keeper = make_keeper(tmp_path, str(tmp_path / "shared"))
    keeper.keep("a-1", -1, [b"x" * 1_000_000, Bomb()])
    assert os.listdir(tmp_path / "shared" / RUN) == []


@pytest.mark.parametrize("location", ["", "shared"])
def test_notes_reach_all_processes_of_the_run(tmp_path: Path, location: str) -> None:
    keeper = make_keeper(tmp_path, location and str(tmp_path / location))
    one, other = copy_of(keeper), copy_of(keeper)
    ref = one.keep("a-1", -1, (1,))
    assert isinstance(ref, ResultRef)
    one.note(ref, "call")
    found = other.noted("call")
    assert found == ref
    assert other.load(ref) == (1,)
    assert other.noted("another") is None
    keeper.close()
    assert other.noted("call") is None


def test_notes_that_others_have_written_are_not_believed(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    keeper, stranger = (make_keeper(tmp_path, str(shared)) for _ in range(2))
    ours, theirs = copy_of(keeper), copy_of(stranger)
    ref = theirs.keep("a-1", -1, (1,))
    assert isinstance(ref, ResultRef)
    theirs.note(ref, "call")
    assert theirs.noted("call") == ref
    assert ours.noted("call") is None
    ours.note(ref, "call")
    [note] = [path for path in (shared / RUN).iterdir() if path.suffix == ".note"]
    note.write_bytes(note.read_bytes().replace(b'"pickle"', b'"pickl3"'))
    assert ours.noted("call") is None


def test_on_another_machine_the_home_folder_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = copy_of(make_keeper(tmp_path))
    monkeypatch.setattr(module, "host_name", lambda: "another")
    inline = copied.keep("a-1", -1, 1)
    assert isinstance(inline, ResultRef)
    copied.note(inline, "call")
    assert copied.noted("call") is None
    outcome = copied.keep("a-1", -1, (1,))
    assert not isinstance(outcome, ResultRef)
    assert not (tmp_path / "home" / "runs").exists()


def test_all_but_some_goes(tmp_path: Path) -> None:
    place = place_at((tmp_path / "run").as_uri())
    assert place.clear(set())
    place.prepare(make=True)
    for name in ("a", "b", "c"):
        place.write(name, b"x")
    assert not place.clear({"b"})
    assert place.names() == ["b"]
    assert place.clear(set())
    assert not (tmp_path / "run").exists()
