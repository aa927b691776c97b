"""Rates and times left, by a clock that is handed in."""

import pytest

from tenuto._base.progress import Pace, progress_parts, rate_text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(12345.0, "12,345/s"), (99.6, "100/s"), (4.21, "4.2/s"), (1.0, "1.0/s"), (0.5, "30/min"),
     (0.02, "1.2/min"), (0.001, "3.6/h"), (0.0001, "0.4/h")],
)  # fmt: skip
def test_rate_is_told_in_a_unit_to_think_of(rate: float, text: str) -> None:
    assert rate_text(rate) == text


def test_progress_is_told_in_parts() -> None:
    assert progress_parts(0, 500, failed=0, rate=None) == ["0 of 500"]
    assert progress_parts(1200, 5000, failed=3, rate=4.0) == [
        "1,200 of 5,000",
        "3 failed",
        "4.0/s",
        "15 min 50 s left",
    ]
    assert progress_parts(5, 5, failed=0, rate=4.0) == ["5 of 5", "4.0/s"]


def test_less_than_a_second_is_not_no_time() -> None:
    assert progress_parts(9, 10, failed=0, rate=4.0)[-1] == "1 s left"


def test_nothing_is_known_at_first() -> None:
    pace = Pace(100.0)
    assert pace.rate(100.0) is None
    assert pace.rate(130.0) is None
    pace.see(130.0, 3, 3)
    assert pace.rate(130.0) == pytest.approx(0.1)


def test_rate_is_that_of_the_last_half_minute() -> None:
    pace = Pace(0.0)
    for second in range(1, 101):
        pace.see(second, second, second)
    for second in range(101, 201):
        pace.see(second, 100 + 4 * (second - 100), 100 + 4 * (second - 100))
    assert pace.rate(200.0) == pytest.approx(4.0)


def test_slow_parts_count_for_longer() -> None:
    pace = Pace(0.0)
    for number in range(1, 21):
        pace.see(60.0 * number, number, number)
    assert pace.rate(1200.0) == pytest.approx(1 / 60)
    # While the next one is being worked on, the rate falls slowly; it is not lost.
    assert pace.rate(1230.0) == pytest.approx(10 / 630, rel=0.1)


def test_parts_that_cost_no_work_distort_nothing() -> None:
    pace = Pace(0.0)
    for second in range(1, 11):  # taken over from an earlier run
        pace.see(second, 1000 * second, 0)
    assert pace.rate(10.0) is None
    for second in range(11, 16):
        pace.see(second, 10_000 + 2 * (second - 10), 2 * (second - 10))
    assert pace.rate(15.0) == pytest.approx(2.0)


def test_long_work_is_followed_with_little_memory() -> None:
    pace = Pace(0.0)
    for number in range(1, 100_000):
        pace.see(number * 0.2, number, number)
    assert len(pace._seen) < 200
