"""What a worker of a cluster makes of a call, and what it leaves for those that come after."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Sequence
from typing import Any

from tenuto import Task
from tenuto._base.masking import forget_secrets, register_secret
from tenuto.engine.attempt import Attempt, Body, Surroundings
from tenuto.executors.parcels import Packer
from tenuto.executors.remote import NoValue, Shipment, _Place, call_attempt

SECRET = "correct-horse-battery"


class Reads(Task):
    def run(self) -> str:
        register_secret(SECRET)
        return SECRET


class Fails(Task):
    def run(self, value: str) -> None:
        raise ValueError(f"refused: {value}")


def call(task: Task, values: Sequence[Any] = (), **inputs: Any) -> tuple[Any, bytes | None]:
    """Make a call as a worker on another machine does, which was told of no secrets."""
    body = Body(task, task.name, special=False, keep=None, surroundings=Surroundings())
    packer = Packer()
    parcel = packer.pack(Attempt(body, 0, inputs, {}, None))
    shipment = Shipment(parcel.data, [], logging.INFO, ("elsewhere", 1), "")
    return call_attempt(shipment, {name: packer.part(name) for name in parcel.parts}, values)


def test_secret_that_an_upstream_has_read_is_hidden_by_what_follows_on_another_worker() -> None:
    # R-LOG-12
    value, _ = call(Reads())
    forget_secrets()  # As on a worker that has not read it.
    _, report = call(Fails(), [value], value=_Place(0))
    assert report is not None
    error = pickle.loads(report).outcome.error_text
    assert error.message == "refused: ****"
    assert SECRET not in error.traceback


def test_call_after_one_that_gave_no_value_is_not_begun() -> None:
    nothing, report = call(Fails(), ["text"], value=_Place(0))
    assert type(nothing) is NoValue
    assert report is not None
    follows, report = call(Reads(), [nothing])
    assert type(follows) is NoValue
    assert report is None
