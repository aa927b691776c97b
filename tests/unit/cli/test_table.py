import pytest

from tenuto.cli.display import Display
from tenuto.cli.states import chip_of, known_state, luminance
from tenuto.cli.table import Cell, limits_for, print_for_terminal, print_table
from tenuto.engine.state import State


def test_a_piped_table_is_plain_columns(capsys: pytest.CaptureFixture[str]) -> None:  # R-CLI-6
    rows = [[Cell("amber-otter"), Cell("sums"), Cell("")], [Cell("x"), Cell("a longer name"), Cell("yes")]]
    print_table(Display(), ["name", "flow", "resumable"], rows)
    assert capsys.readouterr().out.splitlines() == [
        "NAME         FLOW           RESUMABLE",
        "amber-otter  sums",
        "x            a longer name  yes",
    ]


def test_a_table_may_be_without_headers(capsys: pytest.CaptureFixture[str]) -> None:  # R-CLI-5
    print_table(Display(), ["name"], [[Cell("x")]], with_headers=False)
    assert capsys.readouterr().out == "x\n"


def test_cells_hold_one_line_whatever_is_in_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(Display(), ["name"], [[Cell("a\nb\x1b[31m")]], with_headers=False)
    assert capsys.readouterr().out == "a\\nb\\x1b[31m\n"


def test_names_give_way_when_the_terminal_is_narrow() -> None:  # R-CLI-5
    rows = [[Cell("n" * 60, may_be_cut=True), Cell("f" * 30, may_be_cut=True), Cell("Success")]]
    widths = [[60, 30, 7]]
    limits = limits_for(widths, ["name", "flow", "state"], rows, 80)
    assert sum(limits) + 9 <= 80
    assert limits[2] == 7
    assert limits_for(widths, ["name", "flow", "state"], rows, 200) == [60, 30, 7]
    assert limits_for(widths, ["name", "flow", "state"], rows, 10) == [15, 15, 7]


def test_names_stay_readable_where_even_cut_ones_leave_no_room(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    row = [Cell("graceful-panda", may_be_cut=True), Cell("Success", chip="#008000"), Cell("i" * 36)]
    print_for_terminal(Display(), ["name", "state", "id"], [row], with_headers=True)
    assert capsys.readouterr().out.splitlines()[-1].split() == ["graceful-panda", "Success", "i" * 36]


@pytest.mark.parametrize(
    "name", [cls.__name__ for cls in State.children() if cls.__module__.startswith("tenuto")]
)
def test_white_can_be_read_on_every_chip(name: str) -> None:
    colour = chip_of(name)
    assert luminance([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) < 0.183


def test_a_state_of_a_later_version_has_a_chip_too() -> None:
    assert chip_of("Hovering") == "#696969"


def test_names_of_states_and_causes_are_known_in_any_case() -> None:
    assert known_state("failed") == (True, "")
    assert known_state("Crashed") == (True, "")
    assert known_state("sucess") == (False, "Success")
    assert known_state("zzzzzz") == (False, "")
