from hypothesis import given
from hypothesis import strategies as st

from tenuto.journal.event import Event, Header, Kind, ResultRef
from tenuto.journal.fold import TaskView, fold
from tests.unit.journal.strategies import event_streams, numbered


def task(state: str, slug: str = "a-1", index: int = -1, **fields: object) -> Event:
    return Event(kind=Kind.TASK_STATE, slug=slug, index=index, state=state, **fields)  # type: ignore[arg-type]


def test_a_run_is_what_its_last_event_says() -> None:
    ref = ResultRef("inline", sha256="ab")
    view = fold(
        numbered(
            [
                Event(kind=Kind.RUN_STARTED, header=Header(v=1, flow="f", name="amber-otter")),
                Event(kind=Kind.RUN_STATE, state="Running"),
                task("Running", inputs={"x": "1"}, code="c"),
                task("Success", message="m", seconds=0.5, result=ref),
                Event(kind=Kind.RUN_STATE, state="Success", message="done"),
            ]
        )
    )

    assert (view.header.flow, view.name, view.state, view.message) == ("f", "amber-otter", "Success", "done")
    assert (view.started, view.ended, view.updated) == (1_000_001, 1_000_005, 1_000_005)
    assert view.is_finished
    assert view.is_successful
    assert view.tasks == {
        ("a-1", -1): TaskView(
            "a-1",
            state="Success",
            message="m",
            started=1_000_003,
            ended=1_000_004,
            seconds=0.5,
            inputs={"x": "1"},
            code="c",
            result=ref,
        )
    }


def test_without_events_nothing_is_known() -> None:
    view = fold([])

    assert view.header.v == 0
    assert not view.is_finished


def test_an_attempt_that_failed_and_is_tried_again_has_no_end() -> None:
    view = fold(numbered([task("Running"), task("Retrying", run_count=2, start_time=7)]))

    [found] = view.tasks.values()
    assert (found.state, found.run_count, found.start_time, found.ended) == ("Retrying", 2, 7, None)


def test_the_first_start_of_a_task_counts() -> None:
    view = fold(numbered([task("Running"), task("Retrying"), task("Running", run_count=2)]))

    assert view.tasks["a-1", -1].started == 1_000_001


def test_children_and_parent_are_views_of_their_own() -> None:
    view = fold(numbered([task("Mapped", children=2), task("Success", index=0), task("Failed", index=1)]))

    assert {key[1]: found.state for key, found in view.tasks.items()} == {
        -1: "Mapped",
        0: "Success",
        1: "Failed",
    }
    assert view.tasks["a-1", -1].children == 2


def test_an_incomplete_record_says_so_and_may_tell_the_end() -> None:
    mark = Event(kind=Kind.INCOMPLETE, data={"reason": "disk full"})
    end = Event(kind=Kind.INCOMPLETE, state="Success", data={"reason": "disk full"})

    assert fold(numbered([mark])).incomplete == "disk full"
    assert fold(numbered([mark])).state == "Pending"
    assert fold(numbered([mark, end])).state == "Success"


def test_names_notes_and_artifacts_are_kept() -> None:
    view = fold(
        numbered(
            [
                Event(kind=Kind.RUN_NAME, data={"name": "new"}),
                Event(kind=Kind.TASK_NAME, slug="a-1", data={"name": "first"}),
                Event(kind=Kind.NOTE, message="n"),
                Event(kind=Kind.ARTIFACT, slug="a-1", data={"kind": "link"}),
            ]
        )
    )

    assert view.name == "new"
    assert view.tasks["a-1", -1].name == "first"
    assert view.notes == ["n"]
    assert view.artifacts == [{"slug": "a-1", "index": -1, "kind": "link"}]


def test_the_newest_artifact_of_a_key_counts_and_one_without_kind_takes_it_away() -> None:
    def left(kind: str, key: str, body: object) -> Event:
        return Event(kind=Kind.ARTIFACT, slug="a-1", data={"kind": kind, "key": key, "body": body})

    view = fold(
        numbered(
            [
                left("link", "k", 1),
                left("link", "l", 2),
                left("link", "k", 3),
                left("", "l", None),
                left("", "unknown", None),
            ]
        )
    )
    assert [(a["key"], a["body"]) for a in view.artifacts] == [("k", 3)]


@given(stream=event_streams(), data=st.data())
def test_a_state_of_the_fold_is_that_of_the_last_event_of_its_kind(  # I-3
    stream: list[Event], data: st.DataObject
) -> None:
    prefix = stream[: data.draw(st.integers(0, len(stream)))]
    expected_tasks = {
        (event.slug, event.index): event.state for event in prefix if event.kind is Kind.TASK_STATE
    }
    expected_run = [event.state for event in prefix if event.kind is Kind.RUN_STATE]

    view = fold(prefix)

    assert {key: found.state for key, found in view.tasks.items() if found.state} == expected_tasks
    assert view.state == (expected_run or ["Pending"])[-1]
    assert view.updated == (prefix[-1].ts if prefix else 0)


@given(stream=event_streams())
def test_fold_does_not_change_the_events(stream: list[Event]) -> None:
    assert fold(stream) == fold(stream)
