"""The clock of a server on SQLite: what somebody who sets the machine's clock does not move."""

from datetime import UTC, datetime, timedelta

import pytest

from tenuto.server.clock import AnchoredClock

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Machine:
    """A machine whose clock can be set."""

    def __init__(self) -> None:
        self.wall = START.timestamp()
        self.passed = 1000.0
        self.clock = AnchoredClock(lambda: self.wall, lambda: self.passed)

    def wait(self, seconds: float) -> None:
        self.wall += seconds
        self.passed += seconds


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_clock_shows_the_time_that_passes(machine: Machine) -> None:
    machine.wait(90)

    assert machine.clock() == START + timedelta(seconds=90)
    assert machine.clock.wall_ahead() == timedelta(0)


@pytest.mark.parametrize("hours", [1, -1, 24 * 365])
def test_clock_of_the_machine_that_is_set_moves_nothing(machine: Machine, hours: int) -> None:
    # I-18
    machine.wall += hours * 3600

    assert machine.clock() == START
    assert machine.clock.wall_ahead() == timedelta(hours=hours)
    machine.wait(10)
    assert abs(machine.clock() - START - timedelta(seconds=10)) <= timedelta(seconds=10 * 500e-6)


def test_small_difference_is_made_up_for_and_is_nothing_that_was_set(machine: Machine) -> None:
    machine.wall += 1.5

    assert machine.clock.wall_ahead() == timedelta(0)
    for _ in range(4):
        machine.wait(1000)
        machine.clock()
    assert machine.clock().timestamp() == pytest.approx(machine.wall)


def test_clock_never_goes_back(machine: Machine) -> None:
    shown = [machine.clock()]
    for change in (-3600, 7200, -1, 5, -86400):
        machine.wall += change
        machine.wait(0.001)
        shown.append(machine.clock())

    assert shown == sorted(shown)
