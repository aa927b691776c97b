"""What holds for the repository as a whole."""

import tomllib

import pytest

from scripts import check_changelog, check_names
from tests.snippets import ROOT


def test_no_file_names_an_index_or_a_machine() -> None:
    assert check_names.repository_faults() == []


@pytest.mark.parametrize(
    "line",
    [
        "pip install --index" + "-url x",
        "source: py" + "pi.org",
        "cd /ro" + "ot/project",
        "see /wo" + "rk/main",
        "find-links = --find" + "-links y",
    ],
)
def test_names_of_indexes_and_machines_are_found(line: str) -> None:
    assert next(check_names.faults("file", "first\n" + line)).startswith("file:2: ")


@pytest.mark.parametrize(
    "line", ["data/work/x", "a/home/b", "uv pip compile --no-emit-index" + "-url", "/tmp/x"]
)
def test_ordinary_lines_are_not_found(line: str) -> None:
    assert not list(check_names.faults("file", line))


def test_changelog_fragments_are_in_order() -> None:
    assert check_changelog.faults(ROOT / "changelog.d") == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Topic.added.md", "A sentence."),
        ("topic.new.md", "A sentence."),
        ("topic.added.md", ""),
        ("topic.added.md", "Two sentences. Here."),
        ("topic.added.md", "no end"),
    ],
)
def test_wrong_changelog_fragments_are_found(
    name: str, text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("changelog")
    (folder / name).write_text(text, encoding="utf-8")
    assert len(check_changelog.faults(folder)) == 1


def test_every_dependency_has_a_lowest_and_an_upper_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for extra in project["optional-dependencies"].values() for line in extra]
    for line in project["dependencies"] + extras:
        assert ">=" in line, line
        assert "<" in line, line


@pytest.mark.parametrize("name", ["bootstrap.txt", "dev.txt", "lowest.txt"])
def test_every_locked_package_has_a_hash(name: str) -> None:
    lock = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    packages = [line for line in lock.replace("\\\n", "").splitlines() if line and not line.startswith("#")]
    assert packages
    for line in packages:
        assert "==" in line.split()[0], line
        assert "--hash=sha256:" in line, line


def test_wheel_version_is_that_of_the_package() -> None:
    import tenuto

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == tenuto.__version__
