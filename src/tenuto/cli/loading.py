"""Flows from files and modules, loaded as the command line loads them."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tenuto.cli.errors import Foreseen
from tenuto.cli.texts import printable

if TYPE_CHECKING:
    from tenuto.cli.display import Display
    from tenuto.core.flow import Flow

__all__ = [
    "LoadingFailed",
    "find_flow",
    "flow_options",
    "load_flow",
    "loading_error",
    "module_option",
    "path_option",
]

F = TypeVar("F", bound=Callable[..., Any])

MODULE_NAME = "<flow>"
"""What a flow's file is called as a module: its `if __name__ == "__main__":` parts do not run."""

_COMBINATIONS = (
    "These find a flow:",
    "  -p/--path FILE                  the flow of a file",
    "  -m/--module MODULE[.FLOW]       the flow of a module that can be imported",
    "  -n/--name NAME with -p or -m    one of several flows there",
)


class LoadingFailed(Exception):
    """The user's code raised something while it was loaded: the cause of this error."""

    def __init__(self, location: str) -> None:
        self.location = location
        super().__init__(location)


path_option = click.option(
    "-p", "--path", type=click.Path(), metavar="FILE", help="File that holds the flow."
)
module_option = click.option("-m", "--module", metavar="MODULE[.FLOW]", help="Module that holds the flow.")


def flow_options(command: F) -> F:
    """Give a command the options that find a flow: `path`, `module` and `name`."""
    name_option = click.option("-n", "--name", help="Name of the flow, where there are several.")
    return path_option(module_option(name_option(command)))


def check_options(path: str | None, module: str | None) -> None:
    """Raise Foreseen unless one of both says where the flow is."""
    if path is None and module is None:
        raise Foreseen("Error: Received no options to look up the flow.", *_COMBINATIONS)
    if path is not None and module is not None:
        raise Foreseen(
            "Error: Received too many options to look up the flow: --path, --module", *_COMBINATIONS
        )


def find_flow(path: str | None, module: str | None, name: str | None, compat: bool | None = None) -> Flow:
    """
    Load the file or module and return the flow that is meant.

    Args:
        path, module, name: the options that find it.
        compat: whether `import prefect` finds Tenuto; None: unless Prefect 1 is installed.

    Raises:
        Foreseen: when there is no such file, module or flow, or there are several flows.
        LoadingFailed: when the user's code fails.
    """
    check_options(path, module)
    use_compat(compat)
    if path is not None:
        return choose(flows_in(load_file(path)), name, path)
    loaded, rest = load_module(module or "")
    if rest:
        return flow_named_by_attribute(loaded, rest, module or "", name)
    return choose(flows_in(loaded), name, module or "")


def load_flow(display: Display, path: str | None, module: str | None, name: str | None) -> Flow:
    """
    Return the flow that is meant, for commands that print what they know of it.

    What a file prints while it is loaded goes to stderr: it must not get into the result.

    Raises:
        Foreseen: as `find_flow`, and when the user's code fails.
    """
    try:
        with display.results_only():
            return find_flow(path, module, name)
    except LoadingFailed as failure:
        raise loading_error(display, failure) from failure.__cause__


def loading_error(display: Display, failure: LoadingFailed) -> Foreseen:
    """Return the error for a file that could not be loaded: the user's frames of what it raised."""
    from tenuto.cli.tracebacks import user_traceback

    cause = failure.__cause__
    assert cause is not None
    if isinstance(cause, SystemExit):
        return Foreseen(
            f"{failure.location} called sys.exit({cause.code!r}) while it was loaded.",
            'Put what is not to be done then under `if __name__ == "__main__":`.',
        )
    if display.debug:
        return Foreseen(f"{failure.location} could not be loaded: {type(cause).__name__}: {cause}")
    return Foreseen(f"{failure.location} could not be loaded:", user_traceback(cause).rstrip("\n"))


# ---------------------------------------------------------------------------------------------- which flow


def flows_in(module: ModuleType) -> list[Flow]:
    """Return the flows that are global variables of a module, each once."""
    from tenuto.core.flow import Flow

    found = {id(value): value for value in vars(module).values() if isinstance(value, Flow)}
    return list(found.values())


def choose(flows: list[Flow], name: str | None, location: str) -> Flow:
    """Return the flow of that name, or the only one; Foreseen when that is not one flow."""
    place = printable(location)
    if not flows:
        raise Foreseen(
            f"Found no flows at {place}.",
            "A flow has to be a global variable there; assign one that a function makes to such a variable.",
        )
    names = ", ".join(sorted(repr(flow.name) for flow in flows))
    if name is not None:
        chosen = [flow for flow in flows if flow.name == name]
        if not chosen:
            near = difflib.get_close_matches(name, [flow.name for flow in flows], n=1)
            hint = [f"Did you mean {near[0]!r}?"] if near else []
            raise Foreseen(f"Did not find {name!r} in flows at {place}. Found {names}", *hint)
        # Two flows of one name in a file: the last assignment counts, as for the variable.
        return chosen[-1]
    if len(flows) > 1:
        raise Foreseen(f"Found multiple flows at {place}: {names}", "Specify a flow name to run: --name NAME")
    return flows[0]


def flow_named_by_attribute(module: ModuleType, attributes: str, location: str, name: str | None) -> Flow:
    """Return the flow of `MODULE.FLOW`."""
    from tenuto.core.flow import Flow

    found: Any = module
    for part in attributes.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, Flow):
        known = [key for key, value in vars(module).items() if isinstance(value, Flow)]
        near = difflib.get_close_matches(attributes, known, n=1)
        hint = [f"Did you mean {module.__name__}.{near[0]}?"] if near else []
        raise Foreseen(f"{printable(location)!r} is neither a module nor a flow in one.", *hint)
    return choose([found], name, location)


# ------------------------------------------------------------------------------------------------- loading


def load_file(path: str) -> ModuleType:
    """Run a file as the module `<flow>`; its folder comes first on the import path, as for `python FILE`."""
    full = os.path.abspath(os.path.expanduser(path))
    source = read_source(full)
    import_engine()
    module = ModuleType(MODULE_NAME)
    module.__file__ = full
    sys.modules[MODULE_NAME] = module
    sys.path.insert(0, os.path.dirname(full))
    # A file that parses arguments while it is loaded must not meet ours.
    sys.argv = [full]
    with user_code(path):
        # Compiled from bytes: the file may declare its encoding.
        exec(compile(source, full, "exec", dont_inherit=True), vars(module))
    return module


def read_source(full: str) -> bytes:
    """Return the bytes of a file; Foreseen when it cannot be read."""
    try:
        with open(full, "rb") as file:
            return file.read()
    except FileNotFoundError:
        folder, base = os.path.split(full)
        names = os.listdir(folder) if os.path.isdir(folder) else []
        near = difflib.get_close_matches(base, [name for name in names if name.endswith(".py")], n=1)
        hint = [f"Did you mean {near[0]!r}?"] if near else []
        raise Foreseen(f"File does not exist: {full!r}", *hint) from None
    except IsADirectoryError:
        raise Foreseen(f"Not a file but a folder: {full!r}", "Give the file that makes the flow.") from None
    except OSError as error:
        raise Foreseen(f"File cannot be read: {full!r}: {error.strerror or error}") from error


def load_module(name: str) -> tuple[ModuleType, str]:
    """
    Import a module; of `MODULE.FLOW`, return the module and `FLOW`.

    It is found as `python -m` finds it, so also in the present folder.
    """
    import_engine()
    sys.path.insert(0, os.getcwd())
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        raise Foreseen(f"{printable(name)!r} is no name of a module.", "For a file, use --path.")
    sys.argv = [name]
    for length in range(len(parts), 0, -1):
        module_name = ".".join(parts[:length])
        try:
            with user_code(name):
                module = importlib.import_module(module_name)
        except LoadingFailed as error:
            if not is_missing(error.__cause__, module_name):
                raise
            continue
        # Where the engine looks for what this process has loaded.
        sys.modules[MODULE_NAME] = module
        return module, ".".join(parts[length:])
    raise Foreseen(
        f"Module {printable(name)!r} was not found.",
        f"It has to be importable from {os.getcwd()!r} or be installed. For a file, use --path.",
    )


def is_missing(error: BaseException | None, name: str) -> bool:
    """Say whether an import failed for want of that very module, not of one that it imports."""
    return (
        isinstance(error, ModuleNotFoundError)
        and error.name is not None
        and f"{name}.".startswith(f"{error.name}.")
    )


def use_compat(wanted: bool | None) -> None:
    """Have `import prefect` find Tenuto."""
    from tenuto.compat import shim

    if wanted is not False:
        shim.install(unless_prefect_1=wanted is None)


def import_engine() -> None:
    """
    Import what a run needs, before the flow's folder is on the import path.

    A user's `queue.py` or `platform.py` must not be what our own modules get.
    """
    import tenuto.engine.launch  # noqa: F401  # imported for its effect


@contextmanager
def user_code(location: str) -> Iterator[None]:
    """
    Load the user's code inside: `flow.run()` there does nothing, and what it raises becomes LoadingFailed.

    KeyboardInterrupt stays what it is.
    """
    from tenuto._base.context import context

    # Not `with context(...)`, which would take back what a file puts into the context, such as secrets.
    context["loading_flow"] = True
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # Scripts raise SystemExit and signals of ours at their top, too.
        raise LoadingFailed(location) from error
    finally:
        context.pop("loading_flow", None)
