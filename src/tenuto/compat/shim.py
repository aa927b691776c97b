"""
`import prefect` as Tenuto: modules of Prefect 1 are found as the modules of Tenuto that hold the same names.

Not copies of them: `prefect.engine.state.Failed` is `tenuto.engine.state.Failed`. What Tenuto does not have,
such as the rest of the task library, imports as well, and says what to do instead when it is used.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from functools import cached_property
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from tenuto._base.importtools import IMPORT_FIRST
from tenuto.compat.migration.addresses import MOVED, below, prefixes, today
from tenuto.exceptions import PrefectException

__all__ = ["PrefectLoaded", "has_prefect_1", "install", "is_installed", "uninstall"]

_MODULE = "tenuto.compat.prefect"


class PrefectLoaded(PrefectException, ImportError):
    """Another package of the name `prefect` has been imported by this process."""

    def __init__(self) -> None:
        super().__init__(
            "Another package called `prefect` has been imported already. Import tenuto.compat.prefect before "
            "it."
        )


def has_prefect_1() -> bool:
    """Say whether Prefect 1, or an older release, is installed; later ones have another API."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return int(version("prefect").partition(".")[0]) <= 1
    except (PackageNotFoundError, ValueError):
        return False


def install(*, unless_prefect_1: bool = False) -> None:
    """
    Have `import prefect` find Tenuto, in this process and in those that it starts for runs.

    Costs next to nothing until something imports it: most flows that are run have nothing to do with Prefect.

    Args:
        unless_prefect_1: leave the name to Prefect 1 where that is installed; looked up at the first import.

    Raises:
        PrefectLoaded: if the name is taken.
    """
    if is_installed():
        return
    import tenuto

    if sys.modules.get("prefect", tenuto) is not tenuto:
        raise PrefectLoaded
    # In front: neither another major release of Prefect nor a folder `prefect/` beside the flow is meant.
    sys.meta_path.insert(0, _PrefectFinder(unless_prefect_1))
    sys.meta_path.append(_LeftOutFinder())


def uninstall() -> None:
    """Take `import prefect`, and what stands for what is left out, back; what has imported it keeps it."""
    sys.meta_path[:] = [
        finder for finder in sys.meta_path if not isinstance(finder, _PrefectFinder | _LeftOutFinder)
    ]
    for name, module in list(sys.modules.items()):
        if below(name, "prefect") is not None:
            del sys.modules[name]
        elif isinstance(module, _LeftOutModule):
            del sys.modules[name]
            parent, _, last = name.rpartition(".")
            if parent in sys.modules:
                vars(sys.modules[parent]).pop(last, None)
    modules = [name for name in os.environ.get(IMPORT_FIRST, "").split(",") if name not in ("", _MODULE)]
    os.environ[IMPORT_FIRST] = ",".join(modules)


def is_installed() -> bool:
    """Say whether `import prefect` finds Tenuto."""
    return any(isinstance(finder, _PrefectFinder) for finder in sys.meta_path)


# Without the base classes of `importlib.abc`, which would take longer to import than all of this.
class _PrefectFinder:
    """Finds `prefect.x.y` as `tenuto.x.y`, or where that is today."""

    def __init__(self, unless_prefect_1: bool) -> None:
        self.unless_prefect_1 = unless_prefect_1

    @cached_property
    def _gives_way(self) -> bool:
        return self.unless_prefect_1 and has_prefect_1()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        address = below(fullname, "prefect")
        if address is None or self._gives_way:
            return None
        for candidate in dict.fromkeys([address, today(address)[0]]):
            name = f"tenuto.{candidate}".rstrip(".")
            try:
                found = importlib.util.find_spec(name)
            except ModuleNotFoundError:
                continue  # Nor is there what it would be in.
            if found is not None:
                return ModuleSpec(fullname, _SameModule(name, address))  # type: ignore[arg-type]  # as said above
        return None


class _SameModule:
    """Loads a module under another name: the very same object."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self.name)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has written the alias into it.
        module.__spec__ = self.spec
        for name, value in _older_names(self.address).items():
            if name not in vars(module):
                setattr(module, name, value)
        if not self.address:
            _prepare_processes()


def _prepare_processes() -> None:
    """Have the processes that this one starts find `prefect`, the module and the command."""
    from tenuto.compat.commands import offer_command

    modules = [*filter(None, os.environ.get(IMPORT_FIRST, "").split(",")), _MODULE]
    os.environ[IMPORT_FIRST] = ",".join(dict.fromkeys(modules))
    offer_command()


def _older_names(address: str) -> dict[str, Any]:
    """Return names that older releases had in a module: those that have others today, and those left out."""
    from tenuto.compat.migration.advice import ADVICE

    found = {}
    for older, newer in MOVED.items():
        parent, _, name = older.rpartition(".")
        if parent == address and name[0].isupper():
            module, _, attribute = newer.rpartition(".")
            found[name] = getattr(importlib.import_module(f"tenuto.{module}"), attribute)
    for older in ADVICE:
        parent, _, name = older.rpartition(".")
        if parent == address and name[0].isupper():
            found[name] = _left_out(older)
    return found


class _LeftOutFinder:
    """Finds modules of Prefect 1 that Tenuto does not have; asked when nobody else knows them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        address = below(fullname, "tenuto")
        if not address:
            return None
        from tenuto.compat.migration.advice import ADVICE

        if not any(prefix in ADVICE for prefix in prefixes(address)):
            return None
        if address.rpartition(".")[2][0].isupper():
            return None  # The name of a class.
        return ModuleSpec(fullname, _LeftOutLoader(), is_package=True)  # type: ignore[arg-type]  # as above


class _LeftOutLoader:
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _LeftOutModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is in it: names are made when they are asked for."""


class _LeftOutModule(ModuleType):
    """A module in which every name can be imported, and none can be used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        value = _left_out(f"{self.__name__.removeprefix('tenuto.')}.{name}")
        setattr(self, name, value)
        return value


def _left_out(address: str) -> Any:
    """Return what raises when it is used, as a class or a function of that address."""
    from tenuto._base.left_out import left_out_class, left_out_function
    from tenuto.compat.migration.advice import ADVICE
    from tenuto.core.task import Task

    parent, _, name = address.rpartition(".")
    instead = next(ADVICE[prefix] for prefix in prefixes(address) if prefix in ADVICE)
    if not name[0].isupper():
        return left_out_function(f"prefect.{address}", {}, instead)
    base = Task if below(address, "tasks") else object
    made: Any = left_out_class(f"prefect.{address}", {}, instead, base=base, module=f"tenuto.{parent}")
    made.__name__ = made.__qualname__ = name
    return made
