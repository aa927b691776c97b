"""
Schedules to JSON and back.

What comes back is made of Tenuto's own clocks, filters and adjustments only: a description names them, and
nothing that it names is imported. Functions of the user's own are named, too, but cannot be read back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from tenuto._base.importtools import import_path
from tenuto.schedules import adjustments, filters
from tenuto.schedules.zones import zone_named
from tenuto.serialization.described import described_value

if TYPE_CHECKING:
    from dateutil.rrule import rrule, rruleset

    from tenuto.schedules.clocks import Clock
    from tenuto.schedules.schedules import Schedule

__all__ = ["datetime_from_text", "datetime_text", "schedule_from_dict", "schedule_to_dict"]

_LISTS = ["filters", "or_filters", "not_filters", "adjustments"]
# RFC 9557: the offset says which moment it is, the zone in brackets where the clocks hang.
_DATETIME = re.compile(r"([^\[]+)(?:\[(.+)\])?")


def schedule_to_dict(schedule: Schedule) -> dict[str, Any]:
    """
    Return a schedule as plain data.

    Returns:
        `type`, `clocks`, and, where there are any, `filters`, `or_filters`, `not_filters`, `adjustments`.
        What is not Tenuto's own is described by its import path.
    """
    # A class of the user's own that looks like a schedule is told apart by its name.
    described: dict[str, Any] = {"type": type(schedule).__name__}
    described["clocks"] = [_clock_to_dict(clock) for clock in getattr(schedule, "clocks", ())]
    for name in _LISTS:
        functions = getattr(schedule, name, None)
        if functions:
            described[name] = [_function_to_dict(function) for function in functions]
    return described


def schedule_from_dict(described: Mapping[str, Any]) -> Schedule:
    """
    Return the schedule that a description stands for.

    Raises:
        ValueError: if something in it is not Tenuto's own, or is wrong.
    """
    if described.get("type") != "Schedule":
        raise ValueError(f"{described.get('type')!r} is no schedule of Tenuto's own.")
    try:
        return _schedule_from_dict(described)
    except KeyError as error:
        raise ValueError(f"The description of the schedule lacks {error}.") from error
    except (AttributeError, TypeError, ArithmeticError) as error:
        # Where an object should be stands a text, or a number is beyond all times: anybody may describe one.
        raise ValueError(f"The schedule is not described as one: {error}.") from error


def _schedule_from_dict(described: Mapping[str, Any]) -> Schedule:
    from tenuto.schedules.schedules import Schedule

    clocks = [_clock_from_dict(clock) for clock in described.get("clocks", ())]
    lists = {name: [_function_from_dict(name, one) for one in described.get(name, ())] for name in _LISTS}
    return Schedule(clocks, **lists)


# ------------------------------------------------------------------------------------------------- clocks


def _clock_to_dict(clock: Clock) -> dict[str, Any]:
    from tenuto.schedules import clocks

    own: dict[type, Callable[[Any], dict[str, Any]]] = {
        clocks.IntervalClock: lambda clock: {"interval_seconds": clock.interval.total_seconds()},
        clocks.CronClock: lambda clock: {"cron": clock.cron, "day_or": clock.day_or},
        clocks.DatesClock: lambda clock: {"dates": [datetime_text(date) for date in clock.dates]},
        clocks.RRuleClock: lambda clock: _recurrence_to_dict(clock.rrule_obj),
    }
    if type(clock) not in own:
        return {"type": import_path(type(clock))}
    described = {"type": type(clock).__name__, **own[type(clock)](clock)}
    if not isinstance(clock, clocks.DatesClock):  # Whose dates are their own bounds.
        described |= {
            name: None if date is None else datetime_text(date)
            for name, date in (("start_date", clock.start_date), ("end_date", clock.end_date))
        }
    defaults = {name: described_value(value) for name, value in clock.parameter_defaults.items()}
    return {**described, "parameter_defaults": defaults, "labels": clock.labels}


def _clock_from_dict(described: Mapping[str, Any]) -> Clock:
    from tenuto.schedules import clocks

    kind = described.get("type")
    defaults = dict(described.get("parameter_defaults") or {})
    for name, value in defaults.items():
        if isinstance(value, Mapping) and value.keys() == {"repr"}:
            raise ValueError(
                f"The default of {name!r}, {value['repr']}, is no plain data, so that only the process that "
                "made it knows it."
            )
    shared: dict[str, Any] = {"parameter_defaults": defaults, "labels": described.get("labels")}
    if kind == "DatesClock":
        return clocks.DatesClock([datetime_from_text(text) for text in described["dates"]], **shared)
    for name in ("start_date", "end_date"):
        shared[name] = datetime_from_text(described[name]) if described.get(name) else None
    if kind == "IntervalClock":
        return clocks.IntervalClock(timedelta(seconds=described["interval_seconds"]), **shared)
    if kind == "CronClock":
        return clocks.CronClock(described["cron"], day_or=described.get("day_or"), **shared)
    if kind == "RRuleClock":
        return clocks.RRuleClock(_recurrence_from_dict(described), **shared)
    raise ValueError(f"{kind!r} is no clock of Tenuto's own: its times are known only where its code is.")


# -------------------------------------------------------------------------------------------- recurrences

_SET_PARTS = {"rules": "_rrule", "dates": "_rdate", "excluded_rules": "_exrule", "excluded_dates": "_exdate"}


def _recurrence_to_dict(recurrence: rrule | rruleset) -> dict[str, Any]:
    """Describe a rule or a set. dateutil's own text of a rule leaves out the zone, and sets have none."""
    from dateutil.rrule import rrule

    if isinstance(recurrence, rrule):
        return {"rules": [_rule_to_dict(recurrence)]}
    described = {name: getattr(recurrence, attribute) for name, attribute in _SET_PARTS.items()}
    describe: dict[bool, Callable[[Any], Any]] = {True: _rule_to_dict, False: datetime_text}
    return {
        name: [describe[name.endswith("rules")](value) for value in values]
        for name, values in described.items()
        if values
    }


def _rule_to_dict(rule: Any) -> dict[str, Any]:
    return {
        "rule": str(rule),
        "start": datetime_text(rule._dtstart),
        "until": None if rule._until is None else datetime_text(rule._until),
    }


def _recurrence_from_dict(described: Mapping[str, Any]) -> rrule | rruleset:
    from dateutil.rrule import rruleset

    rules = [_rule_from_dict(rule) for rule in described.get("rules", ())]
    if len(rules) == 1 and not described.keys() & (_SET_PARTS.keys() - {"rules"}):
        return rules[0]
    found = rruleset()
    for rule in rules:
        found.rrule(rule)
    for rule in described.get("excluded_rules", ()):
        found.exrule(_rule_from_dict(rule))
    for text in described.get("dates", ()):
        found.rdate(datetime_from_text(text))
    for text in described.get("excluded_dates", ()):
        found.exdate(datetime_from_text(text))
    return found


def _rule_from_dict(described: Mapping[str, Any]) -> rrule:
    from dateutil.rrule import rrule, rrulestr

    rule: Any = rrulestr(described["rule"])
    if not isinstance(rule, rrule):
        raise ValueError(f"{described['rule']!r} is more than one rule.")
    dates: dict[str, Any] = {"dtstart": datetime_from_text(described["start"])}
    if described.get("until"):
        dates["until"] = datetime_from_text(described["until"])
    replaced: rrule = rule.replace(**dates)
    return replaced


# ------------------------------------------------------------------------------- filters and adjustments


def _function_to_dict(function: Any) -> dict[str, Any]:
    if isinstance(function, filters.Filter):
        arguments = [_argument_to_json(argument) for argument in function.arguments]
        return {"name": function.maker.__name__, "arguments": arguments}
    if isinstance(function, adjustments.Add):
        return {"name": "add", "arguments": [_argument_to_json(function.interval)]}
    name = getattr(function, "__name__", "")
    if function in (getattr(filters, name, None), getattr(adjustments, name, None)):
        return {"name": name}
    return {"function": import_path(function if hasattr(function, "__qualname__") else type(function))}


def _function_from_dict(family: str, described: Mapping[str, Any]) -> Any:
    module = adjustments if family == "adjustments" else filters
    name = described.get("name")
    if name not in module.__all__:
        raise ValueError(
            f"{described.get('function', name)!r} is not one of Tenuto's own {family}: what it does is known "
            "only where its code is."
        )
    function = getattr(module, str(name))
    if "arguments" not in described:
        return function
    return function(*map(_argument_from_json, described["arguments"]))


def _argument_to_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return {"datetime": datetime_text(value)}
    if isinstance(value, time):
        return {"time": value.isoformat()}
    if isinstance(value, timedelta):
        return {"seconds": value.total_seconds()}
    return value


def _argument_from_json(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    if "datetime" in value:
        return datetime_from_text(value["datetime"])
    if "time" in value:
        return time.fromisoformat(value["time"])
    return timedelta(seconds=value["seconds"])


# -------------------------------------------------------------------------------------------------- times


def datetime_text(moment: datetime) -> str:
    """Return a time as RFC 9557 writes it: `2021-03-14T03:30:00-04:00[America/New_York]`."""
    zone = moment.tzinfo
    name = getattr(zone, "key", None)
    if name is None and zone is not None and type(zone).__module__ != "datetime":
        name = str(zone)  # Of nobody's knowing elsewhere: refused when it is read.
    return moment.isoformat() + (f"[{name}]" if name else "")


def datetime_from_text(text: str) -> datetime:
    """
    Return the time that `datetime_text` has written; without a zone if it had none.

    Raises:
        ValueError: if it is no time, or the zone is not known.
    """
    found = _DATETIME.fullmatch(text)
    try:
        moment = datetime.fromisoformat(found[1] if found else "")
    except ValueError:
        raise ValueError(f"{text!r} is no time.") from None
    assert found is not None
    return moment if found[2] is None else moment.astimezone(zone_named(found[2]))
