"""Figures in the text form of Prometheus: who may see the runs may read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fastapi import Request
from fastapi.responses import PlainTextResponse
from starlette.concurrency import run_in_threadpool

from tenuto.server.api.routing import asks, new_router
from tenuto.server.domain.access import Permission
from tenuto.server.store.sql.figures import store_figures

__all__ = ["Counters", "router"]

router = new_router(tags=["health"])

_FORM = "text/plain; version=0.0.4"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(slots=True)
class Counters:
    """
    What has happened since the process began; counted in the one thread that serves requests.

    Attributes:
        requests: by status.
        events: that were acknowledged, those that had been before included.
        claims: runs that were handed out.
    """

    requests: Counter[int] = field(default_factory=Counter)
    events: int = 0
    claims: int = 0


@router.get("/metrics", response_class=PlainTextResponse, **asks(Permission.READ))
async def metrics(request: Request) -> PlainTextResponse:
    """Return figures for operators."""
    state = request.app.state
    counters: Counters = state.counters
    place = state.hub.place
    found = await run_in_threadpool(
        state.database.read, lambda transaction: store_figures(transaction, place)
    )
    lines = [
        *_shown("flow_runs", "gauge", "Flow runs by state.", "state", found.runs),
        *_shown("due_flow_runs", "gauge", "Due runs that no agent has taken, by labels.", "queue", found.due),
        *_one("late_seconds", "gauge", "For how long the run due longest has been.", found.late_seconds),
        *_one("leases", "gauge", "Runs that a worker holds.", found.leases),
        *_one("events_total", "counter", "Events of runs that were acknowledged.", counters.events),
        *_one("claims_total", "counter", "Runs that were handed out to agents.", counters.claims),
        *_shown("requests_total", "counter", "Requests by status.", "status", counters.requests),
        *_one("feed_lag_seconds", "gauge", "Age of what followers wait for.", found.feed_lag_seconds),
    ]
    if found.oldest_xmin is None:
        lines += _one("wal_bytes", "gauge", "Size of the write-ahead log.", state.database.wal_bytes)
    else:
        lines += _one("oldest_xmin_age", "gauge", "Age of the oldest transaction.", found.oldest_xmin)
    turns = {service.name: service.turns for service in state.services}
    spent = {service.name: service.seconds for service in state.services}
    silent = {service.name: service.silent_seconds or 0.0 for service in state.services}
    lines += _shown("service_turns_total", "counter", "Turns of background services.", "service", turns)
    lines += _shown("service_seconds_total", "counter", "Seconds they worked.", "service", spent)
    lines += _shown("service_silent_seconds", "gauge", "Since a turn went well.", "service", silent)
    return PlainTextResponse("\n".join(lines) + "\n", media_type=_FORM)


def _one(name: str, kind: str, text: str, value: float) -> Iterable[str]:
    return [*_head(name, kind, text), f"tenuto_{name} {value}"]


def _shown(
    name: str, kind: str, text: str, label: str, values: Mapping[str, float] | Mapping[int, float]
) -> Iterable[str]:
    shown = sorted((str(key).translate(_ESCAPES), value) for key, value in values.items())
    return [*_head(name, kind, text), *(f'tenuto_{name}{{{label}="{key}"}} {value}' for key, value in shown)]


def _head(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP tenuto_{name} {text}", f"# TYPE tenuto_{name} {kind}"]
