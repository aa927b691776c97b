"""Who may take which run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.server.domain.labels import covers, labels_of_queue, queue_of

LABELS = st.lists(st.text(max_size=8), max_size=4)


@pytest.mark.parametrize(
    ("agent", "run", "any_label", "may"),
    [
        (["a", "b"], ["a"], False, True),  # R-BE-76
        (["a"], ["a", "b"], False, False),  # R-BE-76
        ([], ["a"], False, False),
        ([], [], False, True),  # R-BE-77
        (["a"], [], False, False),  # R-BE-77
        (["a"], [], True, True),  # R-BE-78
        ([], ["a"], True, False),  # R-BE-78: it is no wild card
        (["A"], ["a"], False, False),
    ],
)
def test_labels_of_the_agent_cover_those_of_the_run(
    agent: list[str], run: list[str], any_label: bool, may: bool
) -> None:
    assert covers(agent, run, any_label=any_label) is may


@given(LABELS, LABELS)
def test_queue_is_the_same_for_the_same_set_and_another_for_another(one: list[str], other: list[str]) -> None:
    assert (queue_of(one) == queue_of(other)) == (set(one) == set(other))


@given(LABELS)
def test_labels_come_back_out_of_their_queue(labels: list[str]) -> None:
    assert labels_of_queue(queue_of(labels)) == sorted(set(labels))


@given(LABELS, LABELS, st.booleans())
def test_more_labels_never_cost_an_agent_a_labelled_run(
    agent: list[str], run: list[str], any_label: bool
) -> None:
    if run and covers(agent, run, any_label=any_label):
        assert covers([*agent, "more"], run, any_label=any_label)
