"""What import contracts cannot say: the pure modules call nothing that reads files, terminals or clocks."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "tenuto"

CORE = sorted((PACKAGE / "core").rglob("*.py"))
DECISIONS = [
    PACKAGE / "triggers.py",
    PACKAGE / "engine" / "state.py",
    PACKAGE / "engine" / "signals.py",
    PACKAGE / "engine" / "transitions.py",
]
IO_CALLS = {"__import__", "breakpoint", "exec", "input", "open", "print"}
CLOCK_CALLS = {"monotonic", "now", "perf_counter", "time", "today", "utc_now", "utcnow"}
# The body of a task, run when the flow runs, stands with the function that puts it into the graph.
CLOCK_DOORS = {("authoring.py", "pause_task")}


def calls(path: Path) -> Iterator[tuple[str, str]]:
    """Yield each call of a module as (top-level definition, or "" outside of one; name that is called)."""
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        inside = getattr(statement, "name", "")
        for node in ast.walk(statement):
            if isinstance(node, ast.Call):
                function = node.func
                if isinstance(function, ast.Name):
                    yield inside, function.id
                elif isinstance(function, ast.Attribute):
                    yield inside, function.attr


@pytest.mark.parametrize("path", CORE + DECISIONS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_graph_and_decisions_call_nothing_that_does_io(path: Path) -> None:
    assert not {name for _, name in calls(path)} & IO_CALLS


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.name)
def test_graph_reads_no_clock(path: Path) -> None:
    found = {(path.name, inside) for inside, name in calls(path) if name in CLOCK_CALLS}
    assert not found - CLOCK_DOORS


def test_decisions_take_the_time_from_their_caller() -> None:
    assert not {name for _, name in calls(PACKAGE / "engine" / "transitions.py")} & CLOCK_CALLS
