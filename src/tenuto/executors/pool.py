"""Worker processes: programs of their own, used again and again, killed when needed."""

from __future__ import annotations

import json
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic
from typing import Any, BinaryIO, NamedTuple, cast

from tenuto._base.logging import package_loggers
from tenuto._base.masking import known_secrets, register_forms
from tenuto._base.processes import kill_session
from tenuto._base.stdout import real_stdout
from tenuto.configuration import config
from tenuto.engine.attempt import Attempt
from tenuto.exceptions import TaskTimeoutSignal
from tenuto.executors.base import WorkerLost
from tenuto.executors.parcels import Packer, Parcel
from tenuto.executors.records import relay
from tenuto.executors.worker import Setup, read_message, write_message

__all__ = ["WorkerPool", "WorkerProcess", "setup_of_this_process"]

# The path first: with it, everything else is found where this process finds it.
_PROGRAM = """\
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from tenuto.executors.records import relay
from tenuto.executors.worker import main
main()
"""
_STOP_SECONDS = 5.0
# A body in Python is interrupted inside of the worker, and may clean up. One that does not come to an end so
# much later sits in code that nothing interrupts: then the worker is killed.
_GRACE_SECONDS = 2.0


class _Call(NamedTuple):
    future: Future[Any]
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class WorkerPool:
    """
    Runs calls in worker processes.

    Args:
        workers: number of processes; each is started when there is work for it.
    """

    def __init__(self, workers: int) -> None:
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        packer, setup = Packer(), setup_of_this_process()
        self._dispatchers = [_Dispatcher(self._calls, WorkerProcess(packer, setup)) for _ in range(workers)]

    def submit(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        """Run `function(*args, **kwargs)` in the next free worker; the future has its value or error."""
        future: Future[Any] = Future()
        self._calls.put(_Call(future, function, args, kwargs))
        return future

    def close(self, *, kill: bool) -> None:
        """End all workers; `kill` ends what they are at, with all that it has started."""
        for _ in self._dispatchers:
            self._calls.put(None)
        if kill:
            for dispatcher in self._dispatchers:
                dispatcher.worker.kill()
        for dispatcher in self._dispatchers:
            dispatcher.join()


class _Dispatcher(threading.Thread):
    """Hands the calls of a pool to one worker process."""

    def __init__(self, calls: queue.SimpleQueue[_Call | None], worker: WorkerProcess) -> None:
        super().__init__(daemon=True, name="tenuto-dispatch")
        self.worker = worker
        self._calls = calls
        self.start()

    def run(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call.future.set_result(self.worker.call(call.function, *call.args, **call.kwargs))
            except BaseException as error:  # noqa: BLE001  # it belongs to who waits for the future
                call.future.set_exception(error)
        self.worker.stop()


class WorkerProcess:
    """
    Makes calls in a process, one at a time; starts it with the first, and another when that is gone.

    Args:
        packer: pickles the calls; several may share one.
        setup: what the process is set up with.
    """

    def __init__(self, packer: Packer, setup: Setup) -> None:
        self._packer = packer
        self._setup = setup
        self._process: _Process | None = None

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """
        Return what a call gives; what it logs and prints is logged and printed by this thread.

        Raises:
            NotPicklable: when the call cannot be sent.
            WorkerLost: when the process ends before it answers.
            TaskTimeoutSignal: when it had to be killed, because an attempt does not end in its time.
            Exception: what the call raised.
        """
        parcel = self._packer.pack((function, args, kwargs))
        process = self._process
        if process is None or not process.is_alive:
            self.stop()
            process = self._process = _Process(self._setup)
        try:
            return process.answer(parcel, self._packer, _timeout_of(args))
        except (WorkerLost, TaskTimeoutSignal):
            self.stop()
            raise

    def stop(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.stop()

    def kill(self) -> None:
        """End what the process is at, with all that it has started; may be called by any thread."""
        process = self._process
        if process is not None:
            kill_session(process.pid)


def setup_of_this_process() -> Setup:
    """Return what worker processes need to be like this one."""
    return Setup(
        config=config.to_dict(),
        folder=os.getcwd(),
        levels={logger.name: logger.getEffectiveLevel() for logger in package_loggers()},
    )


def _timeout_of(args: tuple[Any, ...]) -> float | None:
    """Return the seconds that a call may take, where it is an attempt of a task that says so."""
    attempt = args[0] if args else None
    return attempt.body.task.timeout if isinstance(attempt, Attempt) else None


class _Process:
    """A worker process that has been started, seen from here."""

    def __init__(self, setup: Setup) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C in the terminal is for the process of the flow, which decides about its workers.
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._in = cast(BinaryIO, self._process.stdin)
        self._sent: set[str] = set()
        self._secrets_sent = 0
        self._messages: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True, name="tenuto-worker").start()
        self._write("setup", setup)

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def answer(self, parcel: Parcel, packer: Packer, timeout: float | None) -> Any:
        """Return the value of a call, or raise as `WorkerProcess.call` does."""
        secrets = known_secrets()
        if len(secrets) > self._secrets_sent:
            self._secrets_sent = len(secrets)
            self._write("secrets", secrets)
        for name in parcel.parts:
            if name not in self._sent:
                self._sent.add(name)
                self._write("part", name, packer.part(name))
        self._write("call", parcel.data)
        deadline = None if timeout is None else monotonic() + timeout + _GRACE_SECONDS
        while True:
            try:
                left = None if deadline is None else max(deadline - monotonic(), 0)
                message = self._messages.get(timeout=left)
            except queue.Empty:
                kill_session(self.pid)
                raise TaskTimeoutSignal("Execution timed out.") from None
            if message is None:
                raise WorkerLost(f"The worker process (pid {self.pid}) {_ending(self._process.wait())}")
            kind, *content = message
            if kind == "answer":
                return _value(content[0])
            _TAKE[kind](*content)

    def stop(self) -> None:
        """End the process: by closing its input, and where it does not follow, by force."""
        try:
            self._in.close()
        except OSError:
            pass  # It has ended before it read everything.
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            kill_session(self.pid)
            self._process.wait()

    def _write(self, kind: str, *content: Any) -> None:
        try:
            write_message(self._in, kind, *content)
        except (OSError, ValueError):
            pass  # It has ended; who waits for its answer is told.

    def _listen(self) -> None:
        stream = cast(BinaryIO, self._process.stdout)
        with stream:
            while (message := read_message(stream)) is not None:
                self._messages.put(message)
        self._messages.put(None)


def _value(answer: bytes) -> Any:
    value = pickle.loads(answer[1:])
    if answer[:1] == b"+":
        return value
    raise value


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by signal {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _print(text: str) -> None:
    stream = real_stdout()
    stream.write(text)
    stream.flush()


_TAKE: dict[str, Callable[..., None]] = {"log": relay, "print": _print, "secrets": register_forms}
