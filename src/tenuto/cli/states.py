"""Names of states as the command line takes and shows them."""

from __future__ import annotations

import difflib

from tenuto.journal.states import FINAL_STATES

__all__ = ["chip_of", "known_state"]

RUN_STATES = frozenset({"Cancelled", "Failed", "Paused", "Pending", "Running", "Scheduled", "Success"})
CAUSES = frozenset({"crashed", "storage"})


def known_state(name: str) -> tuple[bool, str]:
    """Say whether a run can be in a state, or fail for a cause, of that name; else name what comes near."""
    known = {state.lower(): state for state in FINAL_STATES | RUN_STATES | CAUSES}
    if name.lower() in known:
        return True, ""
    near = difflib.get_close_matches(name.lower(), known, n=1)
    return False, known[near[0]] if near else ""


def chip_of(state: str) -> str:
    """Return the colour (`#rrggbb`) of a state, darkened until white text can be read on it."""
    from tenuto.engine.state import state_class

    try:
        colour = state_class(state).color
    except ValueError:
        return "#696969"  # Written by a later version.
    parts = [int(colour[index : index + 2], 16) for index in (1, 3, 5)]
    while luminance(parts) > 0.18:
        parts = [int(part * 0.9) for part in parts]
    return "#" + "".join(f"{part:02x}" for part in parts)


def luminance(parts: list[int]) -> float:
    """Return the relative luminance of a colour (WCAG 2.1): white on 0.183 has a contrast of 4.5."""
    linear = [(part / 255 / 12.92) if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
