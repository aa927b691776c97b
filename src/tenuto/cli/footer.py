"""
Lines at the foot of the terminal while a flow runs.

There is one for each map in progress, with its rate and the time left, and one of all tasks: how many are
finished, running and left, the time, the current ones. They are fed by the changes of state of tasks (a state
handler of the run), and drawn by a thread of their own.
What is printed meanwhile scrolls above them. Not `rich.live`: that wraps what others print, and breaks up
progress bars and questions, which leave the cursor in the middle of a line. Here the footer is taken away for
them until their own line ends.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

from rich.cells import cell_len, set_cell_size

from tenuto._base.context import context
from tenuto._base.progress import Pace, progress_parts
from tenuto._base.texts import duration_text
from tenuto.cli.texts import printable

if TYPE_CHECKING:
    from tenuto.cli.display import Display
    from tenuto.engine.state import State

__all__ = ["Counts", "Footer", "footer_below"]

DELAY_SECONDS = 0.4
"""Runs shorter than this show no footer: it would only flicker."""
INTERVAL_SECONDS = 0.2
NAMES_MAX = 4
MAPS_MAX = 4
WIDTH_MIN = 20
_ERASE = "\r\x1b[2K"
_UP_AND_ERASE = "\x1b[1A\x1b[2K"
Pieces = list[tuple[str, str | None]]
"""Texts with their colours."""


class _Map:
    """The children of one map: how many there are, are finished, and have failed."""

    def __init__(self, name: str, total: int, now: float) -> None:
        self.name = name
        self.total = total
        self.done = 0
        self.failed = 0
        self.worked = 0
        self.is_begun = False
        self._pace = Pace(now)

    def count(self, old_state: State, new_state: State) -> None:
        self.is_begun = True
        for state, number in ((old_state, -1), (new_state, 1)):
            if _is_final(state):
                self.done += number
                self.failed += number * state.is_failed()
        if old_state.is_running() and _is_final(new_state):
            self.worked += 1
        elif _is_final(old_state) and not _is_final(new_state):
            self.worked -= 1  # Tried again.

    def pieces(self, now: float) -> Pieces:
        self._pace.see(now, self.done, self.worked)
        parts = progress_parts(self.done, self.total, failed=self.failed, rate=self._pace.rate(now))
        texts: Pieces = [(part, "red" if part.endswith(" failed") else None) for part in parts]
        return [(f"{printable(self.name)}: {parts[0]}", "blue"), *texts[1:]]


def _is_final(state: State) -> bool:
    return state.is_finished() and not state.is_looped()


class Counts:
    """
    Counts task runs by what they are at, of a whole run and of each map.

    Args:
        tasks: number of tasks of the flow that a run goes through.
        clock: gives seconds.
    """

    def __init__(self, tasks: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.left = tasks
        self._clock = clock
        self._maps: dict[str, _Map] = {}
        self.finished = 0
        self.failed = 0
        self.running: dict[str, None] = {}
        self._lock = threading.Lock()

    def changed(self, runner: Any, old_state: State, new_state: State) -> None:
        """Take a change of state; has the form of a state handler for task runners."""
        values = context.current()
        name = values.get("task_full_name") or runner.task.name
        slug = str(values.get("task_slug") or name)
        with self._lock:
            self._count(old_state, -1)
            self._count(new_state, 1)
            if new_state.is_running():
                self.running[name] = None
            else:
                self.running.pop(name, None)
            if new_state.is_mapped():
                # The children are counted in place of the task that was mapped.
                self.finished -= 1
                children = getattr(new_state, "n_map_states", 0)
                self.left += children
                self._maps[slug] = _Map(name, children, self._clock())
            elif values.get("map_index") is not None and slug in self._maps:
                self._maps[slug].count(old_state, new_state)

    def _count(self, state: State, number: int) -> None:
        if state.is_running():
            return  # Known by name.
        if not _is_final(state):
            self.left += number
            return
        self.finished += number
        if state.is_failed():
            self.failed += number

    def lines(self) -> list[Pieces]:
        """Return what the footer says: of each map in progress, and in the last line of all together."""
        with self._lock:
            now = self._clock()
            going_on = [each for each in self._maps.values() if each.is_begun and each.done < each.total]
            return [*(each.pieces(now) for each in going_on[:MAPS_MAX]), self._summary()]

    def _summary(self) -> Pieces:
        pieces: Pieces = [(f"{self.finished} finished", "green")]
        if self.failed:
            pieces.append((f"{self.failed} failed", "red"))
        pieces += [(f"{len(self.running)} running", "blue"), (f"{max(self.left, 0)} left", None)]
        names = list(self.running)
        shown = ", ".join(map(printable, names[:NAMES_MAX]))
        if len(names) > NAMES_MAX:
            shown += f" and {len(names) - NAMES_MAX} more"
        return [*pieces, (shown, None)] if shown else pieces


class Footer:
    """
    The last lines of a terminal, and the streams above them.

    Args:
        display: gives colours and signs.
        terminal: where it is drawn.
        lines: gives the texts and colours of its lines; the time is added to the last one.
    """

    def __init__(self, display: Display, terminal: TextIO, lines: Callable[[], list[Pieces]]) -> None:
        self._display = display
        self._terminal = terminal
        self._lines = lines
        self._lock = threading.RLock()
        self._started = time.monotonic()
        self._shown = ""
        self._column_free = True
        self._active = True
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._redraw_often, daemon=True, name="tenuto-footer")
        _footers.add(self)

    def start(self) -> None:
        """Draw it from now on, after a moment."""
        self._thread.start()

    def stop(self) -> None:
        """Take it away for good."""
        self._stopping.set()
        self._thread.join()
        with self._lock:
            self._active = False
            self._erase()
            self._terminal.flush()

    def write_above(self, stream: TextIO, text: str) -> int:
        """Write text to a stream of the same terminal; while its line has no end, there is no footer."""
        with self._lock:
            if not self._active or not text:
                return stream.write(text)
            shown, self._shown = self._shown, ""
            self._column_free = text.endswith("\n")
            if not shown:
                return stream.write(text)
            erasing = _erasing(shown)
            if stream is not self._terminal:
                self._terminal.write(erasing)
                self._terminal.flush()
                stream.write(text)
                stream.flush()
            if self._column_free:
                # As it was: the thread brings it up to date, five times a second and not at each line.
                self._shown = shown
            above = f"{erasing}{text}" if stream is self._terminal else ""
            self._terminal.write(above + self._shown)
            return len(text)

    def _redraw_often(self) -> None:
        wait = DELAY_SECONDS
        while not self._stopping.wait(wait):
            wait = INTERVAL_SECONDS
            with self._lock:
                if self._active and self._column_free:
                    self._draw()

    def _draw(self) -> None:
        before, (width, height) = self._shown, shutil.get_terminal_size()
        self._shown = self._text(width - 1, height - 1)
        try:
            self._terminal.write(_erasing(before) + self._shown)
            self._terminal.flush()
        except (OSError, ValueError):
            self._active = False  # The terminal has gone: nothing is left to draw on.

    def _text(self, width: int, height: int) -> str:
        """Return what is shown on a terminal with room for `height` lines of `width` characters."""
        if width < WIDTH_MIN:
            return ""
        *maps, summary = self._lines()
        time_text = duration_text(time.monotonic() - self._started)
        lines = [*maps[: max(height - 1, 0)], [*summary, (time_text, None)]]
        return "\n".join(self._line(pieces, width) for pieces in lines)

    def _line(self, pieces: Pieces, width: int) -> str:
        separator, cut = (" | ", "~") if self._display.ascii else (" · ", "…")
        parts, room = [], width
        for text, colour in pieces:
            if room <= len(separator):
                break
            piece = text if cell_len(text) <= room else set_cell_size(text, room - 1) + cut
            parts.append(self._display.styled(piece, self._terminal, colour))
            room -= cell_len(piece) + len(separator)
        return separator.join(parts)

    def _erase(self) -> None:
        if self._shown:
            shown, self._shown = self._shown, ""
            self._terminal.write(_erasing(shown))

    def _forget_after_fork(self) -> None:
        # A forked child prints for itself; the line is its parent's. The lock may be held there for ever.
        self._lock = threading.RLock()
        self._active = False


def _erasing(shown: str) -> str:
    """Return what takes these lines away, from the end of the last one, and leaves the cursor at the top."""
    return _ERASE + _UP_AND_ERASE * shown.count("\n")


class _StreamAbove:
    """Stands in for `sys.stdout` or `sys.stderr` while there is a footer."""

    def __init__(self, stream: TextIO, footer: Footer) -> None:
        self.original = stream
        self._footer = footer

    def write(self, text: str) -> int:
        return self._footer.write_above(self.original, text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)


@contextmanager
def footer_below(display: Display, counts: Counts) -> Iterator[None]:
    """Show a footer with these counts inside, on the terminal that stdout is."""
    footer = Footer(display, sys.stdout, counts.lines)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_above(stream, footer) for stream in before)
    footer.start()
    try:
        yield
    finally:
        footer.stop()
        sys.stdout, sys.stderr = before


def _above(stream: TextIO, footer: Footer) -> TextIO:
    return cast(TextIO, _StreamAbove(stream, footer)) if stream.isatty() else stream


_footers: weakref.WeakSet[Footer] = weakref.WeakSet()


def _forget_all() -> None:
    for footer in list(_footers):
        footer._forget_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
