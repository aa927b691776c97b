"""What becomes of a run that is due while others of its flow are under way."""

import pytest

from tenuto.server.domain.overlap import Admission, Overlap, admit


@pytest.mark.parametrize(
    ("overlap", "runs_at_once", "under_way", "is_scheduled", "decision"),
    [
        ("allow", 0, 7, True, Admission.START),  # R-BE-72
        ("allow", 2, 1, True, Admission.START),
        ("allow", 2, 2, True, Admission.WAIT),
        ("queue", 1, 0, True, Admission.START),
        ("queue", 1, 1, True, Admission.WAIT),
        ("skip", 1, 0, True, Admission.START),
        ("skip", 1, 1, True, Admission.SKIP),
        ("cancel-running", 1, 0, True, Admission.START),
        ("cancel-running", 1, 1, True, Admission.REPLACE),
        # The limit was lowered meanwhile.
        ("queue", 1, 3, True, Admission.WAIT),
        # Somebody asked for it: it is not dropped, and ends no others.
        ("skip", 1, 1, False, Admission.WAIT),
        ("cancel-running", 1, 1, False, Admission.WAIT),
    ],
)
def test_run_is_admitted_as_its_flow_says(
    overlap: Overlap, runs_at_once: int, under_way: int, is_scheduled: bool, decision: Admission
) -> None:
    found = admit(overlap=overlap, runs_at_once=runs_at_once, under_way=under_way, is_scheduled=is_scheduled)
    assert found is decision
