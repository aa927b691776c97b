"""Commands as a user starts them: in a process of their own, in a folder, piped or on a terminal."""

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from tests.fakes.terminal import screen_lines

TENUTO = str(Path(sys.executable).parent / "tenuto")
SECONDS_MAX = 120
"""When a command that hangs is given up; nothing here measures time."""


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's variables, with the installed command first on the PATH and warnings as errors."""
    path = os.pathsep.join([str(Path(TENUTO).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "PYTHONWARNINGS": "error", **(changes or {})}


def tenuto(
    *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the command with pipes for its streams."""
    return shell([TENUTO, *map(str, arguments)], cwd, env, stdin)


def shell(
    command: str | list[str], cwd: Path, env: Mapping[str, str] | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a program, or a line of shell, with pipes for its streams."""
    return subprocess.run(
        command,
        shell=isinstance(command, str),
        cwd=cwd,
        env=environment(env),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )


class OnTerminal:
    """A command on a terminal of its own, 80 columns wide."""

    def __init__(self, *command: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> None:
        self._master, slave = pty.openpty()
        variables = {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24", **(env or {})}
        self.process = subprocess.Popen(
            list(map(str, command)),
            cwd=cwd,
            env=environment(variables),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._bytes = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)

    @property
    def output(self) -> str:
        """Everything that it has written so far."""
        return self._bytes.decode().replace("\r\n", "\n")

    def until(self, is_enough: Callable[[str], bool]) -> str:
        """Read until the output is enough, and return it; fail when it ends before."""
        deadline = time.monotonic() + SECONDS_MAX
        while not is_enough(self.output):
            assert self._read(deadline), f"ended after:\n{self.output}"
        return self.output

    def type(self, text: str) -> None:
        """Type text."""
        os.write(self._master, text.encode())

    def end(self) -> tuple[int, str]:
        """Wait for its end; return its exit code and the lines that are left on the screen."""
        deadline = time.monotonic() + SECONDS_MAX
        while self._read(deadline):
            pass
        return self.process.wait(SECONDS_MAX), self.screen

    @property
    def screen(self) -> str:
        """The output without what was erased again."""
        return "\n".join(screen_lines(self.output))

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            raise TimeoutError(self.output)
        try:
            data = os.read(self._master, 65536)
        except OSError:  # The last process on the terminal has closed it.
            return False
        self._bytes += data
        return bool(data)
