"""
Flows as plain data, for JSON: what the graph of a flow was, without its code.

The same data is what `Flow.serialize` returns, what its hash is made of, and what lies beside the journal of
a run.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from datetime import timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

from tenuto._base.importtools import import_path
from tenuto._base.masking import mask
from tenuto.core.nodes import Constant
from tenuto.core.parameter import Parameter
from tenuto.core.signatures import run_signature
from tenuto.serialization.described import described_text, described_value
from tenuto.serialization.schedule import schedule_to_dict

if TYPE_CHECKING:
    from inspect import Signature

    from tenuto.core.flow import Flow
    from tenuto.core.task import Task

__all__ = ["canonical_graph", "canonical_hash", "flow_to_dict", "task_to_dict"]

_encoder = msgspec.json.Encoder(order="sorted", enc_hook=str)
# What `task_to_dict` looks at, beside class, `run` and tags.
_shared = attrgetter(
    "name", "max_retries", "retry_delay", "timeout", "trigger", "skip_on_upstream_skip", "cache_for",
    "cache_key", "checkpoint", "log_stdout", "nout", "target", "result", "auto_generated", "is_secret",
    "resource_role",
)  # fmt: skip


def flow_to_dict(flow: Flow) -> dict[str, Any]:
    """
    Return a flow as plain data; equal for flows that are built alike, in any process.

    Returns:
        `name`, `type`, `schedule`, `parameters`, `tasks`, `edges`, `constants` (slug -> argument -> value),
        `reference_tasks` (slugs), `fail_fast`, `run_config`, `storage`, `__version__`. Tasks and edges are in
        the order in which they were added. Values that are not JSON, or are long, are described by
        `{"repr": text}`.
    """
    from tenuto import __version__

    slugs = flow.slugs
    reference = flow.reference_tasks()
    mapped = {edge.downstream_task for edge in flow.edges if edge.mapped}
    describe = _Describer()
    tasks = []
    for task in flow.tasks:
        described = describe(task)
        described["slug"], described["mapped"] = slugs[task], task in mapped
        tasks.append(described)
    return {
        "name": flow.name,
        "type": _path(type(flow)),
        "schedule": None if flow.schedule is None else schedule_to_dict(flow.schedule),
        "parameters": [_parameter(task) for task in flow.tasks if isinstance(task, Parameter)],
        "tasks": tasks,
        "edges": [
            {
                "upstream_slug": slugs[edge.upstream_task],
                "downstream_slug": slugs[edge.downstream_task],
                "key": edge.key,
                "mapped": edge.mapped,
                "flattened": edge.flattened,
            }
            for edge in flow.edges
        ],
        "constants": {
            slugs[task]: {key: described_value(value) for key, value in constants.items()}
            for task, constants in flow.constants.items()
            if constants
        },
        "reference_tasks": [slugs[task] for task in flow.tasks if task in reference],
        "fail_fast": flow.fail_fast,
        "run_config": _part(flow.run_config),
        "storage": _part(flow.storage),
        "__version__": __version__,
    }


class _Describer:
    """Describes the tasks of one flow. Copies of a task differ in slug and tags only, mostly: made once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], dict[str, Any]] = {}

    def __call__(self, task: Task) -> dict[str, Any]:
        if isinstance(task, Parameter | Constant):
            return task_to_dict(task)
        # By identity: the values live as long as the tasks, and comparing them may run the code of users.
        key = (id(type(task)), id(vars(task).get("run")), *map(id, _shared(task)))
        described = self._known.get(key)
        if described is None:
            described = self._known[key] = task_to_dict(task)
        return {**described, "tags": sorted(task.tags)}


def task_to_dict(task: Task) -> dict[str, Any]:
    """Return what is known of a task as plain data; `slug` is the task's own."""
    retry_delay = task.retry_delay
    described = {
        "slug": task.slug,
        "name": task.name,
        "type": _path(type(task)),
        "tags": sorted(task.tags),
        "max_retries": task.max_retries,
        "retry_delay": _seconds(retry_delay) if isinstance(retry_delay, timedelta) else _path(retry_delay),
        "timeout": task.timeout,
        "trigger": _path(task.trigger),
        "skip_on_upstream_skip": task.skip_on_upstream_skip,
        "cache_for": _seconds(task.cache_for),
        "cache_key": task.cache_key,
        "checkpoint": task.checkpoint,
        "log_stdout": task.log_stdout,
        "nout": task.nout,
        "target": _template(task.target),
        "location": _template(getattr(task.result, "location", None)),
        "result": _path(type(task.result)) if task.result is not None else None,
        "auto_generated": task.auto_generated,
        "is_secret": task.is_secret,
        "resource_role": task.resource_role,
        **_signature(run_signature(task.run).signature),
    }
    if isinstance(task, Parameter):
        described |= _parameter(task)
    elif isinstance(task, Constant):
        described["value"] = described_value(task.value)
    return described


def canonical_graph(flow: Flow) -> bytes:
    """Return the flow's canonical JSON, with known secrets masked: what a run keeps of its graph."""
    return mask(_canonical(flow_to_dict(flow))).encode()


def canonical_hash(described: dict[str, Any]) -> str:
    """Return the SHA-256, in hex, of a serialized flow."""
    return hashlib.sha256(_canonical(described).encode()).hexdigest()


def _canonical(described: dict[str, Any]) -> str:
    try:
        return _encoder.encode(described).decode()
    except UnicodeEncodeError:  # Names may hold lone surrogates, which JSON can only carry escaped.
        return json.dumps(described, sort_keys=True, separators=(",", ":"), default=str)


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "slug": parameter.slug,
        "type": _path(type(parameter)),
        "default": described_value(parameter.default),
        "required": parameter.required,
        "schema": parameter.schema,
    }


def _signature(signature: Signature) -> dict[str, Any]:
    return {
        "inputs": {
            name: {
                "type": _annotation(parameter.annotation),
                "default": None
                if parameter.default is parameter.empty
                else described_value(parameter.default),
                "required": parameter.default is parameter.empty,
            }
            for name, parameter in signature.parameters.items()
            if parameter.kind is not parameter.VAR_KEYWORD
        },
        "outputs": _annotation(signature.return_annotation),
    }


def _annotation(annotation: Any) -> str:
    if annotation is inspect.Signature.empty:
        return "Any"
    return annotation if isinstance(annotation, str) else described_text(inspect.formatannotation(annotation))


def _path(thing: Any) -> str | None:
    """Return the import path of a class or function; of another object, that of its class."""
    if thing is None:
        return None
    return import_path(thing if hasattr(thing, "__qualname__") else type(thing))


def _template(template: Any) -> str | None:
    return template if template is None or isinstance(template, str) else _path(template)


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()


def _part(part: Any) -> Any:
    """Describe a run configuration or storage, each of which knows its own form."""
    if part is None:
        return None
    return part.serialize() if hasattr(part, "serialize") else {"type": _path(type(part))}
