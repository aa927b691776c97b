"""
Wall time and instants: what the clocks of a zone show, and when they show it.

When clocks go forward, some wall times do not exist (a gap); when they go back, some come twice (a fold).
Datetimes are standard ones, whose `fold` is 1 for the second of two. Two of them with one zone compare by
wall time: wherever order matters they are compared in UTC.
"""

from __future__ import annotations

import difflib
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

__all__ = ["first_after_gap", "instant", "is_in_gap", "resolved", "second_of_fold", "standard", "zone_named"]

_SECOND = timedelta(seconds=1)


def zone_named(name: str) -> tzinfo:
    """
    Return the zone of a name such as `Europe/Berlin`.

    Raises:
        ValueError: if there is none, with the names that come near.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        known = {zone.lower(): zone for zone in available_timezones()}
        cities = {zone.rpartition("/")[2]: zone for zone in known}
        wanted = name.lower().replace(" ", "_")
        near = difflib.get_close_matches(wanted, [*known, *cities], n=1, cutoff=0.7)
        hint = f" Did you mean {known[cities.get(near[0], near[0])]!r}?" if near else ""
        raise ValueError(f"There is no time zone {name!r}.{hint}") from error


def instant(moment: datetime) -> datetime:
    """Return an aware datetime in UTC: by it times are compared."""
    return moment.astimezone(UTC)


def standard(moment: datetime) -> datetime:
    """Return an aware datetime of any make (pendulum, pytz) as a standard one with a standard zone."""
    return datetime.combine(moment.date(), moment.time(), _standard_zone(moment)).replace(fold=moment.fold)


def _standard_zone(moment: datetime) -> tzinfo | None:
    zone = moment.tzinfo
    if zone is None or isinstance(zone, timezone) or type(zone) is ZoneInfo:
        return zone
    # `key` in zoneinfo and pendulum 3, `zone` in pytz, `name` in pendulum 2, a path in dateutil.
    for attribute in ("key", "zone", "name", "_filename"):
        name = getattr(zone, attribute, None)
        if isinstance(name, str):
            try:
                return ZoneInfo(name.rpartition("zoneinfo/")[2])
            except (ZoneInfoNotFoundError, ValueError):
                pass  # Not the name of a zone: an offset, or a zone of somebody's own.
    if type(zone).__module__.partition(".")[0] in ("pytz", "pendulum"):
        return timezone(moment.utcoffset() or timedelta(0))
    return zone


def resolved(wall: datetime, zone: tzinfo) -> datetime:
    """Return when a wall time (naive) is: the first of two; one in a gap is moved forward by the gap."""
    return instant(wall.replace(tzinfo=zone, fold=0)).astimezone(zone)


def is_in_gap(wall: datetime, zone: tzinfo) -> bool:
    """Say whether clocks never show a wall time (naive)."""
    return resolved(wall, zone).replace(tzinfo=None, fold=0) != wall


def second_of_fold(wall: datetime, zone: tzinfo) -> datetime | None:
    """Return when clocks show a wall time (naive) for the second time; None if they show it once or never."""
    first, second = (wall.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    return second if instant(second) > instant(first) else None


def first_after_gap(wall: datetime, zone: tzinfo) -> datetime | None:
    """
    Return the moment at which clocks go forward past a wall time (naive) that they never show.

    None where they skip a whole day or more, as at the date line: that day has no such moment.
    """
    before, after = (instant(wall.replace(tzinfo=zone, fold=fold)) for fold in (1, 0))
    if after - before >= timedelta(days=1):
        return None
    offset = after.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = before + (after - before) // _SECOND // 2 * _SECOND
        if middle.astimezone(zone).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after.astimezone(zone)
