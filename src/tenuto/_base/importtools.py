"""Objects by their import path, and packages whose names load on first use."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["IMPORT_FIRST", "import_first", "import_object", "import_path", "lazy_names"]

IMPORT_FIRST = "TENUTO_IMPORT_FIRST"
"""Variable: the modules, with commas between, that processes of ours import before anything of the user's."""


def import_first(names: str | None = None) -> None:
    """
    Import what the process that this one works for wants imported first.

    Args:
        names: of modules, with commas between; default: those of the variable. Processes that this one starts
            get them, too.
    """
    if names is None:
        names = os.environ.get(IMPORT_FIRST, "")
    elif names:
        os.environ[IMPORT_FIRST] = names
    for name in filter(None, names.split(",")):
        importlib.import_module(name)


def import_object(name: str) -> Any:
    """
    Return what a path names: a module or an attribute of one (`package.module.Class`, `module:Class`).

    Raises:
        ImportError: if no module of that name can be found.
        AttributeError: if the module has no such attribute.
    """
    module_name, _, attribute = name.partition(":")
    if attribute:
        return _attribute(importlib.import_module(module_name), attribute)
    parts = name.split(".")
    length = len(parts)
    while True:
        module_name = ".".join(parts[:length])
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            # Only "this name is no module" means that it may be an attribute; a module whose own imports
            # fail must say so. A name below a plain module raises with that whole name, too.
            if length == 1 or error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise
            length -= 1
        else:
            return _attribute(module, ".".join(parts[length:]))


def import_path(thing: Any) -> str:
    """Return the path by which `import_object` finds a class or function."""
    return f"{thing.__module__}.{thing.__qualname__}"


def _attribute(module: Any, path: str) -> Any:
    found = module
    for part in filter(None, path.split(".")):
        found = getattr(found, part)
    return found


def lazy_names(
    package: str, names: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """
    Return `__getattr__` and `__dir__` for a package whose names and sub-modules load on first use.

    Args:
        package: the package's `__name__`.
        names: public name -> module that holds it (`{"Task": "tenuto.core.task"}`), or `module:other_name`.
            Every sub-module of the package resolves too, without being listed.

    A public name equal to a sub-module's (`case` in `control_flow/case.py`) must not be made lazy: importing
    that module binds the package attribute to the module. Import such names eagerly instead.
    """
    known = dict(names or {})

    def load(name: str) -> Any:
        if name in known:
            module_name, _, attribute = known[name].partition(":")
            value = getattr(importlib.import_module(module_name), attribute or name)
            setattr(sys.modules[package], name, value)
            return value
        if not name.startswith("_"):
            full = f"{package}.{name}"
            if importlib.util.find_spec(full) is not None:
                return importlib.import_module(full)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def listing() -> list[str]:
        module = vars(sys.modules[package])
        # Sub-modules that are part of what the package offers are listed before they are loaded, too.
        return sorted({*module, *known, *module.get("__all__", ())})

    return load, listing
