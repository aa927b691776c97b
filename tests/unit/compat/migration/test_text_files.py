"""Files beside Python source: only what is certain changes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.compat.migration.findings import Finding
from tenuto.compat.migration.sources import decode_source, encode_source, is_source, migrate_source


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        (".env", "PREFECT__BACKEND=server\r\nA=1\r\n", "TENUTO__BACKEND=server\r\nA=1\r\n"),
        (".env", "# PREFECT__BACKEND=server", "# PREFECT__BACKEND=server"),
        (
            ".env.production",
            "export PREFECT__CONTEXT__SECRETS__a='x'",
            "export TENUTO__CONTEXT__SECRETS__a='x'",
        ),
        (".prefect", "PREFECT__LOGGING__LOG_TO_CLOUD=1", "TENUTO__CLOUD__SEND_FLOW_RUN_LOGS=1"),
        ("Dockerfile", "ENV PREFECT__BACKEND=server", "ENV TENUTO__BACKEND=server"),
        ("compose.yml", "  - PREFECT__BACKEND=${PREFECT__BACKEND}", "  - TENUTO__BACKEND=${TENUTO__BACKEND}"),
        ("tox.toml", 'PREFECT__BACKEND = "x"', 'TENUTO__BACKEND = "x"'),
        (".env", "MY_PREFECT__X=PREFECT_SERVER__Y", "MY_PREFECT__X=PREFECT_SERVER__Y"),
        ("run.sh", "  prefect register -p x", "  tenuto register -p x"),
        ("run.sh", "cd prefect && A=1 prefect run -p prefect", "cd prefect && A=1 tenuto run -p prefect"),
        ("run.sh", "exec python -m prefect agent local start", "exec python -m tenuto agent local start"),
        (
            "run.sh",
            "mkdir prefect; ./prefect run; echo prefect run",
            "mkdir prefect; ./prefect run; echo prefect run",
        ),
        ("run.sh", "prefect\ncd x || (prefect run)", "prefect\ncd x || (tenuto run)"),
        ("notes.md", "PREFECT__BACKEND", "PREFECT__BACKEND"),
    ],
)
def test_names_of_variables_and_commands_of_shells_are_changed(name: str, before: str, after: str) -> None:
    assert migrate_source(name, before).text == after
    assert migrate_source(name, after).text == after


@pytest.mark.parametrize(
    ("name", "line", "told"),
    [
        (".env", "PREFECT__CLOUD__AGENT__AUTH_TOKEN=x", "the setting PREFECT__CLOUD__AGENT__AUTH_TOKEN"),
        ("run.sh", "prefect agent docker start", "the command prefect agent docker is not part of Tenuto"),
        ("run.sh", "prefect server create-tenant --name x", "the command prefect server create-tenant"),
        ("Dockerfile", 'CMD ["prefect", "agent", "local", "start"]', "a command of prefect"),
        ("Makefile", "\tprefect register -p x", "a command of prefect"),
        ("Dockerfile", "FROM prefecthq/prefect:1.4.1", "an image with Prefect"),
        ("Dockerfile", "RUN pip install -q prefect pandas", "prefect is required here"),
        ("requirements.txt", "prefect==0.15.13", "prefect is required here"),
        ("requirements-dev.txt", "prefect", "prefect is required here"),
        ("environment.yml", "  - prefect[aws]>=1", "prefect is required here"),
        ("pyproject.toml", '  "prefect>=1,<2",', "prefect is required here"),
        ("pyproject.toml", 'prefect = "^1.4"', "prefect is required here"),
    ],
)
def test_what_is_not_certain_is_listed_with_its_line(name: str, line: str, told: str) -> None:
    findings = migrate_source(name, f"\n\n{line}\n").findings
    assert [found.line for found in findings] == [3]
    assert findings[0].what.startswith(told)


@pytest.mark.parametrize("line", ["prefect-x==1", "# prefect==1", "pip install prefect-aws", "  prefect:"])
def test_what_is_not_ours_is_not_listed(line: str) -> None:
    assert migrate_source("requirements.txt", line).findings == ()


def test_imports_of_notebooks_are_listed() -> None:
    cells = {"cells": [{"source": ["import os\n", "from prefect import Flow\n"]}]}
    text = json.dumps(cells, indent=1)
    migrated = migrate_source("flow.ipynb", text)
    assert migrated.text == text
    assert [text.split("\n")[found.line - 1].strip() for found in migrated.findings] == [
        r'"from prefect import Flow\n"'
    ]


@pytest.mark.parametrize("name", ["a.py", ".env", "x.env", "b.SH", "Dockerfile.dev", "setup.cfg", "n.ipynb"])
def test_known_kinds_of_files_are_looked_through(name: str) -> None:
    assert is_source(name)


@pytest.mark.parametrize("name", ["a.pyc", "prefect", "README.md", "data.csv", "py", "Dockerfile-notes.md"])
def test_other_files_are_left_alone(name: str) -> None:
    assert not is_source(name)


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b"\xef\xbb\xbfimport prefect", "utf-8-sig"),
        (b"# -*- coding: latin-1 -*-\nx = '\xe9'\r\n", "iso-8859-1"),
        ("x = 'é'\r\n".encode(), "utf-8"),
        (b"", "utf-8"),
    ],
)
def test_python_is_read_and_written_in_the_encoding_it_declares(data: bytes, encoding: str) -> None:
    decoded = decode_source("a.py", data)
    assert not isinstance(decoded, Finding)
    assert decoded[1] == encoding
    assert encode_source("a.py", *decoded) == data


@pytest.mark.parametrize(
    "data",
    [b"# coding: nonsense\n", b"'\xe9'\n", b"# coding: utf-7\nx = '+AGE-'\n", b"# coding: rot13\n"],
)
def test_python_that_cannot_be_read_is_one_finding(data: bytes) -> None:
    decoded = decode_source("a.py", data)
    assert isinstance(decoded, Finding)
    assert "encoding" in decoded.what


@given(st.binary())
def test_other_files_pass_through_whatever_they_hold(data: bytes) -> None:
    decoded = decode_source("a.sh", data)
    assert not isinstance(decoded, Finding)
    text, encoding = decoded
    assert encode_source("a.sh", migrate_source("a.sh", text).text, encoding) == data
