"""The context of a flow run: what tasks, templates and handlers find in `tenuto.context` (R-CTX-3)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tenuto._base.context import context
from tenuto._base.datetimes import ensure_aware, parse_datetime, utc_now
from tenuto._base.ids import new_flow_run_id
from tenuto._base.logging import get_logger
from tenuto._base.names import two_words
from tenuto.configuration import config

if TYPE_CHECKING:
    from tenuto.core.flow import Flow

# Keys that belong to one task run: a flow run started inside a task must not take them for its own.
_OF_A_TASK_RUN = [
    "task_full_name",
    "task_id",
    "task_loop_count",
    "task_loop_result",
    "task_name",
    "task_run_count",
    "task_run_id",
    "task_run_name",
    "task_slug",
    "task_tags",
    "map_index",
    "resume",
]
# Keys that belong to one flow run; values given for this run are set again below.
_OF_A_FLOW_RUN = [
    "date",
    "flow_id",
    "flow_name",
    "flow_run_id",
    "flow_run_name",
    "scheduled_start_time",
    "today",
    "tomorrow",
    "yesterday",
]


def flow_run_context(flow: Flow, given: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the context of a flow run: the surrounding one, with what this run was given and what it adds.

    Args:
        flow: the flow.
        given: keyword `context` of `flow.run`; what it sets wins.
        parameters: the values given; defaults and `parameters` of the surrounding context fill the rest.
    """
    surrounding = dict(context.current())
    if "flow_run_id" in surrounding and "task_run_id" in surrounding:
        for key in (
            *_OF_A_TASK_RUN,
            *_OF_A_FLOW_RUN,
            *(f"{day}_nodash" for day in ("today", "tomorrow", "yesterday")),
        ):
            surrounding.pop(key, None)
    values = {**surrounding, **given}
    date = _run_date(values.get("date"))
    values = {
        "scheduled_start_time": date,
        "flow_id": flow.name,
        "checkpointing": bool(config.flows.checkpointing),
        **_date_texts(date),
        **values,
        "date": date,
        "flow_name": flow.name,
        "parameters": parameter_values(flow, {**values.get("parameters", {}), **parameters}),
        "logger": get_logger(flow.name),
    }
    values.setdefault("flow_run_id", new_flow_run_id())
    values.setdefault("flow_run_name", two_words())
    values.pop("flow", None)
    return values


def parameter_values(flow: Flow, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flow's parameters with their values in this run, defaults included."""
    return {
        parameter.name: given.get(parameter.name, parameter.default)
        for parameter in sorted(flow.parameters(), key=lambda p: p.name)
        if parameter.name in given or not parameter.required
    }


def _run_date(given: object) -> datetime:
    if given is None:
        return utc_now()
    try:
        return ensure_aware(given) if isinstance(given, datetime) else parse_datetime(str(given))
    except ValueError:
        get_logger("FlowRunner").warning(
            "The context's date %r is not a date-time; the present time is used.", given
        )
        return utc_now()


def _date_texts(date: datetime) -> dict[str, str]:
    days = {"yesterday": date - timedelta(days=1), "today": date, "tomorrow": date + timedelta(days=1)}
    texts = {name: day.strftime("%Y-%m-%d") for name, day in days.items()}
    return texts | {f"{name}_nodash": day.strftime("%Y%m%d") for name, day in days.items()}
