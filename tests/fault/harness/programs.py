"""Servers, agents and workers in processes of their own: started, killed, started again, gone at the end."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

import psutil

from tenuto._base.failpoints import Failpoint

__all__ = ["Program", "ProgramEnded"]

LAUNCHER = Path(__file__).with_name("launch.py")
MARK = "TENUTO_TEST_PROGRAM"
SECONDS_MAX = 120.0
"""When something that should happen is given up; nothing here measures time."""
TAIL_LINES = 40


class ProgramEnded(AssertionError):
    """A program ended, or said nothing, where something else was expected of it."""


class Program:
    """
    `python -m MODULE ARGUMENT...`, as often as it is started, with everything that descends from it.

    It is killed when the context ends, and when the thread that started it does: start it from a test's own.

    Args:
        command: the module and its arguments.
        folder: for what the harness needs; made here.
        env: changes to this process's variables.
        cwd: default: that of this process.
        for_children: whether fail points are armed in commands that it starts by `sys.executable`, too.

    Attributes:
        lines: what it has printed to stdout and stderr since its last start.
    """

    def __init__(
        self,
        *command: str | Path,
        folder: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        for_children: bool = False,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._command = [str(part) for part in command]
        self._plan = folder / "plan.json"
        self._faults = folder / "faults"
        self._python = folder / "python" if for_children else None
        self._mark = uuid.uuid4().hex
        self._env = {**os.environ, **(env or {}), MARK: self._mark}
        self._cwd = cwd
        self._process: subprocess.Popen[str] | None = None
        self._readers: list[threading.Thread] = []
        self._starts = 0
        self._news = threading.Condition()
        self._at_end = True
        self.lines: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()

    # -------------------------------------------------------------------------------------- start and stop

    def start(self, *points: Failpoint) -> Self:
        """Start it, with these fail points armed."""
        assert self._process is None, "It runs already."
        self._write_plan(points)
        self.lines = []
        self._at_end = False
        self._process = subprocess.Popen(
            [sys.executable, str(LAUNCHER), str(self._plan), "-m", *self._command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._env,
            cwd=self._cwd,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._starts += 1
        reader = threading.Thread(target=self._read, args=(self._process.stdout, self._starts), name="output")
        reader.start()
        self._readers.append(reader)
        return self

    def kill(self) -> None:
        """Kill it (SIGKILL), and everything that descends from it."""
        if self._process is not None:
            self._process.kill()
            self.wait()
        self.kill_descendants()
        while self._readers:
            self._readers.pop().join()

    def terminate(self) -> int:
        """Ask it to end (SIGTERM); return its exit code."""
        self.send(signal.SIGTERM)
        return self.wait()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, SIGSTOP for instance."""
        assert self._process is not None, "It does not run."
        self._process.send_signal(number)

    def wait(self, seconds: float = SECONDS_MAX) -> int:
        """Wait for its end, a fail point's kill for instance; return its exit code."""
        assert self._process is not None, "It does not run."
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ProgramEnded(f"{self} has not ended:\n{self.tail()}") from None
        self._process = None
        return code

    @property
    def pid(self) -> int:
        assert self._process is not None, "It does not run."
        return self._process.pid

    @property
    def faults(self) -> int:
        """How often an armed action was done, over all starts."""
        return len(self._faults.read_text().splitlines()) if self._faults.exists() else 0

    # ---------------------------------------------------------------------------------------------- output

    def wait_for(self, pattern: str, seconds: float = SECONDS_MAX) -> re.Match[str]:
        """Wait until it has printed a line in which the pattern is found; return the match."""
        seen = 0
        found: re.Match[str] | None = None
        deadline = time.monotonic() + seconds
        with self._news:
            while True:
                for line in self.lines[seen:]:
                    if (found := re.search(pattern, line)) is not None:
                        return found
                seen = len(self.lines)
                if self._at_end:
                    raise ProgramEnded(f"{self} ended without a line of {pattern!r}:\n{self.tail()}")
                if not self._news.wait(deadline - time.monotonic()):
                    raise ProgramEnded(f"{self} has not printed {pattern!r}:\n{self.tail()}")

    def tail(self) -> str:
        """Return the last lines that it has printed."""
        return "\n".join(self.lines[-TAIL_LINES:])

    def __str__(self) -> str:
        return f"Program {shlex.join(self._command)!r}"

    def _read(self, stdout: IO[str], start: int) -> None:
        """Take lines until the last process ends that was born of a start; some may outlive the next one."""
        with stdout:
            for line in stdout:
                with self._news:
                    self.lines.append(line.rstrip("\n"))
                    self._news.notify_all()
        with self._news:
            self._at_end = self._at_end or start == self._starts
            self._news.notify_all()

    # ------------------------------------------------------------------------------------------- processes

    def kill_descendants(self) -> int:
        """Kill what it has left running, wherever that has gone; return how many processes that were."""
        killed: set[int] = set()
        while left := [process for process in psutil.process_iter() if self._descends(process)]:
            for process in left:
                killed.add(process.pid)
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
            psutil.wait_procs(left, timeout=1)
        return len(killed)

    def _descends(self, process: psutil.Process) -> bool:
        """Say whether a process has the mark of this program in its environment; one of a zombie is gone."""
        try:
            return process.pid != os.getpid() and process.environ().get(MARK) == self._mark
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False

    def _write_plan(self, points: Sequence[Failpoint]) -> None:
        fields = ("name", "action", "nth", "times", "seconds")
        plan: dict[str, Any] = {
            "points": [{name: getattr(point, name) for name in fields} for point in points],
            "faults": str(self._faults),
            "parent": os.getpid(),
            "python": None if self._python is None else str(self._python),
        }
        self._plan.write_text(json.dumps(plan))
        if self._python is not None:
            command = shlex.join([sys.executable, str(LAUNCHER), str(self._plan)])
            self._python.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            self._python.chmod(0o700)
