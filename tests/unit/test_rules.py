"""Every rule of the specification is cited by a test, or listed in docs/compatibility.md with a reason."""

import re

from tests.snippets import ROOT

RULE = re.compile(r"\bR-[A-Z]+-\d+\b")
RULES = set((ROOT / "tests" / "rules.txt").read_text(encoding="utf-8").split())


def cited() -> set[str]:
    """Return the rule ids that tests name."""
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("*.py"):
        found.update(RULE.findall(path.read_text(encoding="utf-8")))
    return found


def excused() -> set[str]:
    """Return the rule ids that docs/compatibility.md lists, with a reason or with what will bring them."""
    page = ROOT / "docs" / "compatibility.md"
    return set(RULE.findall(page.read_text(encoding="utf-8"))) if page.exists() else set()


def by_name(rules: set[str]) -> list[str]:
    return sorted(rules, key=lambda rule: (rule.rsplit("-", 1)[0], int(rule.rsplit("-", 1)[1])))


def test_every_rule_is_cited_by_a_test_or_listed_with_a_reason() -> None:
    missing = by_name(RULES - cited() - excused())
    assert not missing, f"{len(missing)} of {len(RULES)} rules have neither: {' '.join(missing)}"


def test_cited_rules_exist() -> None:
    topics = {rule.rsplit("-", 1)[0] for rule in RULES}
    wrong = {rule for rule in cited() | excused() if rule.rsplit("-", 1)[0] in topics} - RULES
    assert not wrong, " ".join(by_name(wrong))
