import io
import itertools
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest

from tenuto import Flow, task
from tenuto._base.context import context
from tenuto.cli.display import Display
from tenuto.cli.footer import Counts, Footer, Pieces
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
from tests.fakes.terminal import ERASE, screen_lines


def changed(counts: Counts, name: str, *states: State) -> None:
    for old, new in itertools.pairwise(states):
        with context(task_full_name=name):
            counts.changed(SimpleNamespace(task=None), old, new)


def said(counts: Counts) -> str:
    """Return the last line: all tasks together."""
    return " ".join(text for text, _ in counts.lines()[-1])


def maps(counts: Counts) -> list[str]:
    """Return the lines above it: a map each."""
    return [" ".join(text for text, _ in line) for line in counts.lines()[:-1]]


def child(counts: Counts, task: str, index: int, *states: State) -> None:
    for old, new in itertools.pairwise(states):
        with context(task_full_name=f"{task}[{index}]", task_slug=f"{task}-1", map_index=index):
            counts.changed(SimpleNamespace(task=None), old, new)


def mapped(counts: Counts, task: str, children: int) -> None:
    with context(task_full_name=task, task_slug=f"{task}-1", map_index=None):
        counts.changed(SimpleNamespace(task=None), Pending(), Mapped(n_map_states=children))


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


def test_each_map_in_progress_has_a_line_with_rate_and_time_left() -> None:
    now = [100.0]
    counts = Counts(2, lambda: now[0])
    mapped(counts, "load", 8)
    mapped(counts, "inc", 500)
    assert maps(counts) == []
    child(counts, "load", 0, Pending(), Running())
    assert maps(counts) == ["load: 0 of 8"]
    now[0] += 2
    child(counts, "load", 0, Running(), Success())
    child(counts, "inc", 0, Pending(), Running(), Failed())
    assert maps(counts) == ["load: 1 of 8 30/min 14 s left", "inc: 1 of 500 1 failed 30/min 16 min 38 s left"]
    for index in range(1, 8):
        child(counts, "load", index, Pending(), Running(), Success())
    assert [line.split(":")[0] for line in maps(counts)] == ["inc"]


def test_cached_children_do_not_count_for_the_rate_and_retries_are_taken_back() -> None:
    now = [100.0]
    counts = Counts(1, lambda: now[0])
    mapped(counts, "inc", 10)
    for index in range(4):
        child(counts, "inc", index, Pending(), Cached())
    now[0] += 1
    assert maps(counts) == ["inc: 4 of 10"]
    child(counts, "inc", 4, Pending(), Running(), Failed(), Retrying())
    assert maps(counts) == ["inc: 4 of 10"]
    now[0] += 1
    child(counts, "inc", 4, Retrying(), Running(), Success())
    assert maps(counts) == ["inc: 5 of 10 1.0/s 5 s left"]


def test_only_some_maps_are_shown() -> None:
    counts = Counts(6)
    for number in range(6):
        mapped(counts, f"m{number}", 5)
        child(counts, f"m{number}", 0, Pending(), Running())
    assert len(maps(counts)) == 4


# ----------------------------------------------------------------------------------------------- the terminal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def shown(self) -> list[str]:
        """Return the lines of the screen: what was erased is not there."""
        return screen_lines(self.getvalue())


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    return Terminal()


def drawn(terminal: Terminal, *lines: str) -> Footer:
    """Return a footer that is shown already; no thread draws it."""
    pieces: list[Pieces] = [[(line, None)] for line in lines or ("1 finished",)]
    footer = Footer(Display(), terminal, lambda: pieces)
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
    Footer(Display(), terminal, lambda: [[("1 finished", None), ("名" * 40, None)]])._draw()
    [line] = terminal.shown()
    assert line == "1 finished · " + "名" * 7 + " …"
    monkeypatch.setenv("COLUMNS", "10")
    assert drawn(Terminal())._shown == ""


def test_ascii_footer(terminal: Terminal) -> None:  # R-CLI-7
    display = Display()
    display.ascii = True
    footer = Footer(display, terminal, lambda: [[("x" * 80, None)]])
    footer._draw()
    assert terminal.shown()[0].isascii()


def test_the_footer_is_taken_away_at_the_end(terminal: Terminal) -> None:
    footer = Footer(Display(), terminal, lambda: [[("1 finished", None)]])
    footer.start()
    deadline = time.monotonic() + 10
    while "finished" not in terminal.getvalue() and time.monotonic() < deadline:
        time.sleep(0.01)
    footer.stop()
    assert "1 finished" in terminal.getvalue()
    assert terminal.shown() == [""]
    footer.write_above(terminal, "after\n")
    assert terminal.shown() == ["after", ""]


def test_several_lines_are_drawn_over_and_scrolled_past(terminal: Terminal) -> None:
    lines: list[Pieces] = [[("inc: 1 of 3", None)], [("1 finished", None)]]
    footer = Footer(Display(), terminal, lambda: lines)
    footer._draw()
    footer.write_above(terminal, "one line\n")
    assert terminal.shown() == ["one line", "inc: 1 of 3", "1 finished · 0 s"]
    footer.write_above(io.StringIO(), "careful\n")
    assert terminal.shown() == ["one line", "inc: 1 of 3", "1 finished · 0 s"]
    lines[0] = [("inc: 2 of 3", None)]
    footer._draw()
    assert terminal.shown() == ["one line", "inc: 2 of 3", "1 finished · 0 s"]
    footer.write_above(terminal, "enter 'y': ")
    assert terminal.shown() == ["one line", "enter 'y': "]
    footer.write_above(terminal, "y\n")
    del lines[0]
    footer._draw()
    assert terminal.shown() == ["one line", "enter 'y': y", "1 finished · 0 s"]
    footer._erase()
    assert terminal.shown() == ["one line", "enter 'y': y", ""]


def test_a_low_terminal_shows_the_last_line(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "2")
    drawn(terminal, "a: 1 of 3", "b: 1 of 3", "2 finished")
    assert terminal.shown() == ["2 finished · 0 s"]


def test_a_terminal_that_has_gone_ends_the_drawing(terminal: Terminal) -> None:
    footer = drawn(terminal)
    terminal.close()
    footer._draw()
    other = io.StringIO()
    footer.write_above(other, "still printed\n")
    assert other.getvalue() == "still printed\n"
