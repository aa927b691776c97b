"""Pickling by value what no other process could import: lambdas, local classes, everything of a script."""

from __future__ import annotations

import io
import os
import pickle
import sys
from types import FunctionType, ModuleType
from typing import Any

import cloudpickle

__all__ = ["SCRIPT_MODULES", "ScriptPickler"]

SCRIPT_MODULES = ("__main__", "<flow>")
"""Modules that no import finds: a script that is run, and one that the command line loaded from its path."""

_FILES = (io.TextIOWrapper, io.FileIO, io.BufferedReader, io.BufferedWriter, io.BufferedRandom)


class ScriptPickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """
    cloudpickle's pickler, except that what a script defines is found again where the same script runs.

    By value alone a task would get instances of a copy of the class after a resume, and `isinstance` would
    say no. So both go into the pickle: the script and the name, and the value for a process in which that
    script is not loaded.
    """

    def reducer_override(self, obj: Any) -> Any:
        """Say how to pickle what is not a builtin value; pickle asks for each."""
        if isinstance(obj, _FILES):
            # cloudpickle would read the file and put a copy of its text in its place.
            raise pickle.PicklingError("an open file cannot be pickled")
        if isinstance(obj, type | FunctionType) and obj.__module__ in SCRIPT_MODULES:
            module = sys.modules.get(obj.__module__)
            if module is not None and _lookup(module, obj.__qualname__) is obj:
                return load_from_script, (_path_of(module), obj.__qualname__, _by_value(obj, module))
        return super().reducer_override(obj)


def _by_value(obj: Any, module: ModuleType) -> bytes:
    is_main = module.__name__ == "__main__"  # That one goes by value anyhow.
    if not is_main:
        cloudpickle.register_pickle_by_value(module)
    try:
        data: bytes = cloudpickle.dumps(obj)
    except Exception:  # noqa: BLE001  # see below
        # A method that names a lock or an open file of the script cannot go by value; the script has it.
        return b""
    finally:
        if not is_main:
            cloudpickle.unregister_pickle_by_value(module)
    return data


def load_from_script(script: str, qualname: str, payload: bytes) -> Any:
    """Return the class or function of that name from the loaded script, else from its pickled value."""
    found = _lookup(_module_of(script), qualname)
    if found is None and not payload:
        raise AttributeError(f"{qualname!r} of {script or 'the notebook'} is not loaded here")
    return cloudpickle.loads(payload) if found is None else found


def _module_of(script: str) -> ModuleType | None:
    """
    Return the module of a script here: `__main__`, or one that was loaded (`tenuto run -p`).

    A notebook's `__main__` has no file.
    """
    main = sys.modules.get("__main__")
    if main is not None and _path_of(main) == script:
        return main
    if script:
        for module in list(sys.modules.values()):
            if _path_of(module) == script:
                return module
    return None


def _path_of(module: Any) -> str:
    path = getattr(module, "__file__", None)
    return os.path.abspath(path) if isinstance(path, str) else ""


def _lookup(module: ModuleType | None, qualname: str) -> Any:
    found: Any = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type | FunctionType) else None
