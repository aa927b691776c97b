"""What becomes of a run whose worker is lost."""

import itertools

import pytest

from tenuto.server.domain.rescue import Rescue, after_loss


@pytest.mark.parametrize(
    ("state", "policy", "left", "is_local", "decision"),
    [
        ("Running", "on", 3, False, Rescue.AGAIN),  # R-BE-115
        ("Running", "on", 0, False, Rescue.FAIL),
        ("Running", "off", 3, False, Rescue.FAIL),
        ("Running", "only-before-start", 3, False, Rescue.FAIL),
        ("Submitted", "only-before-start", 3, False, Rescue.AGAIN),
        ("Queued", "only-before-start", 3, False, Rescue.AGAIN),
        ("Submitted", "off", 3, False, Rescue.FAIL),
        ("Running", "on", 3, True, Rescue.FAIL),  # its owner resumes it
        ("Cancelling", "on", 3, False, Rescue.CANCEL),
        ("Cancelling", "off", 0, True, Rescue.CANCEL),
        ("Paused", "on", 3, False, Rescue.STAY),  # R-BE-116
        ("Paused", "on", 0, False, Rescue.STAY),
        ("Paused", "off", 3, False, Rescue.FAIL),
        ("Paused", "on", 3, True, Rescue.FAIL),
    ],
)
def test_lost_run_is_rescued_as_its_policy_says(
    state: str, policy: str, left: int, is_local: bool, decision: Rescue
) -> None:
    assert after_loss(state=state, policy=policy, rescues_left=left, is_local=is_local) is decision


def test_nothing_is_rescued_for_ever() -> None:
    states, policies = ("Submitted", "Queued", "Running", "Cancelling"), ("on", "off", "only-before-start")
    for state, policy in itertools.product(states, policies):
        assert after_loss(state=state, policy=policy, rescues_left=0, is_local=False) is not Rescue.AGAIN
