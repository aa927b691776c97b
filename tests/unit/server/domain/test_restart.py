"""What runs again when a finished run is restarted."""

from hypothesis import given
from hypothesis import strategies as st

from tenuto.server.domain.restart import FlowEdge, TaskFacts, edges_of, runs_again

STATES = ["Success", "Cached", "Skipped", "Mapped", "Failed", "TimedOut", "TriggerFailed", "Cancelled"]


def flow(*edges: str) -> list[FlowEdge]:
    """Return edges such as `a>b`, `a=b` along which values go to the child of the same number."""
    made = []
    for edge in edges:
        sign = "=" if "=" in edge else ">"
        upstream, downstream = edge.split(sign)
        made.append(FlowEdge(upstream, downstream.rstrip("!"), not edge.endswith("!"), sign == "="))
    return made


def done(slug: str, state: str = "Success", index: int = -1, *, stored: bool = True) -> TaskFacts:
    return TaskFacts(slug, index, state, stored and state in ("Success", "Cached"))


def again(tasks: list[TaskFacts], edges: list[FlowEdge]) -> list[str]:
    found = runs_again(tasks, edges, everything=False)
    return [task.slug + (f"[{task.map_index}]" if task.map_index >= 0 else "") for task in found]


def test_what_failed_and_what_waited_for_it_runs_again() -> None:
    # R-BE-126
    tasks = [done("a"), done("b", "Failed"), done("c", "TriggerFailed"), done("d")]
    assert again(tasks, flow("a>b", "b>c", "a>d")) == ["b", "c"]


def test_what_ran_although_something_before_it_failed_stays_if_its_value_is_stored() -> None:
    # I-1 comes before R-BE-126: such as a task that cleans up.
    edges = flow("a>b", "a>c")
    assert again([done("a", "Failed"), done("b"), done("c", stored=False)], edges) == ["a", "c"]


def test_a_value_that_is_stored_nowhere_is_made_again() -> None:
    # R-BE-128
    tasks = [done("a"), done("b", stored=False), done("c", "Failed"), done("e", stored=False)]
    assert again(tasks, flow("a>b", "b>c", "e>c!")) == ["b", "c"]


def test_of_a_map_only_the_children_that_failed_run_again() -> None:
    # R-BE-127
    tasks = [done("a"), done("b", "Mapped"), done("b", index=0), done("b", "Failed", 1)]
    tasks += [
        done("c", "Mapped"),
        done("c", index=0),
        done("c", "TriggerFailed", 1),
        done("d", "TriggerFailed"),
    ]
    assert again(tasks, flow("a=b", "b=c", "c>d")) == ["b[1]", "c[1]", "d"]


def test_a_child_whose_value_is_stored_nowhere_is_made_again_alone() -> None:
    tasks = [done("b", "Mapped"), done("b", index=0), done("b", index=1, stored=False)]
    tasks += [done("c", "Mapped"), done("c", index=0), done("c", "Failed", 1)]
    assert again(tasks, flow("b=c")) == ["b[1]", "c[1]"]


def test_a_map_over_what_runs_again_is_made_anew_and_keeps_what_is_stored() -> None:
    tasks = [done("a", "Failed"), done("b", "Mapped"), done("b", index=0), done("b", index=1, stored=False)]
    assert again(tasks, flow("a=b")) == ["a", "b", "b[1]"]


def test_everything_is_everything() -> None:
    tasks = [done("a"), done("b", "Mapped"), done("b", index=0)]
    assert runs_again(tasks, flow("a=b"), everything=True) == tasks


@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.integers(-1, 3), st.sampled_from(STATES), st.booleans()),
        unique_by=lambda row: row[:2],
    ),
    st.lists(
        st.builds(FlowEdge, st.sampled_from("abcd"), st.sampled_from("abcd"), st.booleans(), st.booleans())
    ),
)
def test_whatever_the_graph_what_is_stored_stays_and_what_failed_does_not(
    rows: list[tuple[str, int, str, bool]], edges: list[FlowEdge]
) -> None:
    # I-1
    tasks = [done(slug, state, index, stored=stored) for slug, index, state, stored in rows]
    found = set(runs_again(tasks, edges, everything=False))
    for task in tasks:
        if task.state in ("Success", "Cached") and task.has_value:
            assert task not in found
        if task.state not in ("Success", "Cached", "Skipped", "Mapped"):
            assert task in found


@given(
    st.recursive(
        st.none() | st.text(max_size=3),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["edges", "key", "mapped"]), inner),
    )
)
def test_whatever_was_registered_has_edges(serialized: object) -> None:
    assert isinstance(edges_of(serialized), list)
