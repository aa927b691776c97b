"""Commands of a shell as tasks."""

from __future__ import annotations

import logging
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tenuto._base.callsite import note_callsite
from tenuto._base.processes import kill_session
from tenuto.core.authoring import defaults_from_attrs
from tenuto.core.task import Task
from tenuto.engine.signals import FAIL
from tenuto.exceptions import TaskTimeoutSignal

__all__ = ["ShellTask"]


class ShellTask(Task):
    """
    Runs a command in a shell and returns the last line that it prints, or all lines.

    What it writes to stderr is taken in its place among the other lines. When the task's time is up or
    the run is interrupted, the command is killed with all that it has started.

    Args:
        command: the text of a script; it may also be given by the call, as may `env` and `helper_script`.
        env: variables added to those of this process.
        helper_script: text that comes before each command, such as functions and `cd`.
        shell: program that is given the script.
        return_all: return a list of all lines.
        log_stderr: log what a command that fails has printed.
        stream_output: log each line as it comes, at INFO or at this level.
        **kwargs: those of `Task`.

    Raises:
        ValueError: if `stream_output` names no level.
    """

    def __init__(
        self,
        command: str | None = None,
        env: Mapping[str, str] | None = None,
        helper_script: str | None = None,
        shell: str = "bash",
        return_all: bool = False,
        log_stderr: bool = False,
        stream_output: bool | int | str = False,
        **kwargs: Any,
    ) -> None:
        _level(stream_output)
        self.command = command
        self.env = env
        self.helper_script = helper_script
        self.shell = shell
        self.return_all = return_all
        self.log_stderr = log_stderr
        self.stream_output = stream_output
        super().__init__(**kwargs)

    @defaults_from_attrs("command", "env", "helper_script")
    def run(
        self,
        command: str | None = None,
        env: Mapping[str, str] | None = None,
        helper_script: str | None = None,
    ) -> str | list[str] | None:
        """
        Return the last line of the command's output (None if there is none), or all of them.

        Raises:
            TypeError: without a command.
            FAIL: if the command ends with another exit code than 0; its result is the output.
            FileNotFoundError: if the shell is not there.
        """
        if command is None:
            raise TypeError("Give ShellTask a `command`, in its constructor or when it is called.")
        script = command if helper_script is None else f"{helper_script}\n{command}"
        level = _level(self.stream_output)
        lines: list[str] = []
        with _started(self.shell, script, {**os.environ, **(env or {})}, self.timeout) as process:
            assert process.stdout is not None
            for line in map(str.rstrip, process.stdout):
                if level is not None:
                    self.logger.log(level, "%s", line)
                if not (self.return_all or self.log_stderr):
                    lines.clear()
                lines.append(line)
            code = process.wait()
        output = lines if self.return_all else lines[-1] if lines else None
        if code:
            message = f"Command failed with exit code {code}"
            self.logger.error("%s", "\n".join([message, *lines]) if self.log_stderr else message)
            raise FAIL(message, result=output)
        return output


def _level(stream_output: bool | int | str) -> int | None:
    """Return the level at which lines are logged, or None."""
    if isinstance(stream_output, bool):
        return logging.INFO if stream_output else None
    if isinstance(stream_output, int):
        return stream_output
    level = logging.getLevelNamesMapping().get(stream_output.upper())
    if level is None:
        text = f"`stream_output` is {stream_output!r}, which is no level: give True, or one such as 'DEBUG'."
        raise note_callsite(ValueError(text))
    return level


@contextmanager
def _started(
    shell: str, script: str, env: Mapping[str, str], timeout: float | None
) -> Iterator[subprocess.Popen[str]]:
    """
    Start a shell with a script; whatever ends the block early kills it and all that it has started.

    Raises:
        TaskTimeoutSignal: at the end of the block, if the time was up before.
    """
    # A file, not an argument: what the script says, and it may name secrets, is not shown to other users.
    with tempfile.TemporaryDirectory(prefix="tenuto-shell-") as folder:
        path = os.path.join(folder, "script")
        with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            file.write(script)
        try:
            process = subprocess.Popen(
                [shell, path],
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"The shell {shell!r} was not found. Install it, or give another one: ShellTask(shell=...)."
            ) from error
        with process:
            try:
                with _killed_after(timeout, process) as is_up:
                    yield process
            except BaseException:
                # The alarm of a timeout, Ctrl-C, or a line that could not be logged.
                kill_session(process.pid)
                raise
        if is_up.is_set():
            raise TaskTimeoutSignal("Execution timed out.")


@contextmanager
def _killed_after(seconds: float | None, process: subprocess.Popen[str]) -> Iterator[threading.Event]:
    """
    Kill a process when its time is up, in threads that cannot be interrupted; the event says whether it was.

    The main thread is interrupted by the engine itself.
    """
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
