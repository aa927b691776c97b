"""Values and names that resist being looked at fail nothing but themselves."""

from __future__ import annotations

from typing import Any

import pytest

from tenuto import Flow, task


class Unbound:
    """As proxies of web frameworks are outside of a request."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError("working outside of a request")

    @__class__.setter
    def __class__(self, value: Any) -> None:
        raise RuntimeError("working outside of a request")


def test_value_whose_class_cannot_be_asked_is_passed_on() -> None:
    @task
    def give() -> Any:
        return Unbound()

    @task
    def take(value: Any) -> str:
        return type(value).__name__

    with Flow("odd") as flow:
        taken = take(give())

    assert flow.run().result[taken].result == "Unbound"


def test_names_with_lone_surrogates_are_run_logged_and_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    @task(name="odd\ud800name")
    def answer() -> int:
        return 42

    with Flow("odd\udfffflow") as flow:
        given = answer()

    assert flow.run().result[given].result == 42
    assert "Task 'odd\\ud800name': Starting task run" in capsys.readouterr().out
