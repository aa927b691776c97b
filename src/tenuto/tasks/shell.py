"""Commands of a shell as tasks."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tenuto._base.callsite import note_callsite
from tenuto._base.commands import lines_of, running
from tenuto.core.authoring import defaults_from_attrs
from tenuto.core.task import Task
from tenuto.engine.signals import FAIL

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
        _check_shell(self.shell)
        level = _level(self.stream_output)
        lines: list[str] = []
        with (
            _script_file(script) as path,
            running([self.shell, path], env={**os.environ, **(env or {})}, timeout=self.timeout) as process,
        ):
            for line in lines_of(process):
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
def _script_file(script: str) -> Iterator[str]:
    """
    Give the path of a file with the script.

    A file, not an argument: what the script says, and it may name secrets, is not shown to other users.
    """
    with tempfile.TemporaryDirectory(prefix="tenuto-shell-") as folder:
        path = os.path.join(folder, "script")
        with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            file.write(script)
        yield path


def _check_shell(shell: str) -> None:
    if shutil.which(shell) is None:
        raise FileNotFoundError(
            f"The shell {shell!r} was not found. Install it, or give another one: ShellTask(shell=...)."
        )
