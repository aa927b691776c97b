"""Settings of flows: what the server acts on, and what it refuses."""

import pytest

from tenuto.server.domain.group_settings import BadSettings, GroupSettings, check_settings

WRONG = [
    ("overlap", "never"),
    ("overlap", ["skip"]),
    ("catchup", None),
    ("rescue", True),
    ("max_concurrent_runs", -1),
    ("max_concurrent_runs", 1.5),
    ("max_concurrent_runs", True),
    ("max_concurrent_runs", "3"),
    ("grace_seconds", float("nan")),
    ("grace_seconds", float("inf")),
    ("grace_seconds", -0.1),
]


def test_settings_that_are_not_set_have_defaults() -> None:
    settings = GroupSettings.read({})

    assert settings == GroupSettings(
        rescue="on", overlap="allow", max_concurrent_runs=0, catchup="latest", grace_seconds=300.0
    )


def test_settings_are_read_and_others_are_left_to_others() -> None:
    given = {"overlap": "skip", "max_concurrent_runs": 3, "run_name_template": "{date}"}
    check_settings(given)

    assert GroupSettings.read(given) == GroupSettings(overlap="skip", max_concurrent_runs=3)


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_wrong_setting_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(BadSettings, match=name):
        check_settings({name: value})


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_wrong_setting_that_is_stored_is_as_if_it_was_not_set(name: str, value: object) -> None:
    # S-26
    assert GroupSettings.read({name: value}) == GroupSettings()


@pytest.mark.parametrize(
    ("given", "runs_at_once"),
    [
        ({}, 0),
        ({"max_concurrent_runs": 4}, 4),
        ({"overlap": "queue"}, 1),
        ({"overlap": "skip", "max_concurrent_runs": 2}, 2),
        ({"overlap": "cancel-running"}, 1),
    ],
)
def test_overlap_that_is_not_allowed_leaves_room_for_one_run(
    given: dict[str, object], runs_at_once: int
) -> None:
    # R-BE-72
    assert GroupSettings.read(given).runs_at_once == runs_at_once
