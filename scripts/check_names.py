"""Check that no file of the repository names a package index or a folder of the machine it was written on."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Where packages come from is a matter of the machine, and so is where a clone lies. The brackets keep these
# patterns from finding themselves.
FORBIDDEN = {
    "package index": re.compile(
        r"py[p]i\.(org|python)|python[h]osted\.org|registry\.np[m]js|np[m]js\.org|yarn[p]kg\.com|deb\.deb[i]an"
        r"|anaco[n]da\.(org|com)|conda-for[g]e|crat[e]s\.io|jfrog\.i[o]|/sim[p]le/|ftp\.\w+\.deb[i]an",
        re.IGNORECASE,
    ),
    "option naming an index": re.compile(
        r"--(extra-)?ind[e]x-url|--find-lin[k]s|--default-ind[e]x|\[\[tool\.uv\.ind[e]x"
    ),
    "folder of one machine": re.compile(
        r"(?<![\w.}~$*\])-])/(work|ro[o]t|op[t]|hom[e]|Use[r]s|mn[t])(?=/[\w.])"
    ),
}
# The script that makes the locks tells uv by these options to write no index; they name none.
ALLOWED = re.compile(r"--no-emit-(index-url|find-links)")


def faults(name: str, text: str) -> Iterator[str]:
    """Yield a line for each forbidden name in a file's text."""
    for number, line in enumerate(text.splitlines(), start=1):
        for what, pattern in FORBIDDEN.items():
            if match := pattern.search(ALLOWED.sub("", line)):
                yield f"{name}:{number}: {what}: {match[0]}"


def repository_files() -> list[str]:
    """Return the files that are committed or would be, relative to the root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def repository_faults() -> list[str]:
    """Return a line for each forbidden name in the repository's text files."""
    found: list[str] = []
    for name in repository_files():
        data = (ROOT / name).read_bytes()
        if b"\0" not in data:
            found.extend(faults(name, data.decode("utf-8", "replace")))
    return found


if __name__ == "__main__":
    lines = repository_faults()
    print("\n".join(lines) or "No file names an index or a machine")
    sys.exit(1 if lines else 0)
