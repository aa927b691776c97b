"""`tenuto migrate`: files of the Prefect 1 API rewritten for Tenuto."""

from __future__ import annotations

import difflib
import json
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenuto._base.masking import MASK
from tenuto.cli.display import Display, display_of
from tenuto.cli.errors import Foreseen, NotFound
from tenuto.cli.group import Command
from tenuto.cli.texts import printable

if TYPE_CHECKING:
    from tenuto.compat.migration.files import FileMigration

__all__ = ["command"]

EXAMPLES = """
Examples:

  tenuto migrate flows/               shows what would change, and asks
  tenuto migrate --yes flow.py .env   writes
  tenuto migrate --check .            for CI: exit code 1 if something would change
"""
_SECRET_NAME = r"""\w*(?:KEY|TOKEN|PASSWORD|SECRET|SECRETS__\w+)["']?"""
_SECRET = re.compile(rf"(\b{_SECRET_NAME}\s*[=:]\s*)\S.*", re.IGNORECASE)
_SECRET_IN_PYTHON = re.compile(rf"(\b(?:PREFECT|TENUTO)__{_SECRET_NAME}\]?\s*[=:,]\s*)\S.*")
_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@click.command("migrate", cls=Command, epilog=EXAMPLES)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@click.option("-y", "--yes", is_flag=True, help="Write without asking.")
@click.option("--check", is_flag=True, help="Write nothing; exit code 1 if something would change.")
@click.option("--json", "as_json", is_flag=True, help="Print one object; without --yes nothing is written.")
@click.pass_context
def command(context: click.Context, paths: tuple[Path, ...], yes: bool, check: bool, as_json: bool) -> None:
    """
    Rewrite files of Prefect 1 so that they import tenuto.

    Python files get new imports, names, PREFECT__ variables and commands; in scripts and configuration files
    only what is certain is changed. All changes are shown first, with what cannot be carried over. Folders
    are searched, but for hidden ones, virtual environments and node_modules.

    Python files are parsed by libcst: pip install 'tenuto[migrate]'
    """
    if yes and check:
        raise click.UsageError("--check writes nothing: give --yes or --check.")
    display = display_of(context)
    problems: list[str] = []
    files = read_files(paths, problems)
    changed = [file for file in files if file.changes]
    if not as_json:
        print_changes(display, changed)
        print_findings(display, files)
        display.line(summary(len(changed), len(files), sum(len(file.findings) for file in files)))
    wanted = bool(changed) and not check and (yes or (not as_json and confirmed(display, paths)))
    written = write_files(changed, problems) if wanted else []
    if as_json:
        display.result(json.dumps(as_object(files, written), indent=2, ensure_ascii=False))
    elif wanted:
        display.line(f"{counted(len(written), 'file')} written.", colour="green")
    for problem in problems:
        display.problem(problem)
    if problems or (check and changed):
        context.exit(1)


def read_files(paths: tuple[Path, ...], problems: list[str]) -> list[FileMigration]:
    """Return what becomes of each file; those that cannot be read are added to the problems."""
    from tenuto.compat.migration.files import find_files, read_migration, unique

    def unreadable(error: OSError) -> None:
        problems.append(f"{printable(str(error.filename))} cannot be read: {error.strerror or error}")

    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise NotFound(f"There is no file or folder {printable(str(path))!r}.")
        found += find_files(path, unreadable)
    files = []
    for file in unique(found):
        try:
            files.append(read_migration(file))
        except OSError as error:
            unreadable(error)
        except ImportError as error:
            raise Foreseen(str(error)) from error
    return files


def write_files(files: list[FileMigration], problems: list[str]) -> list[Path]:
    """Write what is changed and return the files written; what cannot be is added to the problems."""
    written = []
    for file in files:
        try:
            file.write()
        except OSError as error:
            problems.append(f"{printable(str(file.path))} was not written: {error.strerror or error}")
        else:
            written.append(file.path)
    return written


def confirmed(display: Display, paths: tuple[Path, ...]) -> bool:
    """Ask whether to write; where nobody can answer, say how to."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        return click.confirm("Write these changes?")
    arguments = shlex.join(["--yes", "--", *map(str, paths)])
    display.notice(f"Nothing was written. To write the changes: tenuto migrate {arguments}")
    return False


# ---------------------------------------------------------------------------------------------- what is shown


def print_changes(display: Display, files: list[FileMigration]) -> None:
    """Print the changes of each file."""
    for file in files:
        for line in diff_lines(file):
            display.line(line, colour=_COLOURS.get(line[:1]))
        display.line()


def diff_lines(file: FileMigration) -> list[str]:
    """Return the unified diff of a file, values of secrets hidden."""
    name = printable(str(file.path))
    is_python = file.path.suffix == ".py"
    # What surrounds a change in a file of settings is nobody's business here.
    around, secret = (3, _SECRET_IN_PYTHON) if is_python else (0, _SECRET)
    before, after = file.before.splitlines(), file.after.splitlines()
    lines = difflib.unified_diff(before, after, name, name, n=around, lineterm="")
    return [printable(secret.sub(rf"\1{MASK}", line).replace("\t", "    ")) for line in lines]


def print_findings(display: Display, files: list[FileMigration]) -> None:
    """Print what cannot be carried over, a line each."""
    if not any(file.findings for file in files):
        return
    display.line("Cannot be carried over:", colour="yellow")
    for file in files:
        for found in file.findings:
            display.line(f"  {printable(str(file.path))}:{found.line}: {found.what} — {found.instead}")
    display.line()


def summary(changed: int, looked_at: int, findings: int) -> str:
    """Return the sentence at the end."""
    files = counted(looked_at, "file")
    verb = "changes" if changed == 1 else "change"
    sentence = f"{changed} of {files} {verb}" if changed else f"Nothing to change in {files}"
    return f"{sentence}; {counted(findings, 'thing')} cannot be carried over." if findings else f"{sentence}."


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 file`, `2 files`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def as_object(files: list[FileMigration], written: list[Path]) -> dict[str, Any]:
    """Return the object of `--json`."""
    return {
        "looked_at": len(files),
        "files": [
            {
                "path": str(file.path),
                "written": file.path in written,
                "diff": "\n".join(diff_lines(file)),
            }
            for file in files
            if file.changes
        ],
        "findings": [
            {"path": str(file.path), "line": found.line, "what": found.what, "instead": found.instead}
            for file in files
            for found in file.findings
        ],
    }
