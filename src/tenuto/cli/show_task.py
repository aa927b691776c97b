"""One task run in detail: its inputs, its code, its result."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tenuto.cli.run_tasks import Input, TaskGroup, inputs_of
from tenuto.cli.texts import local_time, printable, seconds_text, size_text

if TYPE_CHECKING:
    from tenuto.cli.display import Display
    from tenuto.journal.event import ResultRef
    from tenuto.journal.fold import RunView, TaskView
    from tenuto.journal.home import Home

__all__ = ["print_task", "task_as_rest"]

DIGEST_CHARACTERS = 12


def print_task(
    display: Display,
    run: RunView,
    graph: Mapping[str, Any],
    home: Home,
    group: TaskGroup,
    view: TaskView | None,
) -> None:
    """Print what the record knows of a task run."""
    name = group.name if view is None or view.index < 0 else f"{group.name}[{view.index}]"
    fact(display, "Task", f"{name}  (slug {group.slug})" if group.slug != group.name else name)
    fact(display, "Run", f"{run.name}  {run.header.flow_run_id}")
    if view is None:
        fact(display, "State", f"{group.state}  the run never came to it")
        return
    cause = f" ({view.cause})" if view.cause else ""
    fact(display, "State", f"{view.state}{cause}  {view.message}".rstrip())
    if view.index < 0 and group.children_text:
        # When, how long and how often stands at the children; the parent only expands into them.
        fact(display, "Children", group.children_text)
        fact(display, "Duration", seconds_text(group.seconds))
    else:
        fact(display, "Started", local_time(view.started))
        fact(display, "Duration", seconds_text(view.seconds))
        fact(display, "Attempts", str(view.run_count))
    for one in inputs_of(run, graph, view):
        fact(display, "Input", input_text(one))
    fact(display, "Result", result_text(view.result, group, home.run_folder(run.header.flow_run_id).name))
    fact(display, "Code", view.code[:DIGEST_CHARACTERS] or "not recorded")
    print_code(display, home, view.code)
    if view.error is not None:
        display.line()
        for line in view.error.traceback.rstrip("\n").split("\n"):
            display.line(printable(line))


def fact(display: Display, label: str, text: str) -> None:
    """Print one line of facts."""
    display.line(f"{display.styled(label.ljust(10), sys.stdout, bold=True)}  {printable(text)}")


def input_text(one: Input) -> str:
    """Return what is known of an argument: its value if it is at hand, where it came from, its digest."""
    value, facts = "", []
    if one.source:
        facts.append(f"{'an item of' if one.mapped else 'result of'} {one.source}")
        if one.result is not None and one.result.kind == "inline":
            value = bytes(one.result.value).decode(errors="replace")
    elif one.constant is not None or not one.digest:
        value = json.dumps(one.constant, ensure_ascii=False)
    if one.digest.startswith("p:"):
        facts.append(f"by provenance {one.digest[2 : 2 + DIGEST_CHARACTERS]}")
    elif one.digest:
        facts.append(f"SHA-256 {one.digest[:DIGEST_CHARACTERS]}")
    return (
        f"{one.name}{f' = {value}' if value else ''}  ({', '.join(facts)})"
        if facts
        else f"{one.name} = {value}"
    )


def result_text(ref: ResultRef | None, group: TaskGroup, folder: str) -> str:
    """Describe a result: its value when the record has it, else where, in which form and how large it is."""
    if ref is None:
        return "none is kept"
    if ref.kind == "inline":
        return bytes(ref.value).decode(errors="replace")
    size = f"{size_text(ref.length)}, SHA-256 {ref.sha256[:DIGEST_CHARACTERS]}" if ref.sha256 else ""
    form = ref.serializer.rpartition(".")[2]
    if ref.kind == "kept":
        where = f"at {ref.location}" if "/" in ref.location else f"in runs/{folder}/kept/{ref.location}"
        return f"kept {where}  {form}  {size}"
    written_by = str(group.described.get("result") or "its Result").rpartition(".")[2]
    return f"written by {written_by} at {ref.location}  {form}  {size}".rstrip()


def print_code(display: Display, home: Home, code: str) -> None:
    """Print the source of a task as it was in that run."""
    data = home.objects_get(code)
    document = json.loads(data) if data is not None else {}
    source = document.get("source") if isinstance(document, dict) else None
    if isinstance(source, str):
        for line in source.rstrip("\n").split("\n"):
            display.line(f"    {printable(line)}".rstrip())


def task_as_rest(run_id: str, group: TaskGroup, view: TaskView | None) -> dict[str, Any]:
    """Return a task run as an object for programs; times are RFC 3339."""
    import msgspec

    from tenuto._base.ids import task_run_id
    from tenuto.journal.fold import TaskView
    from tenuto.journal.runs import rfc3339

    one = view or TaskView(group.slug, state=group.state)
    changed = one.ended if one.ended is not None else one.started
    return {
        "id": task_run_id(run_id, group.slug, one.index),
        "flow_run_id": run_id,
        "slug": group.slug,
        "name": one.name or (group.name if one.index < 0 else f"{group.name}[{one.index}]"),
        "map_index": one.index,
        "state": {
            "type": one.state,
            "message": one.message or None,
            "cause": one.cause or None,
            "timestamp": rfc3339(changed),
            "start_time": rfc3339(one.start_time),
        },
        "start_time": rfc3339(one.started),
        "end_time": rfc3339(one.ended),
        "duration_seconds": one.seconds,
        "run_count": one.run_count,
        "loop_count": one.loop_count,
        "children": one.children,
        "inputs": one.inputs,
        "code": one.code or None,
        # By way of JSON: the value of an inline result is JSON text already.
        "result": msgspec.json.decode(msgspec.json.encode(one.result)),
        "error": msgspec.to_builtins(one.error),
    }
