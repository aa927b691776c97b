"""Labels of runs and agents: who may take what. A queue is the canonical text of a set of labels."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable

__all__ = ["covers", "labels_of_queue", "queue_of"]


def queue_of(labels: Iterable[str]) -> str:
    """Return the queue of runs with these labels: compact JSON, sorted, each once."""
    return json.dumps(sorted(set(labels)), ensure_ascii=False, separators=(",", ":"))


def labels_of_queue(queue: str) -> list[str]:
    """Return the labels that a queue stands for."""
    labels: list[str] = json.loads(queue)
    return labels


def covers(agent_labels: Collection[str], run_labels: Collection[str], *, any_label: bool = False) -> bool:
    """
    Say whether an agent may take a run.

    Its labels must be a superset of the run's; a run without labels is for agents without labels, and for
    those that were started with `--any-label`.
    """
    if not run_labels:
        return any_label or not agent_labels
    return set(run_labels) <= set(agent_labels)
