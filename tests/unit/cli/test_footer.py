import io
import itertools
import time
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from tenuto import Flow, task
from tenuto._base.context import context
from tenuto.cli.display import Display
from tenuto.cli.footer import Counts, Footer
from tenuto.engine.signals import SKIP
from tenuto.engine.state import (
    Cached,
    Failed,
    Looped,
    Mapped,
    Paused,
    Pending,
    Retrying,
    Running,
    State,
    Success,
)

ERASE = "\r\x1b[2K"


def changed(counts: Counts, name: str, *states: State) -> None:
    for old, new in itertools.pairwise(states):
        with context(task_full_name=name):
            counts.changed(SimpleNamespace(task=None), old, new)


def said(counts: Counts) -> str:
    return " ".join(text for text, _ in counts.text())


def test_a_task_goes_from_left_to_running_to_finished() -> None:
    counts = Counts(2)
    assert said(counts) == "0 finished 0 running 2 left"
    changed(counts, "load", Pending(), Running())
    assert said(counts) == "0 finished 1 running 1 left load"
    changed(counts, "load", Running(), Success())
    assert said(counts) == "1 finished 0 running 1 left"


def test_failures_are_counted_and_a_retry_takes_them_back() -> None:
    counts = Counts(1)
    changed(counts, "load", Pending(), Running(), Failed())
    assert said(counts) == "1 finished 1 failed 0 running 0 left"
    changed(counts, "load", Failed(), Retrying())
    assert said(counts) == "0 finished 0 running 1 left"


def test_children_are_counted_in_place_of_the_task_that_was_mapped() -> None:
    counts = Counts(2)
    changed(counts, "inc", Pending(), Mapped(map_states=[Pending()] * 3))
    assert said(counts) == "0 finished 0 running 4 left"
    for index in range(3):
        changed(counts, f"inc[{index}]", Pending(), Running(), Success())
    assert said(counts) == "3 finished 0 running 1 left"


def test_a_loop_is_not_finished_between_its_turns() -> None:
    counts = Counts(1)
    changed(counts, "turn", Pending(), Running(), Looped())
    assert said(counts) == "0 finished 0 running 1 left"
    changed(counts, "turn", Pending(), Running(), Success())
    assert said(counts) == "1 finished 0 running 0 left"


def test_waiting_and_cached_tasks() -> None:
    counts = Counts(2)
    changed(counts, "ask", Pending(), Running(), Paused())
    changed(counts, "load", Pending(), Cached())
    assert said(counts) == "1 finished 0 running 1 left"


def test_only_some_names_are_shown_and_none_can_do_harm() -> None:
    counts = Counts(6)
    for index in range(6):
        changed(counts, f"t\x1b{index}", Pending(), Running())
    assert said(counts).endswith("t\\x1b0, t\\x1b1, t\\x1b2, t\\x1b3 and 2 more")


def test_a_real_run_ends_with_everything_finished() -> None:
    @task
    def numbers() -> list[int]:
        return [1, 2, 3]

    @task
    def check(number: int) -> int:
        if number == 2:
            raise ValueError(number)
        return number

    @task(max_retries=1, retry_delay=timedelta(0))
    def flaky() -> None:
        if context.task_run_count == 1:
            raise OSError("not yet")

    @task
    def skipped() -> None:
        raise SKIP("not today")

    with Flow("all kinds") as flow:
        check.map(numbers())
        flaky()
        skipped()

    counts = Counts(len(flow.tasks))
    flow.run(task_runner_state_handlers=[counts.changed])
    assert said(counts) == "6 finished 1 failed 0 running 0 left"


# ----------------------------------------------------------------------------------------------- the terminal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def shown(self) -> list[str]:
        """Return the lines of the screen: what was erased is not there."""
        return [line.rpartition(ERASE)[2] for line in self.getvalue().split("\n")]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    return Terminal()


def drawn(terminal: Terminal, pieces: Any = lambda: [("1 finished", None)]) -> Footer:
    """Return a footer that is shown already; no thread draws it."""
    footer = Footer(Display(), terminal, pieces)
    footer._draw()
    return footer


def test_lines_scroll_above_the_footer(terminal: Terminal) -> None:
    footer = drawn(terminal)
    footer.write_above(terminal, "one line\n")
    assert terminal.shown() == ["one line", "1 finished · 0 s"]
    footer.write_above(terminal, "two\nlines\n")
    assert terminal.shown() == ["one line", "two", "lines", "1 finished · 0 s"]


def test_a_line_without_its_end_has_no_footer_below(terminal: Terminal) -> None:
    footer = drawn(terminal)
    footer.write_above(terminal, "enter 'y': ")
    assert terminal.shown() == ["enter 'y': "]
    footer.write_above(terminal, "50 %\r")
    footer.write_above(terminal, "100 %\n")
    footer._draw()
    assert terminal.shown() == ["enter 'y': 50 %\r100 %", "1 finished · 0 s"]


def test_the_other_stream_of_the_terminal_scrolls_above_too(terminal: Terminal) -> None:
    footer = drawn(terminal)
    errors = io.StringIO()
    assert footer.write_above(errors, "careful\n") == 8
    assert errors.getvalue() == "careful\n"
    assert terminal.shown() == ["1 finished · 0 s"]
    assert terminal.getvalue().count(ERASE) == 2


def test_the_footer_fits_the_terminal(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    drawn(terminal, lambda: [("1 finished", None), ("名" * 40, None)])
    [line] = terminal.shown()
    assert line == "1 finished · " + "名" * 7 + " …"
    monkeypatch.setenv("COLUMNS", "10")
    assert drawn(Terminal())._shown == ""


def test_ascii_footer(terminal: Terminal) -> None:  # R-CLI-7
    display = Display()
    display.ascii = True
    footer = Footer(display, terminal, lambda: [("x" * 80, None)])
    footer._draw()
    assert terminal.shown()[0].isascii()


def test_the_footer_is_taken_away_at_the_end(terminal: Terminal) -> None:
    footer = Footer(Display(), terminal, lambda: [("1 finished", None)])
    footer.start()
    deadline = time.monotonic() + 10
    while "finished" not in terminal.getvalue() and time.monotonic() < deadline:
        time.sleep(0.01)
    footer.stop()
    assert "1 finished" in terminal.getvalue()
    assert terminal.shown() == [""]
    footer.write_above(terminal, "after\n")
    assert terminal.shown() == ["after", ""]


def test_a_terminal_that_has_gone_ends_the_drawing(terminal: Terminal) -> None:
    footer = drawn(terminal)
    terminal.close()
    footer._draw()
    other = io.StringIO()
    footer.write_above(other, "still printed\n")
    assert other.getvalue() == "still printed\n"
