"""The page of promises names figures that tests print."""

import importlib.util
import re

from tests.snippets import ROOT

SCRIPT = ROOT / "scripts" / "make_promises.py"


def test_each_figure_that_a_promise_names_is_printed_by_a_test() -> None:
    spec = importlib.util.spec_from_file_location("make_promises", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    text = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    names = set(re.findall(r'\bfigure\(\s*"([a-z0-9_]+)"', text))

    wanted = {name for _, shown_by in script.PROMISES.values() for name in shown_by}

    assert wanted - names == set()
    page = (ROOT / "docs" / "promises.md").read_text()
    assert [name for name in script.PROMISES if f"| {name} |" not in page] == []
