"""Looks through the home folder for runs that no server has, and ships them one after the other."""

from __future__ import annotations

from collections.abc import Callable

from tenuto._base.logging import get_logger
from tenuto.client.http import HttpClient, Wait
from tenuto.client.shipper import RunShipper, Step
from tenuto.journal.home import Home
from tenuto.journal.shipment import unshipped_runs

__all__ = ["Adopter"]

# At once; each holds a file open. Those that have ended come and go.
_ACTIVE_MAX = 100


class Adopter:
    """
    Ships what is left in a home folder, a step at a time.

    Args:
        home: the home folder.
        client: of the server.
        wait: is called before a request is sent again; False ends that.
        follows: whether runs that go on are shipped, too, if their own process does not: for one that lasts.
        on_refused: is told of each run that the server will not have.

    Attributes:
        shipped: how many runs the server has completely by this.
        events, logs: how many were sent.
        refused: folder's name of each run that the server will not have -> why.
        going_on: folders' names of the runs that were passed over, because they go on or others ship them.
    """

    def __init__(
        self,
        home: Home,
        client: HttpClient,
        wait: Wait,
        *,
        follows: bool = False,
        on_refused: Callable[[RunShipper], None] | None = None,
    ) -> None:
        self.shipped = self.events = self.logs = 0
        self.refused: dict[str, str] = {}
        self.going_on: list[str] = []
        self._home = home
        self._client = client
        self._wait = wait
        self._follows = follows
        self._on_refused = on_refused
        self._waiting: list[str] = []
        self._retried: frozenset[str] = frozenset()
        self._active: dict[str, RunShipper] = {}

    @property
    def is_at_work(self) -> bool:
        """Whether there are runs of which something may be left to send."""
        return bool(self._active or self._waiting)

    def look(self, also: list[str] | None = None) -> int:
        """
        List what is to be shipped; return how many runs that are.

        Args:
            also: names of folders of runs that were refused, to be tried again.
        """
        self._retried = frozenset(also or ())
        names = [*unshipped_runs(self._home), *self._retried]
        self.going_on = []
        # Taken from the end: the newest first.
        self._waiting = [name for name in reversed(names) if name not in self._active]
        return len(self._waiting)

    def step(self) -> bool:
        """
        Send something; False when there is nothing at the moment.

        Raises:
            ServerUnreachable: when `wait` has given up.
            RequestRefused: when the server will not speak to us, whatever the run.
        """
        if self._waiting and len(self._active) < _ACTIVE_MAX:
            name = self._waiting.pop()
            self._active[name] = RunShipper(
                self._home,
                self._home.runs / name,
                self._client,
                self._wait,
                follows=self._follows,
                retries=name in self._retried,
            )
        sent = [self._step(name, shipper) for name, shipper in list(self._active.items())]
        return any(sent) or bool(self._waiting and len(self._active) < _ACTIVE_MAX)

    def _step(self, name: str, shipper: RunShipper) -> bool:
        """Take one step with a run; say whether something was sent."""
        events, logs = shipper.events, shipper.logs
        try:
            done = shipper.step()
        except OSError as error:
            # The disk, or retention took the run away: the others go on, and it is looked at again.
            get_logger("Shipper").debug("Run %s cannot be shipped now: %s", name, error)
            done = Step.LATER
        self.events += shipper.events - events
        self.logs += shipper.logs - logs
        if done in (Step.SENT, Step.IDLE):
            return done is Step.SENT
        shipper.close()
        del self._active[name]
        if done is Step.LATER:
            self.going_on.append(name)
        elif shipper.refusal:
            self.refused[name] = shipper.refusal
            if self._on_refused is not None:
                self._on_refused(shipper)
        elif shipper.is_announced:
            self.shipped += 1
        return False

    def close(self) -> None:
        """Let go of the runs that are being shipped."""
        for shipper in self._active.values():
            shipper.close()
        self._active.clear()
