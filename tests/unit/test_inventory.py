"""
The modules, names and signatures that flows of the Prefect 1 API rely on: inventory.toml, row by row.

Where Tenuto means to differ, `DEVIATIONS` says why, in the words of docs/compatibility.md.
"""

import importlib
import inspect
import re
import tomllib
from datetime import timedelta
from functools import cached_property
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

import pytest

import tenuto
from tenuto.core.sentinel import NO_DEFAULT
from tests.snippets import ROOT

INVENTORY = tomllib.loads((Path(__file__).parent / "inventory.toml").read_text(encoding="utf-8"))
Row = tuple[str, str, str]


def id_of(row: Row) -> str:
    return f"{row[0]}.{row[1]}"


ROWS: list[Row] = [
    (module, name, entry) for module, names in INVENTORY["names"].items() for name, entry in names.items()
]
SAME_OBJECTS: list[tuple[str, str]] = [
    (module, name) for module, names in INVENTORY["same_objects"].items() for name in names
]

# What comes with a later change. It is looked up all the same: nothing that is there may stay in this list.
PENDING_MODULES: tuple[str, ...] = ()

# Module and name -> why, in the words of docs/compatibility.md.
DEVIATIONS = {
    ("core.task", "Task.pipe"): "`task.pipe(next)` takes the next task by position only",
    ("executors.dask", "LocalDaskExecutor"): "refuses the options of Dask's own pools",
    ("utilities.context", "Context"): "the context is based on context variables",
    ("configuration", "Config"): "settings are a dictionary type of Tenuto's own",
    ("configuration", "to_environment_variables"): "variables are named `TENUTO__…`",
}

ANY_DEFAULT = object()
VARIABLE = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def is_pending(module: str) -> bool:
    return module.split(".")[0] in PENDING_MODULES


def problem_of(module: str, name: str, entry: str) -> str | None:
    """Return what is wrong with one row, None when it is fulfilled."""
    kind, _, signature = entry.partition(" ")
    try:
        owner: Any = importlib.import_module(f"tenuto.{module}")
    except ImportError as error:
        return f"tenuto.{module} cannot be imported: {error}"
    *outer, last = name.split(".")
    try:
        for part in outer:
            owner = getattr(owner, part)
        found = inspect.getattr_static(owner, last) if kind == "property" else getattr(owner, last)
    except AttributeError as error:
        return str(error)
    return kind_problem(kind, found) or (signature_problem(signature, found) if signature else None)


def kind_problem(kind: str, found: Any) -> str | None:
    """Compare what a thing is; bases are compared by name, at any depth."""
    kind, _, bases = kind.rstrip(")").partition("(")
    if kind == "class":
        if not inspect.isclass(found):
            return f"{found!r} is no class"
        ancestors = {cls.__name__ for cls in found.__mro__[1:]}
        lacking = [base for base in bases.split(",") if base and base not in ancestors]
        return f"its bases lack {lacking}" if lacking else None
    is_one = {
        "function": callable(found) and not inspect.isclass(found),
        "method": callable(found) and not inspect.isclass(found),
        "property": isinstance(found, property | cached_property),
        "task": isinstance(found, tenuto.Task),
        "flow": isinstance(found, tenuto.Flow),
    }
    return None if is_one[kind] else f"{found!r} is no {kind}"


def signature_problem(text: str, found: Any) -> str | None:
    """
    Compare names, positions and defaults. More arguments may be there that need not be given.

    `(*args, **kwargs)` alone is the signature of a class that hands all on, and promises nothing.
    """
    if text == "(*args, **kwargs)":
        return None
    wanted = [parameter for parameter in promised(text) if parameter.kind not in VARIABLE]
    actual = actual_parameters(found)
    for position, parameter in enumerate(wanted):
        mine = next((other for other in actual if other.name == parameter.name), None)
        if mine is None:
            return f"lacks {parameter}"
        if mine.kind is Parameter.POSITIONAL_ONLY:
            return f"{parameter} cannot be given by name"
        if parameter.kind is not Parameter.KEYWORD_ONLY:
            if mine.kind is Parameter.KEYWORD_ONLY:
                return f"{parameter} cannot be given by position"
            if actual.index(mine) != position:
                return f"{parameter} is not at position {position} of {Signature(actual)}"
        if not is_same(parameter.default, mine.default):
            return f"the default of {parameter} is {mine.default!r}"
    kinds = [{parameter.kind for parameter in parameters} for parameters in (promised(text), actual)]
    if Parameter.VAR_KEYWORD in kinds[0] - kinds[1]:
        return "lacks **kwargs"
    known = {parameter.name for parameter in wanted}
    more = [
        mine.name
        for mine in actual
        if mine.name not in known and mine.default is Parameter.empty and mine.kind not in VARIABLE
    ]
    return f"also asks for {more}" if more else None


def actual_parameters(found: Any) -> list[Parameter]:
    called = found.run if isinstance(found, tenuto.Task) else found
    parameters = list(inspect.signature(called).parameters.values())
    return parameters[1:] if parameters and parameters[0].name == "self" else parameters


def is_same(promise: object, default: object) -> bool:
    return (
        promise is ANY_DEFAULT or promise is default or (type(promise), promise) == (type(default), default)
    )


def promised(text: str) -> list[Parameter]:
    """Return the parameters of a row's signature."""
    if text == "(same as Task)":
        return promised(INVENTORY["names"]["core.task"]["Task"].partition(" ")[2])
    text = re.sub(r"=(\d+) ([sh])\b", r"=\1 * \2", text).replace("'…'", "ANY").replace("…", "ANY")
    names = {
        "ANY": ANY_DEFAULT,
        "NO_DEFAULT": NO_DEFAULT,
        "DotDict": importlib.import_module("tenuto.utilities.collections").DotDict,
        "s": timedelta(seconds=1),
        "h": timedelta(hours=1),
    }
    made: dict[str, Any] = {}
    exec(f"def promise{text}: pass", names, made)
    return list(inspect.signature(made["promise"]).parameters.values())


@pytest.mark.parametrize(
    "row", [row for row in ROWS if not is_pending(row[0]) and row[:2] not in DEVIATIONS], ids=id_of
)
def test_name_is_at_its_address_with_its_kind_and_signature(row: Row) -> None:
    # R-INV-1, R-INV-6
    assert problem_of(*row) is None


def test_what_is_pending_is_not_there() -> None:
    # R-INV-1: what has come must leave the list of what is to come
    assert [id_of(row) for row in ROWS if is_pending(row[0]) and problem_of(*row) is None] == []


@pytest.mark.parametrize("row", [row for row in ROWS if row[:2] in DEVIATIONS], ids=id_of)
def test_deviations_exist_and_are_told_to_users(row: Row) -> None:
    # R-INV-1: no deviation that is none, and none that is not in the documentation
    assert problem_of(*row) is not None
    page = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
    assert DEVIATIONS[row[:2]] in " ".join(page.split())


def test_every_deviation_is_of_a_row() -> None:
    assert set(DEVIATIONS) <= {row[:2] for row in ROWS}


@pytest.mark.parametrize(
    ("module", "name"), [pair for pair in SAME_OBJECTS if not is_pending(pair[0])], ids=str
)
def test_name_is_the_same_object_at_each_address(module: str, name: str) -> None:
    # R-INV-1
    found = getattr(importlib.import_module(f"tenuto.{module}"), name)
    others = [
        getattr(importlib.import_module(f"tenuto.{other}"), name)
        for other, names in [*INVENTORY["same_objects"].items(), *INVENTORY["names"].items()]
        if name in names and not is_pending(other)
    ]
    assert all(other is found for other in others)


# Of these, each class can be made without an argument.
MADE_WITHOUT = [
    ("tasks.shell", "ShellTask"),
    ("tasks.notifications", "EmailTask"),
    ("tasks.notifications", "SlackTask"),
    ("tasks.prefect.flow_run", "StartFlowRun"),
    ("tasks.prefect.flow_run_cancel", "CancelFlowRun"),
    ("tasks.prefect.flow_run_rename", "RenameFlowRun"),
]


@pytest.mark.parametrize(("module", "name"), MADE_WITHOUT)
def test_library_tasks_can_be_made_and_keep_their_arguments_as_attributes(module: str, name: str) -> None:
    # R-INV-7, R-INV-8: tier B
    signature = INVENTORY["names"][module][name].partition(" ")[2]
    made = getattr(importlib.import_module(f"tenuto.{module}"), name)()
    for parameter in promised(signature):
        if parameter.kind not in VARIABLE:
            assert is_same(parameter.default, getattr(made, parameter.name))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("(name, fn=None)", "not at position"),
        ("(fn, label=None)", "lacks label"),
        ("(fn, name=3)", "the default of name"),
        ("(fn, name=False)", "the default of name"),
        ("(fn)", None),
        ("()", "also asks for"),
        ("(*args, **kwargs)", None),
        ("(name=None)", "not at position"),
        ("(fn, name=None, *args)", None),
        ("(fn, name=None, **kwargs)", "lacks **kwargs"),
        ("(fn, name=…)", None),
    ],
)
def test_signatures_are_told_apart(text: str, problem: str | None) -> None:
    def example(fn: object, name: object = None, *, more: int = 0) -> None:
        """Do nothing."""

    told = signature_problem(text, example)
    assert (told is None) if problem is None else (told is not None and problem in told)


def test_missing_names_wrong_kinds_and_more_required_arguments_are_noticed() -> None:
    assert problem_of("no_such_module", "x", "class") is not None
    assert problem_of("core.task", "Tusk", "class") is not None
    assert problem_of("core.task", "Task", "function") is not None
    assert problem_of("core.task", "Task", "class(Flow)") is not None
    assert problem_of("core.edge", "Edge", "class (upstream_task)") is not None
