"""Programs that are read line by line while they run, and killed with all that they have started."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from tenuto._base.processes import kill_session
from tenuto.exceptions import TaskTimeoutSignal

__all__ = ["lines_of", "running"]

_INTERRUPTS = [signal.SIGINT, *([signal.SIGALRM] if hasattr(signal, "SIGALRM") else [])]


@contextmanager
def running(
    arguments: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float | None = None
) -> Iterator[subprocess.Popen[str]]:
    """
    Start a program, and give the process to the block, which reads it with `lines_of` and waits for it.

    Whatever ends the block early (the alarm of a timeout, Ctrl-C) kills the program and all that it has
    started. In threads other than the main one, which no alarm can interrupt, so does the end of `timeout`.

    Args:
        arguments: the program and its arguments.
        env: all of its variables; default: those of this process.
        timeout: seconds; None: no limit.

    Raises:
        FileNotFoundError: if the program is not there.
        TaskTimeoutSignal: at the end of the block, if the time was up before.
    """
    with ExitStack() as closing:
        # An interrupt in the middle of the start would leave a process behind that nobody knows of.
        with _interrupts_held_back():
            process = closing.enter_context(
                subprocess.Popen(
                    arguments,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    encoding="utf-8",
                    errors="replace",
                    start_new_session=True,
                )
            )
            closing.push(lambda kind, error, trace: kill_session(process.pid) if kind else None)
        is_up = closing.enter_context(_killed_after(timeout, process))
        yield process
    if is_up.is_set():
        raise TaskTimeoutSignal("Execution timed out.")


def lines_of(process: subprocess.Popen[str]) -> Iterator[str]:
    """Yield what a program prints, stderr in its place among the rest, line by line as it comes."""
    assert process.stdout is not None
    return map(str.rstrip, process.stdout)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Make Ctrl-C and the alarm of a timeout wait for the end of the block."""
    if threading.current_thread() is not threading.main_thread():
        yield  # No handler is called in this thread.
        return
    came: list[int] = []
    handlers: dict[int, Any] = {number: signal.getsignal(number) for number in _INTERRUPTS}
    # What is ignored or left to the system stays so: a program inherits it.
    own = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in own:
        signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in own.items():
            signal.signal(number, handler)
        for interrupt in came:
            own[interrupt](interrupt, None)


@contextmanager
def _killed_after(seconds: float | None, process: subprocess.Popen[str]) -> Iterator[threading.Event]:
    """Kill a process when its time is up, outside of the main thread; the event says whether it was."""
    is_up = threading.Event()
    if not seconds or threading.current_thread() is threading.main_thread():
        yield is_up
        return

    def kill() -> None:
        if process.returncode is None:
            is_up.set()
            kill_session(process.pid)

    timer = threading.Timer(seconds, kill)
    timer.daemon = True
    timer.start()
    try:
        yield is_up
    finally:
        timer.cancel()
        timer.join()
