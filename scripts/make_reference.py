"""
Make the pages of docs/reference, which say what the code says already.

    python scripts/make_reference.py            write them
    python scripts/make_reference.py --check    say which are not current, and fail

Settings are those of `src/tenuto/defaults.toml` with their comments; commands are shown by their help. Public
names are what the doors of the package declare in `__all__`, with the signatures and the first sentences of
their docstrings. The journal's tables are those of its structs. `openapi.json` is what the server serves.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parent.parent
DEFAULTS = ROOT / "src" / "tenuto" / "defaults.toml"
REFERENCE = ROOT / "docs" / "reference"

# The modules that flows import from, as they are documented; a name stands under the first of them that has
# it.
DOORS = {
    "tenuto": "What most flows import",
    "tenuto.core.parameter": "Parameters",
    "tenuto.tasks.control_flow": "Conditions and filters",
    "tenuto.tasks.secrets": "Secret tasks",
    "tenuto.tasks.core.constants": "Constants",
    "tenuto.tasks.shell": "Commands of a shell",
    "tenuto.tasks.dbt": "Commands of dbt",
    "tenuto.tasks.jupyter": "Notebooks",
    "tenuto.tasks.notifications": "Messages",
    "tenuto.tasks.prefect": "Runs of other flows",
    "tenuto.client": "Secrets, where they are used, and the client of a server",
    "tenuto.backend": "Artifacts, key-value store and views",
    "tenuto.triggers": "Triggers",
    "tenuto.engine.state": "States",
    "tenuto.engine.signals": "Signals",
    "tenuto.engine.result": "Result, and what has none",
    "tenuto.engine.results": "Kinds of results",
    "tenuto.engine.serializers": "Serializers",
    "tenuto.engine.cache_validators": "Validators of cached values",
    "tenuto.executors": "Executors",
    "tenuto.storage": "Storage",
    "tenuto.run_configs": "Run configs",
    "tenuto.utilities.configuration": "Settings",
    "tenuto.utilities.context": "Context",
    "tenuto.utilities.datetimes": "Dates",
    "tenuto.utilities.debug": "Debugging",
    "tenuto.utilities.edges": "Annotations of arguments",
    "tenuto.utilities.logging": "Logging",
    "tenuto.utilities.notifications": "Notifications",
    "tenuto.utilities.tasks": "Tasks",
    "tenuto.utilities.collections": "Collections",
    "tenuto.utilities.importtools": "Imports",
    "tenuto.exceptions": "Exceptions",
}


# --------------------------------------------------------------------------------------------------- settings


@dataclass
class Setting:
    section: str
    key: str
    default: str
    meaning: str

    @property
    def name(self) -> str:
        return f"{self.section}.{self.key}" if self.section else self.key

    @property
    def variable(self) -> str:
        return "__".join(["TENUTO", *self.name.upper().split(".")])


def settings() -> list[Setting]:
    """Return the settings of the defaults file, each with the comment above it."""
    found: list[Setting] = []
    section, comment = "", []
    for line in DEFAULTS.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            comment.append(line.removeprefix("#").strip())
        elif header := re.fullmatch(r"\[([\w.]+)\]", line):
            section, comment = header[1], []
        elif "=" in line:
            key, _, default = (part.strip() for part in line.partition("="))
            # One comment may stand above several keys that belong together.
            meaning = " ".join(comment) or (
                found[-1].meaning if found[-1:] and found[-1].section == section else ""
            )
            found.append(Setting(section, key, default, meaning))
            comment = []
        else:
            comment = []
    return found


def settings_page() -> str:
    lines = [
        "# Settings",
        "",
        "<!-- Made by scripts/make_reference.py from src/tenuto/defaults.toml. Do not edit. -->",
        "",
        "Each can be set in `~/.tenuto/config.toml`, in `tenuto.toml`, or by its variable:",
        "see [configuration](../concepts/configuration.md).",
        "",
    ]
    section = None
    for setting in settings():
        if setting.section != section:
            section = setting.section
            lines += ["", f"## [{section}]" if section else "## At the top of the file", ""]
            lines += ["| key | default | meaning | variable |", "| --- | --- | --- | --- |"]
        cells = (f"`{setting.key}`", f"`{setting.default}`", setting.meaning, f"`{setting.variable}`")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


# ----------------------------------------------------------------------------------------------- public names


def api_page() -> str:
    lines = [
        "# Public names",
        "",
        "<!-- Made by scripts/make_reference.py from the modules themselves. Do not edit. -->",
        "",
        "What flows may import, with signatures and first sentences; `help(name)` in Python says the rest.",
        "A name that several modules show is described under the first of them.",
    ]
    described: dict[int, str] = {}
    for door, title in DOORS.items():
        module = importlib.import_module(door)
        lines += ["", f"## {title}: `{door}`", ""]
        for name in sorted(module.__all__, key=str.lower):
            thing = getattr(module, name)
            known = described.get(id(thing)) if callable(thing) else None
            if known is not None:
                lines.append(f"- `{name}`: {known}")
            else:
                described[id(thing)] = f"see `{door}.{name}`"
                lines += list(entry(name, thing))
    return "\n".join(lines) + "\n"


def entry(name: str, thing: Any) -> Iterator[str]:
    """
    Yield the lines about one name: its signature and first sentence, and the same for a class's methods.
    """
    yield f"- `{name}{signature(thing)}`{sentence(thing)}"
    if not inspect.isclass(thing):
        return
    for method, function in sorted(methods(thing).items()):
        plain = function.__func__ if isinstance(function, staticmethod | classmethod) else function
        if method.startswith("_") or not inspect.getdoc(plain):
            continue
        if isinstance(plain, property):
            yield f"    - `.{method}`{sentence(plain)}"
        elif inspect.isfunction(plain):
            called = signature(plain, bound=not isinstance(function, staticmethod))
            yield f"    - `.{method}{called}`{sentence(plain)}"


def methods(thing: type) -> dict[str, Any]:
    """Return what a class defines, with what it has from classes that have no entry of their own."""
    shown = [base for base in thing.__mro__[1:] if base in shown_classes()]
    hidden = [
        base
        for base in thing.__mro__[1:]
        if base.__module__.startswith("tenuto.") and not any(issubclass(other, base) for other in shown)
    ]
    found: dict[str, Any] = {}
    for base in (thing, *hidden):
        found = dict(vars(base)) | found
    return found


@functools.cache
def shown_classes() -> frozenset[type]:
    """Return the classes that have an entry of their own."""
    modules = [importlib.import_module(door) for door in DOORS]
    return frozenset(
        thing
        for module in modules
        for name in module.__all__
        if inspect.isclass(thing := getattr(module, name))
    )


def signature(thing: Any, *, bound: bool = False) -> str:
    """Return the parameters of something callable with their defaults, nothing for a value."""
    if not callable(thing):
        return ""
    try:
        found = inspect.signature(thing)
    except (TypeError, ValueError):
        return "(...)"
    parameters = [one.replace(annotation=one.empty) for one in found.parameters.values()]
    text = str(found.replace(parameters=parameters[bound:], return_annotation=found.empty))
    # Defaults that are objects of Tenuto's own, such as "none given", say nothing by their addresses.
    return re.sub(r"=<[^<>]*>", "=...", text)


def sentence(thing: Any) -> str:
    """Return the first sentence of a docstring of its own, after a colon."""
    if not (callable(thing) or isinstance(thing, property)):
        return ""
    own = thing.__dict__.get("__doc__") if inspect.isclass(thing) else inspect.getdoc(thing)
    if not own:
        return ""
    paragraph = " ".join(inspect.cleandoc(own).split("\n\n")[0].split())
    return ": " + re.split(r"(?<=\.)\s", paragraph)[0]


# ----------------------------------------------------------------------------------------------- command line


def command_line_page() -> str:
    """Return the help of each command, as 100 columns show it."""
    from tenuto.cli.app import COMMANDS, tenuto

    lines = [
        "# Command line",
        "",
        "<!-- Made by scripts/make_reference.py from the commands themselves. Do not edit. -->",
        "",
        "What `tenuto COMMAND --help` prints. Exit codes: 0 done, 1 the run or the operation failed,",
        "2 wrong usage, 5 not found, 130 interrupted.",
    ]
    with click.Context(tenuto, info_name="tenuto", color=False) as root:
        for entry in COMMANDS:
            command = tenuto.get_command(root, entry.name)
            assert command is not None, entry.name
            settings = command.context_settings
            with click.Context(command, root, entry.name, terminal_width=100, **settings) as context:
                text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
            lines += ["", f"## tenuto {entry.name}", "", "```text", text, "```"]
    return "\n".join(lines) + "\n"


# ------------------------------------------------------------------------------------------------- the server


def openapi_page() -> str:
    """Return the OpenAPI document of the server's API."""
    from tenuto.server.api.document import openapi_text
    from tenuto.server.app import make_app
    from tenuto.server.settings import Settings
    from tenuto.server.store.sql.sqlite import SqliteDatabase

    app = make_app(Settings(home=ROOT), SqliteDatabase(None, lambda: datetime.now(UTC)))
    return openapi_text(app).decode() + "\n"


# ------------------------------------------------------------------------------------------------------ files


def pages() -> dict[Path, str]:
    """Return the pages as they should be."""
    from scripts import journal_reference

    return {
        REFERENCE / "settings.md": settings_page(),
        REFERENCE / "api.md": api_page(),
        REFERENCE / "command-line.md": command_line_page(),
        REFERENCE / "journal.md": journal_reference.page(),
        REFERENCE / "openapi.json": openapi_page(),
    }


def main() -> int:
    check = "--check" in sys.argv[1:]
    stale = [
        (path, text)
        for path, text in pages().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path, text in stale:
        print(f"{path.relative_to(ROOT)} {'is not current' if check else 'written'}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # As the tests have it: `scripts` is a package of the repository.
    raise SystemExit(main())
