"""Check that what lies in changelog.d is made of fragments: the right names, one sentence each."""

import re
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "changelog.d"
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\.(added|changed|fixed|removed)\.md")
SENTENCE_END = re.compile(r"[.!?]`?(?=\s|$)")


def faults(folder: Path) -> list[str]:
    """Return a line for each file of `folder` that is not a fragment as its README says."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.name == "README.md":
            continue
        text = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
        if not NAME.fullmatch(path.name):
            found.append(f"{path.name}: not named <topic>.<added|changed|fixed|removed>.md")
        elif not text:
            found.append(f"{path.name}: empty")
        elif "\n\n" in text or len(SENTENCE_END.findall(text)) != 1 or not SENTENCE_END.search(text[-2:]):
            found.append(f"{path.name}: not one sentence")
    return found


if __name__ == "__main__":
    lines = faults(FOLDER)
    print("\n".join(lines) or "Fragments are in order")
    sys.exit(1 if lines else 0)
