"""The code blocks of a Markdown page, as the page tests run them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

_FENCE = re.compile(
    r"^(?P<fence>`{3,})(?P<info>[^`\n]*)\n(?P<code>.*?)^(?P=fence)[ \t]*$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Snippet:
    """One code block: `info` is what stands behind the backticks, `line` where the code begins."""

    page: Path
    line: int
    info: str
    code: str

    @property
    def language(self) -> str:
        return self.info.split(" ", 1)[0]

    @property
    def options(self) -> str:
        return self.info.partition(" ")[2].strip()

    @property
    def no_run_reason(self) -> str | None:
        """Why it is not run: None when it is, "" when nobody says."""
        option, _, reason = self.options.partition(":")
        return reason.strip() if option.strip() == "no-run" else None

    @property
    def file_name(self) -> str | None:
        """Under which name it is saved for the commands of the page: `file=first.py`."""
        found = re.search(r"\bfile=(\S+)", self.options)
        return found[1] if found else None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Return README.md and every page under docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def snippets(page: Path) -> Iterator[Snippet]:
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start("code")) + 1
        yield Snippet(page, line, found["info"].strip(), found["code"])
