from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto._base.texts import duration_text
from tenuto.cli.texts import age_text, middle_cut, printable, seconds_text, size_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (3600, "1 h"),
        (349_200, "4 d 1 h"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.0002, "< 1 ms"), (0.25, "250 ms"), (1.26, "1.3 s"), (61, "1 min 1 s")],
)
def test_measured_durations_are_shown_in_the_unit_that_suits_them(seconds: float | None, text: str) -> None:
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "just now"), (0, "just now"), (12, "12 s ago"), (200, "3 min ago"), (7500, "2 h ago")],
)
def test_ages_have_one_unit_and_are_never_negative(seconds: float, text: str) -> None:  # R-CLI-5
    now = datetime(2026, 1, 5, tzinfo=UTC)
    assert age_text(int((now.timestamp() - seconds) * 1e6), now) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (12_345_678, "12.3 MB"), (5e9, "5.0 GB")]
)
def test_sizes(count: int, text: str) -> None:
    assert size_text(count) == text


def test_names_are_cut_in_the_middle() -> None:  # R-CLI-5
    assert middle_cut("a-long-name-of-a-flow", 10) == "a-lon…flow"
    assert middle_cut("short", 5) == "short"


@given(st.text(), st.integers(3, 40))
def test_what_is_cut_fits(text: str, width: int) -> None:
    assert len(middle_cut(text, width)) <= width


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, naïve", "plain text, naïve"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\u202eb", "a\\u202eb"),
        ("\udcff", "\\udcff"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_as_text(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_shown_text_is_always_one_printable_line(text: str) -> None:
    assert printable(text).isprintable()
