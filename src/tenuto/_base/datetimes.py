"""Times: aware and in UTC inside, made so at the door. Delays of retries."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

__all__ = ["ensure_aware", "from_microseconds", "microseconds", "parse_datetime", "retry_delay", "utc_now"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def utc_now() -> datetime:
    """Return the moment as an aware datetime in UTC."""
    return datetime.now(UTC)


def ensure_aware(dt: datetime) -> datetime:
    """Return `dt` with a zone; one without is taken as UTC."""
    return dt if dt.tzinfo is not None else dt.replace(tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """Return a moment as records carry it: microseconds since 1970 UTC."""
    return (ensure_aware(moment) - _EPOCH) // _MICROSECOND


def from_microseconds(count: int) -> datetime:
    """Return the moment, in UTC, of microseconds since 1970 UTC."""
    return _EPOCH + count * _MICROSECOND


def parse_datetime(text: str) -> datetime:
    """
    Return the aware datetime that `text` names; a text without a zone is taken as UTC.

    Raises:
        ValueError: if it names none.
    """
    try:
        return ensure_aware(datetime.fromisoformat(text))
    except ValueError:
        pass  # not ISO 8601: the slower parser below knows many more forms
    from dateutil import parser

    try:
        return ensure_aware(parser.parse(text))
    except (parser.ParserError, OverflowError) as error:
        raise ValueError(f"{text!r} is not a date and time.") from error


@dataclass(frozen=True)
class RetryDelay:
    """What `retry_delay` returns; a class so that it can be pickled with its task."""

    interval: timedelta
    exponential_backoff: bool
    max_delay: timedelta

    def __call__(self, run_count: int) -> timedelta:
        """Return the wait after run number `run_count` (1, 2, …)."""
        if not self.exponential_backoff:
            return min(self.interval, self.max_delay)
        if not self.interval:
            return self.interval
        # Beyond 2**40 intervals any cap is reached; the bound keeps the product inside timedelta's range.
        doublings = min(max(run_count - 2, 0), 40)
        seconds = self.interval.total_seconds() * 2**doublings
        return min(timedelta(seconds=min(seconds, self.max_delay.total_seconds())), self.max_delay)


def retry_delay(
    interval: timedelta | None = None,
    *args: object,
    exponential_backoff: bool = False,
    max_delay: timedelta = timedelta(hours=2),
    **kwargs: float,
) -> RetryDelay:
    """
    Return a function run number -> wait, to be given as a task's `retry_delay`.

    Args:
        interval: the wait; or give the arguments of `timedelta` as keywords (`minutes=1`).
        exponential_backoff: double the wait from the third run on: 1, 1, 2, 4, 8 … intervals.
        max_delay: bounds each single wait.

    Raises:
        ValueError: if both or none of `interval` and timedelta keywords are given, or the wait is negative.
        TypeError: if `interval` is no timedelta.
    """
    if args:
        raise TypeError("retry_delay takes one interval; give its options as keywords.")
    if (interval is None) == (not kwargs):
        raise ValueError("Give either `interval` or keywords of timedelta, such as `minutes=1`.")
    wait = interval if interval is not None else timedelta(**kwargs)
    if not isinstance(wait, timedelta):
        raise TypeError(f"`interval` must be a timedelta, not {type(wait).__name__}.")
    if wait < timedelta(0):
        raise ValueError("The delay of a retry cannot be negative.")
    return RetryDelay(wait, exponential_backoff, max_delay)
