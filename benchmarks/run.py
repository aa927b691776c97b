"""
Run the benchmarks, each in a process of its own, and print one table at the end.

    python -m benchmarks.run                     all of them
    python -m benchmarks.run task_overhead       those with that word in their name
    python -m benchmarks.run --save NAME.json    keep the figures, with the machine they are from
    python -m benchmarks.run --against NAME.json put the ratios kept earlier beside those of now
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.harness import Figure, add_options, machine, prepare, short, table

FOLDER = Path(__file__).resolve().parent


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter, prog="benchmarks"
    )
    parser.add_argument("words", nargs="*", help="parts of names of benchmarks; default: all")
    add_options(parser)
    parser.add_argument("--save", type=Path, metavar="FILE", help="write that JSON object to a file, too")
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare with a file written by --save")
    arguments = parser.parse_args()
    prepare(arguments)

    names = chosen(arguments.words)
    if not names:
        print(f"No benchmark has one of {arguments.words} in its name; there are: {', '.join(chosen([]))}")
        return 2
    figures: list[Figure] = []
    broken: list[str] = []
    for name in names:
        print(f"... {name}", file=sys.stderr, flush=True)
        found = run(name, quick=arguments.quick)
        if found is None:
            broken.append(name)
        figures.extend(found or [])

    report = {"machine": machine(), "figures": [vars(one) for one in figures]}
    if arguments.save:
        arguments.save.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if arguments.json:
        print(json.dumps(report, indent=1))
    else:
        print(", ".join(f"{key} {value}" for key, value in machine().items()))
        print(table(figures))
    if arguments.against:
        earlier = json.loads(arguments.against.read_text(encoding="utf-8"))
        print(f"\nAgainst {arguments.against}:\n{comparison(figures, earlier)}")
    for name in broken:
        print(f"{name} ended with an error, see above", file=sys.stderr)
    return 1 if broken or any(one.holds is False for one in figures) else 0


def chosen(words: list[str]) -> list[str]:
    """Return the names of the benchmarks that contain one of the words, all without words."""
    names = sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))
    return [name for name in names if not words or any(word in name for word in words)]


def run(name: str, *, quick: bool) -> list[Figure] | None:
    """Run one benchmark in a fresh process; None when it broke."""
    command = [sys.executable, "-m", f"benchmarks.bench_{name}", "--json", *(["--quick"] if quick else [])]
    done = subprocess.run(command, cwd=FOLDER.parent, stdout=subprocess.PIPE, text=True, check=False)
    try:
        return [Figure(**one) for one in json.loads(done.stdout)["figures"]]
    except (ValueError, KeyError):
        return None


def comparison(figures: list[Figure], earlier: dict[str, Any]) -> str:
    """Return a line per figure that both have: ratio (or median, where there is no floor) then and now."""
    before = {one["question"]: Figure(**one) for one in earlier["figures"]}
    lines = [f"measured on {earlier['machine']}"]
    for one in figures:
        old = before.get(one.question)
        if old is None:
            lines.append(f"{one.question}: new")
            continue
        now, then = one.ratio or one.median, old.ratio or old.median
        lines.append(f"{one.question}: {short(then)} -> {short(now)} ({(now / then - 1) * 100:+.0f} %)")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
