"""The pages of the reference that are made from the code say what the code says now."""

from pathlib import Path

import pytest

from scripts import make_reference
from tenuto.configuration import DEFAULTS_PATH, load_toml

PAGES = make_reference.pages()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_reference_is_current(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == PAGES[path], "Run: python scripts/make_reference.py"


def test_every_setting_is_explained() -> None:
    found = {setting.name: setting.meaning for setting in make_reference.settings()}
    assert found.keys() == set(dotted(load_toml(DEFAULTS_PATH)))
    assert not [name for name, meaning in found.items() if not meaning]


def dotted(settings: dict[str, object], at: str = "") -> list[str]:
    """Return the keys of nested tables that hold values, as `section.key`."""
    names: list[str] = []
    for key, value in settings.items():
        names += dotted(value, f"{at}{key}.") if isinstance(value, dict) else [at + key]
    return names
