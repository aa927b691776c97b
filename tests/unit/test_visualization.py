"""Pictures of flows, as text."""

import builtins
import re
import shutil
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import graphviz
import pytest

from tenuto import Flow, Parameter, Task, case, mapped, task
from tenuto.engine.state import Failed, Mapped, Skipped, Success
from tenuto.visualization import CHILDREN_MAX, DEPTH_MAX, dot, mermaid, tree


@task
def add(x: Any, y: Any = 1) -> Any:
    return x


def pages() -> tuple[Flow, dict[str, Any]]:
    with Flow("pages") as flow:
        page = Parameter("page", default=3)
        first: Any = add(page, task_args={"name": "first"})
        over: Any = add.map([1, 2], y=mapped(first), task_args={"name": "over"})
        again: Any = add.map(over, task_args={"name": "again"})
        with case(first, "yes"):
            last: Any = add(again, over, task_args={"name": "last"})
    return flow, {"page": page, "first": first, "over": over, "again": again, "last": last}


def nodes(graph: graphviz.Digraph) -> dict[str, dict[str, str]]:
    """Return label -> attributes of the drawn nodes."""
    found = {}
    for line in graph.body:
        match = re.match(r"\t(\w+) \[(.*)\]\n$", line)
        if match and "->" not in line:
            found.update({text(match[2])["label"]: {"id": match[1], **text(match[2])}})
    return found


def edges(graph: graphviz.Digraph) -> list[tuple[str, str, dict[str, str]]]:
    """Return (label above, label below, attributes) of the drawn edges."""
    labels = {one["id"]: label for label, one in nodes(graph).items()}
    found = []
    for line in graph.body:
        match = re.match(r"\t(\w+) -> (\w+)(?: \[(.*)\])?\n$", line)
        if match:
            found.append(
                (labels.get(match[1], match[1]), labels.get(match[2], match[2]), text(match[3] or ""))
            )
    return found


def text(attributes: str) -> dict[str, str]:
    return {key: value.strip('"') for key, value in re.findall(r'(\w+)=("[^"]*"|\S+)', attributes)}


# R-GRAPH-14 [seed S-7]
def test_kinds_of_tasks_have_shapes_of_their_own() -> None:
    flow, _ = pages()
    shapes = {label: one["shape"] for label, one in nodes(dot(flow)).items()}
    assert shapes == {
        "page": "parallelogram",
        "first": "ellipse",
        "[1, 2]": "ellipse",
        "over <map>": "box",
        "again <map>": "box",
        "case(yes)": "diamond",
        "last": "ellipse",
    }


# R-GRAPH-14
def test_edges_bear_their_argument_and_mapped_ones_are_dashed() -> None:
    flow, _ = pages()
    drawn = {(above, below): look for above, below, look in edges(dot(flow))}
    assert drawn["page", "first"] == {"label": "x"}
    assert drawn["[1, 2]", "over <map>"] == {"label": "x", "style": "dashed"}
    assert drawn["first", "over <map>"] == {"label": "y", "style": "dashed"}
    assert drawn["again <map>", "last"] == {"label": "x"}
    assert drawn["case(yes)", "last"] == {}


# R-GRAPH-14
def test_direction_is_from_left_to_right_if_asked() -> None:
    flow, _ = pages()
    assert "rankdir=LR" in dot(flow, horizontal=True).source
    assert "rankdir" not in dot(flow).source


# R-GRAPH-14
def test_states_give_the_colours_and_mapped_tasks_their_children() -> None:
    flow, tasks = pages()
    children = Mapped(map_states=[Success(), Failed()])
    states = {
        tasks["page"]: Success(),
        tasks["over"]: children,
        tasks["again"]: children,
        tasks["last"]: Skipped(),
    }
    graph = dot(flow, SimpleNamespace(result=states))  # type: ignore[arg-type]  # only the result is looked at
    drawn = nodes(graph)
    assert {label: one.get("fillcolor") for label, one in drawn.items()} == {
        "page": "#28a74580",
        "first": None,
        "[1, 2]": None,
        "over[0]": "#28a74580",
        "over[1]": "#eb000080",
        "again[0]": "#28a74580",
        "again[1]": "#eb000080",
        "case(yes)": None,
        "last": "#62757f80",
    }
    assert drawn["over[0]"]["shape"] == "box"
    assert drawn["page"]["style"] == "filled"
    pairs = {(above, below) for above, below, _ in edges(graph)}
    assert {
        ("first", "over[0]"),
        ("first", "over[1]"),
        ("over[0]", "again[0]"),
        ("over[1]", "again[1]"),
    } <= pairs
    assert ("over[0]", "again[1]") not in pairs


# R-GRAPH-14
def test_state_without_task_states_colours_nothing() -> None:
    flow, _ = pages()
    assert dot(flow, Failed("broken", result=ValueError("x"))).source == dot(flow).source


def test_children_of_large_maps_are_drawn_in_part_and_joined_by_points() -> None:
    with Flow("f") as flow:
        first: Any = add.map([1], task_args={"name": "first"})
        every: Any = add.map([1], y=first, task_args={"name": "every"})
        flow.add_edge(first, every, flattened=True)
    many = Mapped(map_states=[Success()] * 5000)
    graph = dot(flow, SimpleNamespace(result={first: many, every: many}))  # type: ignore[arg-type]
    assert f"first[{CHILDREN_MAX - 1}]" in nodes(graph)
    assert f"first[{CHILDREN_MAX}] ... first[4999]" in nodes(graph)
    assert graph.source.count("shape=point") == 1
    assert len(edges(graph)) < 6 * CHILDREN_MAX


# R-GRAPH-14
@pytest.mark.parametrize("name", ['say "hi"', "a\\b", "<b>bold</b>", "colon:port", "Ünïcode", "line\nbreak"])
def test_names_are_escaped(name: str) -> None:
    flow = Flow(name)
    flow.add_task(Task(name=name))
    source = dot(flow).source
    # What the DOT language says of quoted texts: no quote inside but an escaped one; no HTML.
    labels = re.findall(r'label=("(?:[^"\\]|\\.)*"|\w+|<)', source)
    assert len(labels) == 1
    assert labels[0] != "<"
    assert mermaid(flow).count('"') == 2


# R-GRAPH-14
def test_file_is_rendered_without_a_viewer_and_the_source_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(
        graphviz.Digraph, "render", lambda self, filename, **options: calls.append((filename, options))
    )
    flow, _ = pages()
    assert isinstance(flow.visualize(filename=str(tmp_path / "a")), graphviz.Digraph)
    flow.visualize(filename=tmp_path / "a", format="svg")
    flow.visualize(filename=str(tmp_path / "a.png"))
    flow.visualize(filename=str(tmp_path / "a.v2"))
    silent = {"view": False, "cleanup": True}
    assert calls == [
        (str(tmp_path / "a"), {"format": "pdf", **silent}),
        (str(tmp_path / "a"), {"format": "svg", **silent}),
        (str(tmp_path / "a"), {"format": "png", **silent}),
        (str(tmp_path / "a.v2"), {"format": "pdf", **silent}),
    ]


# R-GRAPH-14
def test_without_a_file_it_is_shown_in_a_notebook_or_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(graphviz.Digraph, "render", lambda self, filename, **options: calls.append(options))
    flow, _ = pages()
    shell = SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    flow.visualize()
    assert not calls
    monkeypatch.delitem(sys.modules, "IPython")
    flow.visualize()
    assert calls == [{"format": "pdf", "view": True, "cleanup": True}]


# R-GRAPH-14
def test_where_nothing_opens_pictures_a_warning_says_which_file_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def render(self: graphviz.Digraph, filename: str, **options: Any) -> None:
        if made:
            Path(f"{filename}.svg").touch()
        raise FileNotFoundError(2, "No such file or directory", "xdg-open")

    monkeypatch.setattr(graphviz.Digraph, "render", render)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    flow, _ = pages()
    made = True
    assert isinstance(flow.visualize(format="svg"), graphviz.Digraph)
    [picture] = tmp_path.glob("*.svg")
    reason = "[Errno 2] No such file or directory: 'xdg-open'"
    assert caplog.messages == [f"Nothing here opens pictures ({reason}); this one is in {picture}"]
    made = False
    with pytest.raises(FileNotFoundError, match="xdg-open"):
        flow.visualize(format="svg")


# R-GRAPH-14
@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_picture_is_a_file(tmp_path: Path) -> None:
    flow, _ = pages()
    flow.visualize(filename=tmp_path / "picture", format="svg")
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["picture.svg"]


# R-GRAPH-14 R-INV-5
def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def importing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "graphviz":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    flow, _ = pages()
    monkeypatch.setattr(builtins, "__import__", importing)
    with pytest.raises(ImportError, match=r"tenuto\[viz\]"):
        flow.visualize()
    assert "page" in tree(flow)
    assert "page" in mermaid(flow)


def test_tree_shows_each_task_once_below_what_it_waits_for_last() -> None:
    flow, _ = pages()
    assert tree(flow) == (
        "pages\n"
        "├── page (parameter, default 3)\n"
        "│   └── first\n"
        "│       └── case(yes)\n"
        "│           └── last  [also after over, again]\n"
        "└── [1, 2] (constant)\n"
        "    └── over <map>  [also after first]\n"
        "        └── again <map>\n"
    )


def test_tree_tells_tasks_of_one_name_apart() -> None:
    with Flow("f") as flow:
        Parameter("needed")()
        add(add(1), add(2))
    assert tree(flow).splitlines() == [
        "f",
        "├── needed (parameter)",
        "├── add-1",
        "└── add-2",
        "    └── add-3  [also after add-1]",
    ]


def test_tree_of_a_long_chain_stays_narrow_and_short() -> None:
    with Flow("f") as flow:
        node: Any = add(0)
        for _ in range(3000):
            node = add(node)
    lines = tree(flow).splitlines()
    assert len([line for line in lines if "add-" in line and "..." not in line[:3]]) == 3001
    assert max(map(len, lines)) < 6 * DEPTH_MAX + 20
    assert "... add-13" in lines


def test_tree_of_an_empty_flow_is_its_name() -> None:
    assert tree(Flow("empty")) == "empty\n"


def test_mermaid_draws_the_same_graph() -> None:
    flow, _ = pages()
    lines = mermaid(flow).splitlines()
    assert lines[0] == "flowchart TD"
    assert '    task0[/"page"/]' in lines
    assert '    task1("first")' in lines
    assert '    task3[["over #60;map#62;"]]' in lines
    assert '    task6{"case(yes)"}' in lines
    assert '    task0 -->|"x"| task1' in lines
    assert '    task2 -.->|"x"| task3' in lines
