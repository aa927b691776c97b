"""What each door of the package shows is what it says it shows, and every module says what it is."""

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import pytest

import tenuto


def modules(prefix: str = "tenuto") -> Iterator[str]:
    """Yield the name of every module of the package, without the programs that act when imported."""
    package = importlib.import_module(prefix)
    yield prefix
    for found in pkgutil.walk_packages(package.__path__, prefix + "."):
        if not found.name.endswith(("__main__", ".migrations.env")):
            yield found.name


def is_public(name: str) -> bool:
    return not any(part.startswith("_") for part in name.split("."))


def is_package(name: str) -> bool:
    return hasattr(importlib.import_module(name), "__path__")


ALL = list(modules())
DOORS = [
    name for name in ALL if is_public(name) and (is_package(name) or name.startswith("tenuto.utilities."))
]


def visible(module: ModuleType) -> set[str]:
    """Return the public names that a module shows: none of its tools, and sub-modules only if declared."""
    foreign = tools(module) - set(getattr(module, "__all__", []))
    return {
        name
        for name in dir(module)
        if not name.startswith("_")
        and name not in foreign
        and (name in getattr(module, "__all__", []) or not is_submodule(module, name))
    }


def is_submodule(module: ModuleType, name: str) -> bool:
    return isinstance(getattr(module, name), ModuleType)


def tools(module: ModuleType) -> set[str]:
    """Return the names that a module imports for its own use: foreign ones, and those its code uses."""
    assert module.__file__ is not None
    with open(module.__file__, encoding="utf-8") as file:
        nodes = list(ast.walk(ast.parse(file.read())))
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    return {
        name
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for name in (alias.asname or alias.name for alias in node.names)
        if name in used or not (node.module or "").startswith("tenuto")
    }


@pytest.mark.parametrize("name", DOORS)
def test_all_of_a_door_is_what_is_visible(name: str) -> None:
    door = importlib.import_module(name)
    declared = getattr(door, "__all__", [])
    assert len(set(declared)) == len(declared)
    assert set(declared) == visible(door)


@pytest.mark.parametrize("name", ALL)
def test_names_in_all_exist(name: str) -> None:
    module = importlib.import_module(name)
    for declared in getattr(module, "__all__", []):
        assert hasattr(module, declared), declared


@pytest.mark.parametrize("name", ALL)
def test_every_module_says_what_it_is(name: str) -> None:
    text = importlib.import_module(name).__doc__
    assert text is not None
    assert text.strip()


def test_star_import_gives_the_names_of_the_api() -> None:  # R-INV-3
    names: dict[str, object] = {}
    exec("from tenuto import *", names)
    assert {name for name in names if not name.startswith("__")} == set(tenuto.__all__)


def test_version_is_a_text() -> None:  # R-INV-4
    assert isinstance(tenuto.__version__, str)
