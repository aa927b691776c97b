"""
What README.md and docs/ show runs as it stands.

- A `python` block is run by itself, in an empty folder; `python continued` after the code of the one before.
  `python file=first.py` is also there, under that name, for the commands of its page.
- A `console run` block is run command by command, in one folder for the page. The lines under a command are
  looked for in its output, in order; `...` stands for any lines, and inside a line for any text. Times of log
  lines are not compared.
- `python no-run: REASON` is only compiled. Other console blocks are only shown.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.snippets import ROOT, Snippet, pages, snippets

SECONDS_MAX = 120
LANGUAGES = {"console", "json", "mermaid", "python", "text", "toml"}
_LOG_TIME = re.compile(r"^\[[^]]*\] (?=[A-Z]+ - )|(?<=^└── )\d\d:\d\d:\d\d (?=\| )", re.MULTILINE)

ALL = [snippet for page in pages() for snippet in snippets(page)]


def python_programs() -> Iterator[tuple[Snippet, str]]:
    """Yield each python block with its program: itself, after the blocks that it continues."""
    program, page = "", None
    for snippet in ALL:
        if snippet.language == "python" and snippet.no_run_reason is None:
            continues = "continued" in snippet.options.split() and snippet.page == page
            program = program + "\n" + snippet.code if continues else snippet.code
            page = snippet.page
            yield snippet, program


def run(command: list[str] | str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program, or a line of shell, with this Python's commands first on the PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONWARNINGS": "error"},
        shell=isinstance(command, str),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )


@pytest.mark.parametrize(
    ("snippet", "program"), [pytest.param(*found, id=str(found[0])) for found in python_programs()]
)
def test_python_of_the_docs_runs(snippet: Snippet, program: str, tmp_path: Path) -> None:
    folder = tmp_path / "snippet"
    folder.mkdir()
    (folder / "snippet.py").write_text(program, encoding="utf-8")
    done = run([sys.executable, "snippet.py"], folder)
    assert done.returncode == 0, f"{snippet}\n{done.stdout}"


@pytest.mark.parametrize(
    "page",
    [page for page in pages() if any(s.language == "console" and s.options == "run" for s in snippets(page))],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_commands_of_the_docs_run_and_print_what_is_shown(page: Path, tmp_path: Path) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    for snippet in snippets(page):
        if snippet.file_name:
            (folder / snippet.file_name).write_text(snippet.code, encoding="utf-8")
        if snippet.language == "console" and snippet.options == "run":
            for command, shown in commands(snippet.code):
                done = run(command, folder)
                assert done.returncode == 0, f"{snippet}: {command}\n{done.stdout}"
                missing = first_missing(shown, done.stdout)
                assert missing is None, f"{snippet}: {command}\ndid not print {missing!r}:\n{done.stdout}"


@pytest.mark.parametrize("snippet", ALL, ids=str)
def test_code_blocks_say_what_they_are(snippet: Snippet) -> None:
    assert snippet.language in LANGUAGES, f"{snippet}: {snippet.info!r}"
    reason = snippet.no_run_reason
    assert reason is None or len(reason.split()) > 1, f"{snippet} is not run, and does not say why"
    if snippet.language == "python":
        compile(snippet.code, str(snippet), "exec")


def test_links_between_pages_lead_somewhere() -> None:
    link = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")
    missing = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages()
        for target in link.findall(page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert not missing


def commands(code: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each command of a console block with the lines shown under it."""
    for part in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, [line.rstrip() for line in _LOG_TIME.sub("", shown).splitlines() if line.strip()]


def first_missing(shown: list[str], output: str) -> str | None:
    """Return the first shown line that does not follow the ones before it in the output."""
    lines = iter([line.rstrip() for line in _LOG_TIME.sub("", output).splitlines()])
    return next((line for line in shown if line.strip() != "..." and not any(map(like(line), lines))), None)


def like(shown: str) -> Callable[[str], object]:
    """Return a test of a line of output: whether it is the shown one, with any text for `...`."""
    return re.compile(".*".join(map(re.escape, shown.split("...")))).fullmatch


def test_shown_lines_are_looked_for_in_their_order() -> None:
    output = "[2024-01-01 10:00:00+0000] INFO - tenuto | one\ntwo\nthree\n"
    assert first_missing(["INFO - tenuto | one", "...", "three"], output) is None
    assert first_missing(["three", "two"], output) == "two"
    assert first_missing(["INFO ... one", "t...o"], output) is None
    assert first_missing(["t...ee", "two"], output) == "two"
    assert first_missing(["└── | INFO    | one"], "└── 09:00:00 | INFO    | one\n") is None
    assert list(commands("$ a b\nx\n\n$ c\n")) == [("a b", ["x"]), ("c", [])]
