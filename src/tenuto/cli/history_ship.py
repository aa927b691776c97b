"""`tenuto history --ship`: send to the server what it does not have yet."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

from tenuto.cli.display import Display, can_redraw
from tenuto.cli.errors import Foreseen
from tenuto.cli.texts import printable

if TYPE_CHECKING:
    from tenuto.client.adopter import Adopter
    from tenuto.journal.home import Home

__all__ = ["ship_home"]

# For which a server that does not answer is asked again, as one that is just being started.
_PATIENCE_SECONDS = 10.0
_LOOK_SECONDS = 0.1
_REFUSED_SHOWN_MAX = 10


def ship_home(display: Display, home: Home, *, as_json: bool) -> None:
    """
    Ship all runs that have ended, and say how it went; those that were refused before are tried again.

    Raises:
        Foreseen: if there is no server, or it does not take them.
    """
    from tenuto.client.adopter import Adopter
    from tenuto.client.configured import configured_server
    from tenuto.client.http import HttpClient
    from tenuto.exceptions import AuthorizationError, ClientError
    from tenuto.journal.shipment import refused_runs

    if configured_server() is None:
        raise Foreseen(
            "No server is configured.",
            "Start one with: tenuto server start",
            "Or name one: tenuto config shows the setting cloud.api, TENUTO__CLOUD__API sets it.",
        )
    client = HttpClient(configured_server)
    adopter = Adopter(home, client, _Patience())
    progress = _Progress(display, adopter, adopter.look(also=refused_runs(home)))
    try:
        while _goes_on(adopter):
            progress.show()
    except AuthorizationError as error:
        raise Foreseen(str(error), "Name the key by TENUTO__CLOUD__API_KEY.") from error
    except ClientError as error:
        done = f"{adopter.shipped} of {progress.total} runs were sent before."
        raise Foreseen(str(error), done) from error
    finally:
        progress.clear()
        adopter.close()
        client.close()
    tell(display, adopter, as_json=as_json)


def _goes_on(adopter: Adopter) -> bool:
    """Send something more; False when all is sent, also what runs that ended just now have written since."""
    if adopter.step():
        return True
    if adopter.is_at_work:
        time.sleep(_LOOK_SECONDS)
    return adopter.is_at_work


def tell(display: Display, adopter: Adopter, *, as_json: bool) -> None:
    """Print what was sent, and what was not."""
    if as_json:
        found = {
            "shipped": adopter.shipped,
            "events": adopter.events,
            "logs": adopter.logs,
            "going_on": adopter.going_on,
            "refused": [{"id": name, "reason": reason} for name, reason in adopter.refused.items()],
        }
        display.result(json.dumps(found, indent=2, ensure_ascii=False))
        return
    if not (adopter.shipped or adopter.refused or adopter.going_on):
        display.line("The server has all runs.")
        return
    counts = f"{adopter.events:,} events, {adopter.logs:,} log records"
    display.line(f"Sent {_runs(adopter.shipped)} to the server: {counts}.")
    if adopter.going_on:
        display.line(f"{_runs(len(adopter.going_on))} still going on: sent when ended.")
    for name, reason in list(adopter.refused.items())[:_REFUSED_SHOWN_MAX]:
        display.line(f"Not sent: {name}: {printable(reason)}")
    more = len(adopter.refused) - _REFUSED_SHOWN_MAX
    if more > 0:
        display.line(f"Not sent: {more} more.")


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count:,} runs"


class _Patience:
    """Waits before a request is sent again, until it has waited for too long altogether."""

    def __init__(self) -> None:
        self._left = _PATIENCE_SECONDS

    def __call__(self, seconds: float) -> bool:
        if self._left <= 0:
            return False
        # Never for nothing: full jitter may say 0.
        seconds = min(max(seconds, 0.05), self._left)
        self._left -= seconds
        time.sleep(seconds)
        return True


class _Progress:
    """A line that counts, on a terminal."""

    def __init__(self, display: Display, adopter: Adopter, total: int) -> None:
        self.total = total
        self._display = display
        self._adopter = adopter
        self._is_shown = can_redraw(sys.stderr)
        self._next = 0.0

    def show(self) -> None:
        """Draw the line anew, now and then."""
        if self._is_shown and time.monotonic() >= self._next:
            self._next = time.monotonic() + 0.1
            done = self._adopter.shipped + len(self._adopter.refused) + len(self._adopter.going_on)
            text = f"Sending: {done:,} of {self.total:,} runs, {self._adopter.events:,} events"
            self._draw(text)

    def clear(self) -> None:
        """Take the line away."""
        if self._is_shown and self._next:
            self._draw("")

    def _draw(self, text: str) -> None:
        sys.stderr.write(f"\r\x1b[2K{text}")
        sys.stderr.flush()
