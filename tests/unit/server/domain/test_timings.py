"""The constants of the protocol, and how they hang together."""

from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.server.domain.timings import Timings


def test_defaults_are_those_of_the_protocol() -> None:
    timings = Timings()
    seconds = {field.name: getattr(timings, field.name).total_seconds() for field in fields(timings)}
    assert seconds == {
        "heartbeat": 15,
        "stop_after": 45,
        "kill_grace": 10,
        "margin": 5,
        "lease": 60,
        "grace": 30,
        "sweep": 15,
        "service_lease": 30,
        "service_renew": 10,
        "claim_look": 1,
        "claim_wait": 30,
        "max_offline": 360,
        "restart": 300,
        "cancel_push": 5,
        "cancel_grace": 30,
        "drain": 30,
        "request": 10,
        "retry_cap": 15,
        "schedule": 10,
        "horizon": 600,
        "horizon_few": 24 * 3600,
        "submit": 300,
        "late_reports": 600,
    }
    assert timings.detection_max == timedelta(seconds=105)  # R-BE-112


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"heartbeat": 16}, "3 x heartbeat <= stop_after"),
        ({"stop_after": 76}, "stop_after + kill_grace + margin <= lease + grace"),
        ({"lease": 29}, "stop_after + kill_grace + margin <= lease + grace"),
        ({"cancel_grace": 10}, "kill_grace < cancel_grace"),
        ({"service_renew": 11}, "3 x service_renew <= service_lease"),
        ({"max_offline": 300}, "max_offline > restart"),
        ({"request": 15}, "request < heartbeat"),
        ({"horizon": 99}, "horizon >= 10 x schedule"),
    ],
)
def test_timings_that_do_not_fit_together_are_refused(changed: dict[str, int], told: str) -> None:
    wanted: dict[str, Any] = {name: timedelta(seconds=value) for name, value in changed.items()}
    with pytest.raises(ValueError, match="do not fit together") as caught:
        Timings(**wanted)
    assert str(caught.value) == f"These timings do not fit together: {told} does not hold."


@given(st.floats(min_value=1e-3, max_value=10_000))
def test_timings_that_are_divided_fit_together(divisor: float) -> None:
    quicker = Timings().divided(divisor)
    assert abs(quicker.lease * divisor - timedelta(seconds=60)) <= timedelta(microseconds=divisor + 1)
