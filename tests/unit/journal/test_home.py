from pathlib import Path

import pytest

from tenuto._base.ids import new_flow_run_id
from tenuto.journal.event import Event, Kind
from tenuto.journal.home import (
    AmbiguousRun,
    Home,
    RunNotFound,
    is_alive,
    newest_journal,
    read_header,
    uuid7_milliseconds,
)
from tests.unit.journal.runs import DAY, NOW, dead_header, header, home, record, run_id, state

__all__ = ["home"]


def test_nothing_is_made_by_looking(home: Home) -> None:
    assert home.run_ids() == []
    assert home.objects_get("0" * 64) is None
    with pytest.raises(RunNotFound):
        home.find_run("last")
    assert not home.path.exists()


def test_an_object_comes_back_by_its_sha256(home: Home) -> None:
    digest = home.objects_put(b"graph")

    assert home.objects_get(digest) == b"graph"
    assert (home.path / "objects" / digest[:2] / digest[2:]).read_bytes() == b"graph"
    assert home.objects_put(b"graph") == digest


def test_a_damaged_object_is_none(home: Home) -> None:
    digest = home.objects_put(b"graph")
    (home.path / "objects" / digest[:2] / digest[2:]).write_bytes(b"other")

    assert home.objects_get(digest) is None


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "g" * 64, "A" * 64])
def test_only_a_sha256_names_an_object(home: Home, name: str) -> None:  # S-13
    assert home.objects_get(name) is None


@pytest.mark.parametrize("chosen", ["../../x", "mine", "a/b", "", "\ud800", "x" * 5000])
def test_an_id_of_the_users_own_never_leads_out_of_the_folder(home: Home, chosen: str) -> None:  # S-13
    folder = home.run_folder(chosen)

    assert folder.parent == home.runs
    assert folder != home.run_folder(chosen + "x")
    folder.mkdir(parents=True)


def test_runs_are_listed_newest_first(home: Home) -> None:
    ids = [record(home, made=NOW + number) for number in (2, 0, 1)]

    assert home.run_ids() == [ids[0], ids[2], ids[1]]


def test_runs_with_ids_of_their_own_are_found_by_them(home: Home) -> None:
    folder = home.run_folder("mine")
    made = record(home, state("Success"))
    (home.run_folder(made)).rename(folder)
    path = folder / "1.journal"
    path.write_bytes(path.read_bytes())

    assert home.run_ids() == [made]


def test_dot_files_are_no_runs(home: Home) -> None:
    made = record(home)
    (home.runs / ".kept").mkdir()
    (home.runs / ".gone-x").mkdir()

    assert home.run_ids() == [made]


def test_the_newest_epoch_counts(home: Home) -> None:
    made = record(home, state("Failed"))
    record(home, state("Success"), epoch=2)
    record(home, state("Success"), epoch=10)

    path = newest_journal(home.run_folder(made))

    assert path is not None
    assert path.name == "10.journal"
    found = read_header(home.run_folder(made))
    assert found is not None
    assert found.flow == "sums"


# Finding a run


def test_a_run_is_found_by_id_prefix_name_and_last(home: Home) -> None:
    old = record(home, made=NOW - DAY, first=dead_header(name="old-name"))
    new = record(home, made=NOW, first=dead_header(name="new-name"))

    assert home.find_run(old) == old
    assert home.find_run(old.upper()) == old
    assert home.find_run(old[:9]) == old
    assert home.find_run("old-name") == old
    assert home.find_run("last") == new
    assert home.find_run(f" {new} ") == new


def test_a_name_means_its_newest_run(home: Home) -> None:
    record(home, made=NOW - DAY)
    new = record(home, made=NOW)

    assert home.find_run("amber-otter") == new


def test_a_prefix_of_several_runs_is_refused_with_their_ids(home: Home) -> None:
    ids = [record(home, made=NOW, number=number) for number in range(3)]

    with pytest.raises(AmbiguousRun, match="Give more characters") as error:
        home.find_run(ids[0][:9])

    assert set(error.value.run_ids) == set(ids)


def test_less_than_four_characters_are_no_prefix(home: Home) -> None:
    made = record(home)

    with pytest.raises(RunNotFound):
        home.find_run(made[:3])


def test_what_is_not_there_is_told_with_what_comes_near(home: Home) -> None:
    record(home)

    with pytest.raises(RunNotFound, match=r"Did you mean 'amber-otter'\?.*tenuto history"):
        home.find_run("amber-oter")
    with pytest.raises(RunNotFound, match="No run 'zzz' is recorded here. See"):
        home.find_run("zzz")


def test_runs_of_one_flow_only(home: Home) -> None:
    sums = record(home, made=NOW - DAY)
    other = record(home, made=NOW, first=dead_header(flow="other"))

    assert home.find_run("last", flow="sums") == sums
    assert home.find_run("last") == other
    with pytest.raises(RunNotFound):
        home.find_run(other, flow="sums")


def test_a_folder_without_a_record_does_no_harm(home: Home) -> None:
    made = record(home, made=NOW - DAY)
    home.run_folder(run_id(NOW)).mkdir()
    damaged = home.run_folder(run_id(NOW + 1))
    damaged.mkdir()
    (damaged / "1.journal").write_bytes(b"rubbish")

    assert home.find_run("amber-otter") == made
    assert home.find_run("last") == made


# Live or dead


def test_this_process_is_alive_and_one_of_another_start_is_not() -> None:
    assert is_alive(header())
    assert not is_alive(dead_header())
    assert not is_alive(header(boot_id="another boot"))
    assert not is_alive(header(pid=2**22 + 1))


def test_a_process_of_another_machine_is_not_judged() -> None:  # From here nobody can tell.
    assert is_alive(header(host="another machine", start_ticks=1))


def test_the_time_of_an_id_is_read_only_from_version_7() -> None:
    assert uuid7_milliseconds(run_id(NOW)) == int(NOW * 1000)
    assert uuid7_milliseconds(new_flow_run_id()) is not None
    assert uuid7_milliseconds("00000000-0000-4000-8000-000000000000") is None
    assert uuid7_milliseconds("id-abc") is None


def test_events_of_the_header_are_read_from_the_first_line_only(home: Home, tmp_path: Path) -> None:
    made = record(home, Event(kind=Kind.NOTE, message="x" * 100_000))
    path = home.run_folder(made) / "1.journal"
    path.write_bytes(path.read_bytes()[:-50_000])

    assert read_header(home.run_folder(made)) is not None
