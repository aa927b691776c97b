"""
Files beside Python source: environment files, scripts, configuration, notebooks, lists of packages.

Only what is certain is changed: names of variables, and the command in shell scripts. Comments stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tenuto.compat.migration.findings import Finding, Migrated
from tenuto.compat.migration.settings import (
    COMMAND,
    COMMAND_IN_SHELL,
    REQUIREMENT,
    VARIABLE,
    command_advice,
    setting_advice,
    variable_today,
)

__all__ = ["migrate_lines", "search_notebook"]

_COMMAND_LIST = re.compile(r"""["']prefect["'], *["'](?!\.)""")
_IMAGE = re.compile(r"\bprefecthq/prefect\b")
_INSTALL = re.compile(r"\b(?:pip|pip3|uv|conda|poetry)\b.* (?:install|add) .*(?<![\w./-])prefect(?![\w./-])")
_NOTEBOOK_IMPORT = re.compile(r"\b(?:import|from) prefect\b")


def migrate_lines(text: str, *, is_shell: bool) -> Migrated:
    """Return the text of a script or a configuration file with the names of today."""
    lines, findings = text.split("\n"), []
    for index, line in enumerate(lines):
        if "prefect" not in line.lower() or line.lstrip().startswith("#"):
            continue
        findings += [Finding(index + 1, *found) for found in _findings(line, is_shell)]
        if is_shell:
            line = _with_command(line)
        lines[index] = VARIABLE.sub(lambda found: variable_today(found[0]), line)
    return Migrated("\n".join(lines), tuple(findings))


def search_notebook(text: str) -> Migrated:
    """List the imports of a notebook: they are to be changed where it is open."""
    found = tuple(
        Finding(
            number, "a notebook imports prefect", "Import tenuto in its cells; notebooks are not rewritten."
        )
        for number, line in enumerate(text.split("\n"), start=1)
        if _NOTEBOOK_IMPORT.search(line)
    )
    return Migrated(text, found)


def _with_command(line: str) -> str:
    """Return a line of a shell script with the command's name of today, before commands that are known."""
    known = {found.start() for found in COMMAND.finditer(line)}
    for found in reversed(list(COMMAND_IN_SHELL.finditer(line))):
        if found.start("name") in known:
            line = f"{line[: found.start('name')]}tenuto{line[found.end('name') :]}"
    return line


def _findings(line: str, is_shell: bool) -> Iterator[tuple[str, str]]:
    for found in VARIABLE.finditer(line):
        if advice := setting_advice(found[0]):
            yield f"the setting {found[0]} means nothing to Tenuto", advice
    for found in COMMAND.finditer(line):
        words = re.findall(r"[\w-]+", line[found.end() :])[:2]
        if advice := command_advice(words):
            yield f"the command prefect {' '.join(words)} is not part of Tenuto", advice
        elif not is_shell:
            yield "a command of prefect", "Write tenuto in its place."
    if _COMMAND_LIST.search(line):
        yield "a command of prefect", "Write tenuto in its place."
    if _IMAGE.search(line):
        yield "an image with Prefect", "Take an image with Python, and install tenuto in it."
    if _INSTALL.search(line) or REQUIREMENT.match(line):
        yield "prefect is required here", "Require tenuto in its place."
