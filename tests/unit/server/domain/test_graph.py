"""The graph of a run, as it is drawn."""

import pytest

from tenuto.server.domain.graph import TaskProgress, edges_drawn, nodes_drawn

FLOW = {
    "tasks": [
        {"slug": "a-1", "name": "a", "type": "tenuto.core.parameter.Parameter", "tags": ["t"]},
        {"slug": "b-1", "name": "b", "mapped": True},
    ],
    "edges": [{"upstream_slug": "a-1", "downstream_slug": "b-1", "key": "x", "mapped": True}],
}


def test_tasks_have_their_progress_and_those_that_only_the_run_knows_are_there() -> None:
    progress = {
        "b-1": TaskProgress("Mapped", {"Success": 2}),
        "new": TaskProgress("Running"),
    }

    nodes = nodes_drawn(FLOW, progress)

    assert [(node.slug, node.type, node.is_mapped, node.progress.state) for node in nodes] == [
        ("a-1", "Parameter", False, ""),
        ("b-1", "", True, "Mapped"),
        ("new", "", False, "Running"),
    ]
    assert nodes[1].progress.children == {"Success": 2}
    (edge,) = edges_drawn(FLOW)
    assert (edge["upstream"], edge["downstream"], edge["key"], edge["mapped"]) == ("a-1", "b-1", "x", True)


@pytest.mark.parametrize("flow", [None, [], {}, {"tasks": 1, "edges": {}}, {"tasks": [None], "edges": ["x"]}])
def test_a_flow_that_is_none_has_no_graph(flow: object) -> None:
    # S-26
    assert (nodes_drawn(flow, {}), edges_drawn(flow)) == ([], [])


def test_odd_parts_do_no_harm() -> None:
    odd = {"tasks": [{"slug": 1, "tags": "x", "type": None}], "edges": [{"key": 3}]}
    assert [(node.slug, node.name, node.tags) for node in nodes_drawn(odd, {})] == [("1", "1", [])]
    assert [edge["key"] for edge in edges_drawn(odd)] == ["3"]
