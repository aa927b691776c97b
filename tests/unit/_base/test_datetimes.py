"""Times are aware; delays of retries."""

import pickle
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tenuto._base.datetimes import ensure_aware, parse_datetime, utc_now
from tenuto.utilities.datetimes import retry_delay


def test_now_is_aware_and_in_utc() -> None:
    assert utc_now().tzinfo is UTC


def test_naive_times_are_taken_as_utc() -> None:
    naive = datetime(2021, 11, 6, 11, 41)  # noqa: DTZ001  # the case under test
    assert ensure_aware(naive) == datetime(2021, 11, 6, 11, 41, tzinfo=UTC)
    aware = datetime(2021, 11, 6, tzinfo=timezone(timedelta(hours=-5)))
    assert ensure_aware(aware) is aware


@pytest.mark.parametrize(
    "text", ["2020-02-02", "2020-02-02T00:00:00Z", "Feb 2 2020", "2020-02-01 19:00-05:00"]
)
def test_times_are_read_from_texts(text: str) -> None:
    assert parse_datetime(text) == datetime(2020, 2, 2, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "tomorrow-ish", "2020-13-45", "99999999999999999999"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a date and time"):
        parse_datetime(text)


def test_delay_is_the_interval_or_grows_by_doubling_up_to_the_cap() -> None:
    # R-DBG-5
    fixed = retry_delay(timedelta(minutes=1))
    assert [fixed(n) for n in (1, 2, 9)] == [timedelta(minutes=1)] * 3
    growing = retry_delay(minutes=1, exponential_backoff=True)
    assert [growing(n) / timedelta(minutes=1) for n in range(1, 10)] == [1, 1, 2, 4, 8, 16, 32, 64, 120]
    assert growing(10**9) == timedelta(hours=2)
    assert retry_delay(hours=3)(1) == timedelta(hours=2)
    assert retry_delay(days=1, exponential_backoff=True, max_delay=timedelta.max)(3) == timedelta(days=2)
    assert retry_delay(seconds=0, exponential_backoff=True)(5) == timedelta(0)


def test_delay_can_be_pickled() -> None:
    delay = retry_delay(seconds=5, exponential_backoff=True)
    assert pickle.loads(pickle.dumps(delay))(3) == timedelta(seconds=10)


def test_wrong_intervals_are_refused() -> None:
    with pytest.raises(ValueError, match="either"):
        retry_delay()
    with pytest.raises(ValueError, match="either"):
        retry_delay(timedelta(1), minutes=1)
    with pytest.raises(ValueError, match="negative"):
        retry_delay(seconds=-1)
    with pytest.raises(TypeError, match="timedelta"):
        retry_delay(5)  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(TypeError, match="keywords"):
        retry_delay(timedelta(1), True)
