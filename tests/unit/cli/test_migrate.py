"""`tenuto migrate`: what it shows, what it writes, and how it ends."""

import json
import os
import sys
from pathlib import Path

import pytest

# Loaded here, as the fixture takes out what a test imports: half of libcst cannot be imported twice.
import tenuto.compat.migration.python_source  # noqa: F401
from tenuto.compat.migration import files
from tenuto.compat.migration.advice import ADVICE
from tests.unit.cli.command_line import CommandLine

OLDER = b"import prefect\r\n\r\nx = prefect.context\r\n"
NEWER = b"import tenuto\r\n\r\nx = tenuto.context\r\n"
DIFF_A = """\
--- flows/a.py
+++ flows/a.py
@@ -1,3 +1,3 @@
-import prefect
+import tenuto
\x20
-x = prefect.context
+x = tenuto.context"""
DIFF_B = """\
--- flows/b.py
+++ flows/b.py
@@ -1 +1 @@
-from prefect.tasks.aws import S3Upload
+from tenuto.tasks.aws import S3Upload"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project: two files to change, one that is not ours, one with something that is not there."""
    project = tmp_path / "project"
    (project / "flows").mkdir(parents=True)
    (project / "flows" / "a.py").write_bytes(OLDER)
    (project / "flows" / "b.py").write_bytes(b"from prefect.tasks.aws import S3Upload\n")
    (project / "flows" / "c.py").write_bytes(b"import os\n")
    (project / "notes.md").write_bytes(b"import prefect\n")
    monkeypatch.chdir(project)
    return project


def test_changes_and_what_cannot_be_carried_over_are_shown_and_nothing_is_written(
    cli: CommandLine, folder: Path
) -> None:  # R-CLI-3, R-CLI-15
    done = cli("migrate", "flows")
    assert done.code == 0
    assert done.out.splitlines() == [
        *DIFF_A.split("\n"),
        "",
        *DIFF_B.split("\n"),
        "",
        "Cannot be carried over:",
        f"  flows/b.py:1: prefect.tasks.aws.S3Upload is not part of Tenuto — {ADVICE['tasks.aws']}",
        "",
        "2 of 3 files change; 1 thing cannot be carried over.",
    ]
    assert done.err == "Nothing was written. To write the changes: tenuto migrate --yes -- flows\n"
    assert (folder / "flows" / "a.py").read_bytes() == OLDER


def test_yes_writes_and_a_second_time_there_is_nothing_to_change(cli: CommandLine, folder: Path) -> None:
    (folder / "flows" / "a.py").chmod(0o640)
    done = cli("migrate", "-y", "flows/a.py")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-2:] == ["1 of 1 file changes.", "1 file written."]
    assert (folder / "flows" / "a.py").read_bytes() == NEWER
    assert (folder / "flows" / "a.py").stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(folder / "flows")) == ["a.py", "b.py", "c.py"]
    again = cli("migrate", "--yes", "flows/a.py")
    assert (again.code, again.out, again.err) == (0, "Nothing to change in 1 file.\n", "")


def test_check_fails_while_something_would_change(cli: CommandLine, folder: Path) -> None:  # R-CLI-2
    done = cli("migrate", "--check", "flows")
    assert (done.code, done.err) == (1, "")
    assert (folder / "flows" / "a.py").read_bytes() == OLDER
    assert cli("migrate", "--yes", "flows").code == 0
    done = cli("migrate", "--check", "flows")
    assert done.code == 0
    assert "flows/b.py:1: tenuto.tasks.aws.S3Upload is not part of Tenuto" in done.out


def test_json_is_one_object_and_writes_only_with_yes(cli: CommandLine, folder: Path) -> None:  # R-CLI-4
    shown = cli("migrate", "--json", "flows")
    assert (shown.code, shown.err) == (0, "")
    assert json.loads(shown.out) == {
        "looked_at": 3,
        "files": [
            {
                "path": "flows/a.py",
                "written": False,
                "diff": DIFF_A,
            },
            {
                "path": "flows/b.py",
                "written": False,
                "diff": DIFF_B,
            },
        ],
        "findings": [
            {
                "path": "flows/b.py",
                "line": 1,
                "what": "prefect.tasks.aws.S3Upload is not part of Tenuto",
                "instead": ADVICE["tasks.aws"],
            }
        ],
    }
    assert (folder / "flows" / "a.py").read_bytes() == OLDER
    written = json.loads(cli("migrate", "--json", "--yes", "flows").out)
    assert [file["written"] for file in written["files"]] == [True, True]
    assert (folder / "flows" / "a.py").read_bytes() == NEWER


def test_folders_of_others_and_links_are_left_alone(cli: CommandLine, folder: Path) -> None:
    for name in (".hidden", "node_modules", "env", "env/lib", "deep", "deep/er"):
        (folder / name).mkdir()
        (folder / name / "flow.py").write_bytes(OLDER)
    (folder / "env" / "pyvenv.cfg").touch()
    (folder / "deep" / "loop").symlink_to(folder)
    (folder / "deep" / "link.py").symlink_to(folder / "flows" / "a.py")
    found = json.loads(cli("migrate", "--json", ".", "flows", folder / "flows" / "a.py").out)
    assert [file["path"] for file in found["files"]] == [
        "deep/flow.py",
        "deep/er/flow.py",
        "flows/a.py",
        "flows/b.py",
    ]


def test_a_link_that_is_named_stays_one(cli: CommandLine, folder: Path) -> None:
    link = folder / "link.py"
    link.symlink_to(folder / "flows" / "a.py")
    assert cli("migrate", "--yes", link).code == 0
    assert link.is_symlink()
    assert (folder / "flows" / "a.py").read_bytes() == NEWER


def test_one_broken_file_does_not_stop_the_others(cli: CommandLine, folder: Path) -> None:  # R-CLI-45
    (folder / "flows" / "0.py").write_bytes(b"import prefect\nprint 'x'\n")
    (folder / "flows" / "1.py").write_bytes(b"# coding: nonsense\nimport prefect\n")
    done = cli("migrate", "--yes", "flows")
    assert done.code == 0
    assert "  flows/0.py:2: this Python cannot read it: " in done.out
    assert "  flows/1.py:1: the file cannot be read in the encoding that it declares" in done.out
    assert (folder / "flows" / "a.py").read_bytes() == NEWER


def test_a_file_that_cannot_be_written_is_told_and_the_others_are(
    cli: CommandLine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def refusing(source: str, target: str) -> None:
        if os.path.basename(target) == "a.py":
            raise PermissionError(13, "Permission denied")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refusing)
    done = cli("migrate", "--yes", "flows")
    assert (done.code, done.err) == (1, "flows/a.py was not written: Permission denied\n")
    assert done.out.endswith("1 file written.\n")
    assert (folder / "flows" / "a.py").read_bytes() == OLDER
    assert sorted(os.listdir(folder / "flows")) == ["a.py", "b.py", "c.py"]


def test_a_file_that_was_changed_meanwhile_is_not_overwritten(folder: Path) -> None:
    migration = files.read_migration(folder / "flows" / "a.py")
    (folder / "flows" / "a.py").write_bytes(b"x = 1\n")
    with pytest.raises(OSError, match="changed after it had been read"):
        migration.write()
    assert (folder / "flows" / "a.py").read_bytes() == b"x = 1\n"


def test_values_of_secrets_are_not_shown(cli: CommandLine, folder: Path) -> None:
    (folder / ".env").write_text("DB=postgres://sesame\nPREFECT__CLOUD__API_KEY=sesame\n")
    (folder / "d.py").write_text('import os\nos.environ["PREFECT__CONTEXT__SECRETS__X"] = "sesame"\n')
    done = cli("migrate", ".")
    assert "+TENUTO__CLOUD__API_KEY=****\n" in done.out
    assert '+os.environ["TENUTO__CONTEXT__SECRETS__X"] = ****\n' in done.out
    assert "sesame" not in done.out + done.err + cli("migrate", "--json", ".").out
    assert cli("migrate", "--yes", ".env").code == 0
    assert (folder / ".env").read_text() == "DB=postgres://sesame\nTENUTO__CLOUD__API_KEY=sesame\n"


def test_what_is_not_there_is_not_found(cli: CommandLine, folder: Path) -> None:  # R-CLI-2
    done = cli("migrate", "flows", "flws")
    assert (done.code, done.out, done.err) == (5, "", "There is no file or folder 'flws'.\n")


@pytest.mark.parametrize("arguments", [[], ["--yes", "--check", "flows"]])
def test_wrong_usage_is_told(cli: CommandLine, folder: Path, arguments: list[str]) -> None:  # R-CLI-2
    assert cli("migrate", *arguments).code == 2


def test_without_libcst_one_error_says_what_to_install(
    cli: CommandLine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # R-INV-5
    monkeypatch.delitem(sys.modules, "tenuto.compat.migration.python_source", raising=False)
    monkeypatch.setitem(sys.modules, "libcst", None)
    done = cli("migrate", "--yes", "flows")
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith("Install it with: pip install 'tenuto[migrate]'\n")
    assert done.err.count("\n") == 1
    # Files of other kinds need none.
    (folder / ".env").write_text("PREFECT__BACKEND=server\n")
    assert cli("migrate", "--yes", ".env").code == 0
