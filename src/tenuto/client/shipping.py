"""
The threads that ship: one beside each local run of a process, and one in the server's own.

Nothing here is waited for but at the end of a run, and there not for long. Nothing is loaded or started where
no server is configured.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tenuto._base.logging import get_logger
from tenuto.client.backoff import backoff
from tenuto.client.configured import ServerAddress, configured_server, is_down
from tenuto.exceptions import AuthorizationError, ClientError, ConfigurationError
from tenuto.journal.home import Home

if TYPE_CHECKING:
    from tenuto.client.shipper import RunShipper
    from tenuto.journal.recorder import Recorder

__all__ = ["AdoptionThread", "shipped"]

FLUSH_SECONDS = 0.2
# For which the end of a run waits at most for the rest to be sent.
FINISH_SECONDS = 2.0
# Between two tries where another process ships the run, or the server makes mistakes.
LATER_SECONDS = 2.0
LOOK_SECONDS = 10.0


@contextmanager
def shipped(recorder: Recorder) -> Iterator[None]:
    """
    Ship a run while it goes on, if a server is configured, and after it what is left, for a bounded time.

    Args:
        recorder: its record, which is closed when the block ends.
    """
    thread = _start(recorder)
    if thread is None:
        yield
        return
    try:
        yield
    finally:
        thread.finish(FINISH_SECONDS)


def _start(recorder: Recorder) -> _RunThread | None:
    if recorder.folder is None:
        return None
    try:
        if configured_server() is None:
            return None
    except ConfigurationError as error:
        get_logger("Shipper").warning("This run is not sent to the server: %s", error)
        return None
    thread = _RunThread(recorder.home, recorder.folder)
    thread.start()
    return thread


class _Thread(threading.Thread):
    """A thread that sends, and is told when to come to its end."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._ending = threading.Event()

    def _wait(self, seconds: float) -> bool:
        """Wait before a request is sent again; in the end, what failed once more is left to others."""
        if self._ending.is_set():
            return False
        self._ending.wait(seconds)
        return True

    def run(self) -> None:
        try:
            self._ship()
        except AuthorizationError as error:
            get_logger("Shipper").warning("Runs are not sent to the server: %s", error)
        except (ClientError, ConfigurationError, OSError) as error:
            # What is not sent stands in the files; the next run, or the server's start, goes on with it.
            get_logger("Shipper").debug("Runs are not sent to the server now: %s", error)

    def _ship(self) -> None:
        raise NotImplementedError


class _RunThread(_Thread):
    """
    Ships one run, and beside it what earlier runs have left.

    Args:
        home: the home folder.
        folder: of the run.
    """

    def __init__(self, home: Home, folder: Path) -> None:
        super().__init__("tenuto-shipper")
        self._home = home
        self._folder = folder
        self._process = os.getpid()

    def finish(self, seconds: float) -> None:
        """Send what is left, as long as the server takes it; return after so many seconds at the latest."""
        if os.getpid() == self._process:  # A fork of the process has the object, and not the thread.
            self._ending.set()
            self.join(seconds)

    def _ship(self) -> None:
        # The HTTP library costs a short run more than its tasks: it is loaded for a server that is there.
        delays = backoff()
        while (server := configured_server()) is None or is_down(server):
            if not self._wait(next(delays)):
                return
        from tenuto.client.adopter import Adopter
        from tenuto.client.http import HttpClient
        from tenuto.client.shipper import RunShipper, Step

        client = HttpClient(configured_server)
        own = RunShipper(self._home, self._folder, client, self._wait, follows=True)
        adopter = Adopter(self._home, client, self._wait, on_refused=warn_of)
        looked = False
        try:
            while True:
                # Asked before the step: what was written up to then is sent by it.
                own.is_closed = ending = self._ending.is_set()
                done = own.step()
                if done is Step.DONE:
                    warn_of(own)
                    return
                if done is Step.SENT and (ending or own.has_backlog):
                    continue
                if ending:
                    return
                if not looked and own.is_announced:
                    looked = True
                    adopter.look()
                end = time.monotonic() + (LATER_SECONDS if done is Step.LATER else FLUSH_SECONDS)
                while looked and not self._ending.is_set() and time.monotonic() < end and adopter.step():
                    pass
                self._ending.wait(max(0.0, end - time.monotonic()))
        finally:
            own.close()
            adopter.close()
            client.close()


def warn_of(shipper: RunShipper) -> None:
    """Say, once for each run, that the server will not have it."""
    if shipper.refusal and not shipper.is_foreseen:
        get_logger("Shipper").warning(
            "Run %s is not sent to the server: %s", shipper.folder.name, shipper.refusal
        )


class AdoptionThread(_Thread):
    """
    Ships whatever runs appear in a home folder and are not shipped by their own process.

    Args:
        home: the home folder.
        find: returns where the server is.
    """

    def __init__(self, home: Path, find: Callable[[], ServerAddress | None]) -> None:
        super().__init__("tenuto-adopter")
        self._home = Home(home)
        self._find = find

    def end(self, seconds: float) -> None:
        """Come to an end; return after so many seconds at the latest."""
        self._ending.set()
        self.join(seconds)

    def _ship(self) -> None:
        from tenuto.client.adopter import Adopter
        from tenuto.client.http import HttpClient

        client = HttpClient(self._find)
        adopter = Adopter(self._home, client, self._wait, follows=True, on_refused=warn_of)
        next_look = 0.0
        try:
            while not self._ending.is_set():
                if time.monotonic() >= next_look:
                    adopter.look()
                    next_look = time.monotonic() + LOOK_SECONDS
                if not adopter.step():
                    self._ending.wait(FLUSH_SECONDS)
        finally:
            adopter.close()
            client.close()
