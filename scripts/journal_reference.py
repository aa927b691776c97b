"""The page docs/reference/journal.md: the record of a run, its tables made from the structs themselves."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
from typing import Any

import msgspec

from tenuto.journal import event, logs
from tenuto.journal.event import ErrorInfo, Event, Header, Kind, ResultRef
from tenuto.journal.logs import LogLine

INTRODUCTION = """\
# The journal of a run

<!-- Made by scripts/make_reference.py from src/tenuto/journal. Do not edit. -->

Each run appends what happens to it to a file of its own, before anything depends on it. `tenuto history`,
`tenuto show`, resuming and everything else that looks at runs reads these files; nothing else is the truth
about a run.

## Where it lies

```text
~/.tenuto/                          home_dir; folders 0700, files 0600
  runs/<flow run id>/1.journal      events of the run
  runs/<flow run id>/1.logs.jsonl   its log records
  runs/<flow run id>/kept/          its kept results, one file each: <task run id>.1
  runs/<flow run id>/1.acked        number of the last event that a server has acknowledged
  runs/<flow run id>/1.damaged      what stood behind the last whole event of a run that was closed
  runs/.shipped/<flow run id>       a server has all of the run; a text in it says why it will not have it
  objects/ab/cdef…                  graphs and task sources, each once, named by their SHA-256
  cache/<SHA-256 of a key>.jsonl    which kept results of `cache_for` tasks are still valid
```

The number before `.journal` is the epoch: 1, unless a server has started the run more than once. Old
records and results are removed as the settings in `[history]` say.

## A line

```text
<CRC32 of the JSON, 8 hex digits> <JSON of one event>\\n
```

One event is one line and one `write`. A reader stops at the first line that is short, has a wrong checksum
or is out of number, and believes nothing behind it: a run that was killed at any moment leaves a record
that is right up to there. When the disk is full the record ends with an `incomplete` event, if there is
room for it, and the run goes on.

A run's end is its last `run.state`. A record without an end whose process (host, boot and start of the
process) is gone belongs to a run that has crashed. Each reader finds that out; who sends the run to a server
writes it down first.

Fields that hold their default are left out. Unknown fields are ignored. Times are microseconds since 1970,
UTC. Digests are SHA-256 in hex; a `p:` before one marks a digest of where a value came from (its code and
that code's inputs) where the value itself has none. Secrets that the run has read are replaced by `****`.

## Events
"""

AFTER_EVENTS = """\
A task run that just works writes two events: `Running`, with its inputs and its code, and its final state,
with the result and the seconds it took. States that only state handlers see on the way write none.

## Kinds of events
"""

AFTER_RESULTS = """\
A kept file of serializer `json` or `npy` is what these names say. One of serializer `pickle` is a pickle of
protocol 5; large buffers (arrays, frames) follow the pickle stream one after the other, then their lengths
(8 bytes each, little-endian), the length of the stream, the number of buffers, and the bytes `tenuto5\\n`.
Length and SHA-256 are verified before the first byte is unpickled.

## Errors
"""

KINDS = {
    Kind.RUN_STARTED: "The first event; carries the header.",
    Kind.RUN_STATE: "The run has a new state.",
    Kind.TASK_STATE: "A task run has a new state.",
    Kind.RUN_NAME: "The run has a new name (`data.name`).",
    Kind.TASK_NAME: "A task run has a name (`data.name`).",
    Kind.ARTIFACT: "A task has left something to look at (`data.kind`, `data.key`, `data.body`).",
    Kind.NOTE: "A remark (`message`).",
    Kind.INCOMPLETE: "The record ends before the run does (`data.reason`); `state` is its end, where known.",
}


def page() -> str:
    """Return the text of the page."""
    parts = [
        INTRODUCTION,
        table(Event, event),
        AFTER_EVENTS,
        "| kind | meaning |\n| --- | --- |",
        *(f"| `{kind}` | {KINDS[kind]} |" for kind in Kind),
        "\n## Header\n",
        "What `run.started` says about the run.\n",
        table(Header, event),
        "## Result reference\n",
        "Where a task run's result is.\n",
        table(ResultRef, event),
        AFTER_RESULTS,
        table(ErrorInfo, event),
        "## Log records\n",
        "Each line of the log file is one JSON object:\n",
        table(LogLine, logs),
    ]
    return "\n".join(parts).rstrip() + "\n"


def table(struct: type[msgspec.Struct], module: Any) -> str:
    """Return a table of a struct's fields: name, type, default, and the text below the field."""
    meanings = field_texts(struct, module)
    lines = ["| field | type | default | meaning |", "| --- | --- | --- | --- |"]
    for field in msgspec.structs.fields(struct):
        text = meanings[field.name].replace("|", "\\|")
        lines.append(f"| `{field.name}` | {type_text(struct, field.name)} | {default_text(field)} | {text} |")
    return "\n".join(lines) + "\n"


def field_texts(struct: type[msgspec.Struct], module: Any) -> dict[str, str]:
    """Return the text that stands below each field in the source."""
    tree = ast.parse(inspect.getsource(module))
    body = next(
        node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == struct.__name__
    )
    found = {}
    for field, below in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            name = field.target.id
            assert isinstance(below, ast.Expr), f"{struct.__name__}.{name} has no text below it"
            assert isinstance(below.value, ast.Constant)
            found[name] = re.sub(r"\s+", " ", str(below.value.value))
    return found


def type_text(struct: type[msgspec.Struct], name: str) -> str:
    """Return a field's type as JSON has it."""
    text = str(struct.__annotations__[name])
    for python, json in (("msgspec.Raw", "JSON"), ("None", "null"), ("Kind", "str")):
        text = text.replace(python, json)
    return " or ".join(part.strip() for part in text.split("|"))


def default_text(field: Any) -> str:
    """Return a field's default as JSON, empty for a field that is always there."""
    if field.default_factory is not msgspec.NODEFAULT:
        return f"`{msgspec.json.encode(field.default_factory()).decode()}`"
    if field.default is msgspec.NODEFAULT:
        return ""
    if isinstance(field.default, msgspec.Raw):
        return "empty"
    return f"`{msgspec.json.encode(field.default).decode()}`"
