"""
Pictures of flows: Graphviz, Mermaid, and a tree for the terminal.

Graphviz needs the `viz` extra, and for files and windows its program `dot`; the other two are plain text.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenuto._base.logging import get_logger
from tenuto.core.nodes import Constant
from tenuto.core.parameter import Parameter
from tenuto.engine.state import Mapped
from tenuto.tasks.control_flow.conditional import CompareValue

if TYPE_CHECKING:
    import graphviz

    from tenuto.core.edge import Edge
    from tenuto.core.flow import Flow
    from tenuto.core.task import Task
    from tenuto.engine.state import State

__all__ = ["dot", "mermaid", "tree", "visualize"]

CHILDREN_MAX = 100
"""More children of a mapped task than this are drawn as one box: nobody can look at them one by one."""
DEPTH_MAX = 12
"""A tree deeper than this is continued at the margin."""

_ALPHA = "80"

logger = get_logger("visualization")


# --------------------------------------------------------------------------------------------------- Graphviz


def visualize(
    flow: Flow,
    flow_state: State | None = None,
    *,
    filename: str | os.PathLike[str] | None = None,
    format: str | None = None,
    horizontal: bool = False,
) -> graphviz.Digraph:
    """
    Draw a flow; see `Flow.visualize`.

    Args:
        flow: what to draw.
        flow_state: of a run; its tasks' states give the colours.
        filename: render there, and show nothing. The format may be its ending.
        format: of the file; default: `pdf`.
        horizontal: from left to right.

    Returns:
        The picture. A notebook shows it; elsewhere it is rendered to a temporary file and opened. Where
        nothing opens pictures, a warning says which file it is.

    Raises:
        ImportError: without the `viz` extra.
        graphviz.ExecutableNotFound: if it is to be rendered and Graphviz is not installed.
    """
    graph = dot(flow, flow_state, horizontal)
    if filename is not None:
        path, ending = Path(filename), Path(filename).suffix[1:]
        if format is None and ending in _graphviz().FORMATS:
            graph.render(os.fspath(path.with_suffix("")), format=ending, view=False, cleanup=True)
        else:
            graph.render(os.fspath(path), format=format or "pdf", view=False, cleanup=True)
    elif not _in_notebook():
        with tempfile.NamedTemporaryFile(prefix="tenuto-", delete=False) as file:
            ending = format or "pdf"
            try:
                graph.render(file.name, format=ending, view=True, cleanup=True)
            except (
                FileNotFoundError
            ) as error:  # No `xdg-open`, on a machine without a screen: the picture is made.
                if not Path(f"{file.name}.{ending}").exists():
                    raise
                logger.warning(
                    "Nothing here opens pictures (%s); this one is in %s.%s", error, file.name, ending
                )
    return graph


def dot(flow: Flow, state: State | None = None, horizontal: bool = False) -> graphviz.Digraph:
    """
    Return a flow as a Graphviz picture.

    Tasks are ellipses, mapped ones boxes, parameters parallelograms, conditions diamonds; edges bear the name
    of the argument, and those that are mapped over are dashed. With the state of a run, tasks have the
    colours of their states, and mapped tasks are drawn child by child.

    Raises:
        ImportError: without the `viz` extra.
    """
    return _Drawing(flow, state, horizontal).graph


class _Drawing:
    def __init__(self, flow: Flow, state: State | None, horizontal: bool) -> None:
        self.flow = flow
        result = state.result if state is not None else None
        self.states: Mapping[Task, State] = result if isinstance(result, Mapping) else {}
        self.graph = _graphviz().Digraph(comment=flow.name)
        if horizontal:
            self.graph.attr(rankdir="LR")
        self.mapped = mapped_tasks(flow)
        self.ids: dict[Task, list[str]] = {}
        for number, task in enumerate(flow.tasks):
            self.ids[task] = list(self._draw_task(task, f"task{number}"))
        for number, edge in enumerate(flow.edges):
            self._draw_edge(edge, f"edge{number}")

    def _draw_task(self, task: Task, name: str) -> Iterator[str]:
        """Draw a task, or the children of a mapped one, and yield the names of what was drawn."""
        state = self.states.get(task)
        if not isinstance(state, Mapped) or not state.map_states:
            label = f"{task.name} <map>" if task in self.mapped else task.name
            yield self._draw_node(name, label, _shape(task, task in self.mapped), state)
            return
        children = state.map_states
        for index, child in enumerate(children[:CHILDREN_MAX]):
            yield self._draw_node(f"{name}_{index}", f"{task.name}[{index}]", "box", child)
        if len(children) > CHILDREN_MAX:
            label = f"{task.name}[{CHILDREN_MAX}] ... {task.name}[{len(children) - 1}]"
            yield self._draw_node(f"{name}_rest", label, "box", state)

    def _draw_node(self, name: str, label: str, shape: str, state: State | None) -> str:
        colour = {} if state is None else {"style": "filled", "fillcolor": state.color + _ALPHA}
        self.graph.node(name, _graphviz().escape(label), shape=shape, color="black", **colour)
        return name

    def _draw_edge(self, edge: Edge, name: str) -> None:
        above, below = self.ids[edge.upstream_task], self.ids[edge.downstream_task]
        look = {"style": "dashed"} if edge.mapped else {}
        if edge.key is not None:
            look["label"] = _graphviz().escape(edge.key)
        if len(above) > 1 and len(below) > 1:
            if edge.mapped and not edge.flattened:
                for one, other in zip(above, below, strict=False):
                    self.graph.edge(one, other, **look)
                return
            # Each child depends on all those above: one point between them saves an edge for every pair.
            self.graph.node(name, "", shape="point")
            for one in above:
                self.graph.edge(one, name, style=look.get("style", "solid"), arrowhead="none")
            above = [name]
        for one in above:
            for other in below:
                self.graph.edge(one, other, **look)


def _shape(task: Task, is_mapped: bool) -> str:
    if is_mapped:
        return "box"
    if isinstance(task, Parameter):
        return "parallelogram"
    return "diamond" if isinstance(task, CompareValue) else "ellipse"


def _graphviz() -> Any:
    try:
        import graphviz
    except ImportError as error:
        raise ImportError(
            "Pictures of flows need the package `graphviz`: pip install 'tenuto[viz]'. "
            "`tenuto graph -p FILE` shows a flow as text without it."
        ) from error
    return graphviz


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in shell.config


# ------------------------------------------------------------------------------------------------------- text


def mermaid(flow: Flow) -> str:
    """Return a flow as a Mermaid diagram, as Markdown pages show it."""
    mapped = mapped_tasks(flow)
    ids = {task: f"task{number}" for number, task in enumerate(flow.tasks)}
    lines = ["flowchart TD"]
    for task, name in ids.items():
        opening, closing = _brackets(task, task in mapped)
        label = f"{task.name} <map>" if task in mapped else task.name
        lines.append(f"    {name}{opening}{_quoted(label)}{closing}")
    for edge in flow.edges:
        arrow = "-.->" if edge.mapped else "-->"
        label = f"|{_quoted(edge.key)}|" if edge.key is not None else ""
        lines.append(f"    {ids[edge.upstream_task]} {arrow}{label} {ids[edge.downstream_task]}")
    return "\n".join(lines) + "\n"


def _brackets(task: Task, is_mapped: bool) -> tuple[str, str]:
    if is_mapped:
        return "[[", "]]"
    if isinstance(task, Parameter):
        return "[/", "/]"
    return ("{", "}") if isinstance(task, CompareValue) else ("(", ")")


def _quoted(text: str) -> str:
    """Return a Mermaid text, in which quotes, brackets and signs are entities."""
    safe = "".join(c if c.isalnum() or c in " _-.,/()[]" else f"#{ord(c)};" for c in text)
    return f'"{safe}"'


def tree(flow: Flow) -> str:
    """
    Return a flow as a tree of text lines, each task once.

    A task stands below the last of the tasks that it depends on; the others are named behind it. Tasks whose
    names are not unique in the flow are shown by their slugs.

    Raises:
        ValueError: if the flow has a cycle.
    """
    order = {task: position for position, task in enumerate(flow.sorted_tasks())}
    below: dict[Task | None, list[Task]] = {}
    for task in order:
        above = max(
            (edge.upstream_task for edge in flow.upstream_edges(task)), key=order.__getitem__, default=None
        )
        below.setdefault(above, []).append(task)
    labels = _Labels(flow)
    lines = [flow.name]
    continued = [(None, "")]
    while continued:
        start, heading = continued.pop(0)
        if heading:
            lines += ["", heading]
        # Each entry: the task above, how its line begins, and how deep it stands.
        ahead = [(task, "", is_last, 0) for task, is_last in _marked(below.get(start, []))][::-1]
        while ahead:
            task, margin, is_last, depth = ahead.pop()
            children = below.get(task, [])
            cut = bool(children) and depth >= DEPTH_MAX
            lines.append(f"{margin}{'└── ' if is_last else '├── '}{labels.line(task)}{' ...' if cut else ''}")
            if cut:
                continued.append((task, f"... {labels.name(task)}"))  # type: ignore[arg-type]
                continue
            margin += "    " if is_last else "│   "
            ahead += [(child, margin, last, depth + 1) for child, last in _marked(children)][::-1]
    return "\n".join(lines) + "\n"


def _marked(tasks: list[Task]) -> list[tuple[Task, bool]]:
    return [(task, position == len(tasks) - 1) for position, task in enumerate(tasks)]


class _Labels:
    """What the lines of a tree say of tasks."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.mapped = mapped_tasks(flow)
        counts: dict[str, int] = {}
        for task in flow.tasks:
            counts[task.name] = counts.get(task.name, 0) + 1
        self.repeated = {name for name, count in counts.items() if count > 1}
        self.positions = {task: position for position, task in enumerate(flow.sorted_tasks())}

    def name(self, task: Task) -> str:
        return self.flow.slugs[task] if task.name in self.repeated else task.name

    def line(self, task: Task) -> str:
        line = self.name(task)
        if task in self.mapped:
            line += " <map>"
        if isinstance(task, Parameter):
            line += " (parameter)" if task.required else f" (parameter, default {_short(task.default)})"
        elif isinstance(task, Constant):
            line += " (constant)"
        upstream = dict.fromkeys(edge.upstream_task for edge in self.flow.upstream_edges(task))
        others = sorted(upstream, key=self.positions.__getitem__)[:-1]
        if others:
            line += f"  [also after {', '.join(map(self.name, others))}]"
        return line


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def mapped_tasks(flow: Flow) -> set[Task]:
    """Return the tasks that run once for each item of an argument."""
    return {edge.downstream_task for edge in flow.edges if edge.mapped}
