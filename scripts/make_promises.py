"""
Make docs/promises.md: what Tenuto promises, and the figures by which tests have shown it last.

    make test && make soak && python scripts/make_promises.py

The figures are those of `build/figures.json`, which fault tests write. A promise without one is not kept.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "build" / "figures.json"
PAGE = ROOT / "docs" / "promises.md"

# Each with the names of the figures that show it; none: no test prints one yet.
PROMISES: dict[str, tuple[str, tuple[str, ...]]] = {
    "I-1": (
        "Finished tasks whose results are kept are never executed again in a run",
        ("kill9", "simulation"),
    ),
    "I-2": ("No acknowledged event is lost, by a kill or a power cut", ("kill9", "powercut", "fsync_error")),
    "I-3": (
        "The events of a run have no gap, and what is shown is what they add up to",
        ("simulation", "soak"),
    ),
    "I-4": ("However often and late a batch arrives, the stream is the same", ("delivery", "simulation")),
    "I-5": ("A worker that has lost its lease changes nothing", ("simulation", "mutants")),
    "I-6": ("A run has at most one worker", ()),
    "I-7": ("A time of a schedule has exactly one run", ("twosched", "clockjump")),
    "I-8": (
        "A run is claimed by one agent at a time, in the order in which runs are due",
        ("claimrace", "two_servers"),
    ),
    "I-9": ("States change only as the table of transitions lets them", ("simulation", "mutants")),
    "I-10": ("Every run ends, or says what it waits for; lost workers are noticed", ("simulation", "kill9")),
    "I-11": ("A cancelled run starts nothing more, and its processes are gone", ()),
    "I-12": ("A result is absent or whole", ()),
    "I-13": ("Log lines are stored, or counted where they are not", ("logs",)),
    "I-14": ("Slots of limits neither leak nor admit too many", ()),
    "I-15": ("What an event causes is tried at least once, and not before the event is stored", ()),
    "I-16": ("A server that is told to stop leaves nothing undone", ("drain",)),
    "I-17": (
        "With the disk full or the database gone, nothing is acknowledged that is not stored",
        ("diskfull", "busystorm", "pgrestart", "slowdisk"),
    ),
    "I-18": ("Clocks that are set run nothing twice, skip nothing and end no lease early", ("clockjump",)),
    "I-19": ("A run without a server needs no network and leaves no lock", ()),
    "I-20": ("An upgrade of the schema is done whole or not at all", ("upgrade",)),
    "I-21": ("No secret is stored or shown in clear", ()),
    "I-22": ("Looking at results, logs and flows executes nothing", ("payload_audit",)),
    "S-1": ("Everything listens on loopback only", ("listeners",)),
    "S-7": ("Sessions and streams end within seconds when a key is revoked", ("sessions",)),
    "S-9": ("The server neither unpickles nor imports what it is sent", ("payload_audit",)),
    "S-22": ("Hostile requests get an answer, and none that says the server has failed", ("fuzzapi",)),
    "S-25": ("Each change by a person is written down once", ("audit",)),
    "roles": ("Each route lets through the roles that may, and no others", ("rbac",)),
}


HEAD = """# Promises

What Tenuto promises, and the figures by which its tests have shown that last. A figure is only as good as the
machine that it is from: cores, the median of an fsync and the load stand behind each. A promise without a
figure counts as not kept.

| promise | | figures |
| --- | --- | --- |"""


def page(figures: list[dict[str, Any]]) -> str:
    """Return the page."""
    by_name: dict[str, list[str]] = {}
    for figure in figures:
        by_name.setdefault(figure["name"], []).append(told(figure))
    lines = [HEAD]
    for name, (text, shown_by) in PROMISES.items():
        found = [line for figure in shown_by for line in by_name.get(figure, ())]
        lines.append(f"| {name} | {text} | {'<br>'.join(found) or 'none'} |")
    return "\n".join(lines) + "\n"


def told(figure: dict[str, Any]) -> str:
    """Return a figure with what it may only be quoted with."""
    values = " ".join(f"{name}={short(value)}" for name, value in figure["values"].items())
    machine = f"{figure['cores']} cores, fsync {figure['fsync_p50_ms']} ms, load {figure['load']}"
    return f"`{figure['name']} {values}` ({machine})"


def short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    PAGE.write_text(page(json.loads(FIGURES.read_text())))
