"""Git storage against git's own HTTP server, on loopback and behind a password."""

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import tenuto
from tenuto import Flow
from tenuto.exceptions import FlowStorageError
from tenuto.storage import Git, GitHub, GitLab
from tenuto.storage import git as git_module

TOKEN = "token-7d1f-very-secret"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "served" / "org" / "repo.git"
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet")
    for name in ("one", "two"):
        (folder / "flow.py").write_text(f"from tenuto import Flow\nflow = Flow({name!r})\n")
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "-m", name)
        git(folder, "tag", name)
    git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    return folder


@pytest.fixture
def server(repository: Path) -> Iterator[str]:
    """Serve the repository to those who know the token; the server's URL."""
    root = repository.parent.parent

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = self.headers.get("Authorization", "").removeprefix("Basic ")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if not base64.b64decode(given).endswith(f":{TOKEN}".encode()):
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="test"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            path, _, query = self.path.partition("?")
            environment = {
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            }
            answer = subprocess.run(
                ["git", "http-backend"], input=body, env=environment, capture_output=True, check=True
            ).stdout
            head, _, content = answer.partition(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
            self.send_response(int(fields.pop("Status", "200").split()[0]))
            for name, value in fields.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}"
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


@pytest.mark.parametrize(("ref", "name"), [(None, "two"), ("main", "two"), ("one", "one")])
def test_flows_are_fetched_with_a_token(server: str, ref: str | None, name: str) -> None:
    with tenuto.context(secrets={"T": TOKEN}):
        for storage in (
            GitHub("org/repo", "flow.py", ref=ref, access_token_secret="T", base_url=server),
            GitLab("org/repo", host=server, path="flow.py", ref=ref, access_token_secret="T"),
        ):
            storage.add_flow(Flow(name))
            assert storage.build().get_flow(name).name == name


def test_a_commit_and_a_url_that_is_a_secret(server: str, repository: Path) -> None:
    commit = git(repository, "rev-parse", "one")
    url = server.replace("://", f"://user:{TOKEN}@") + "/org/repo.git"
    with tenuto.context(secrets={"URL": url}):
        storage = Git("flow.py", git_clone_url_secret_name="URL", commit=commit)
        storage.add_flow(Flow("one"))
        assert storage.get_flow("one").name == "one"


# S-19: tokens never on command lines, in URLs or in files
def test_no_argument_and_no_file_shows_the_token(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    run = git_module._git

    def watched(arguments: list[str], folder: str, environment: dict[str, str]) -> None:
        run(arguments, folder, environment)
        seen.extend(arguments)
        seen.extend(
            path.read_bytes().decode(errors="replace") for path in Path(folder).rglob("*") if path.is_file()
        )

    monkeypatch.setattr(git_module, "_git", watched)
    with tenuto.context(secrets={"T": TOKEN}):
        storage = GitHub("org/repo", "flow.py", access_token_secret="T", base_url=server)
        storage.add_flow(Flow("two"))
        storage.get_flow("two")
    assert any("Flow('two')" in text for text in seen)
    assert not any(TOKEN in text for text in seen)


def test_a_wrong_token_is_one_clear_error_without_it(server: str) -> None:
    with tenuto.context(secrets={"T": "wrong-token-123"}):
        storage = GitHub("org/repo", "flow.py", access_token_secret="T", base_url=server)
        storage.add_flow(Flow("two"))
        with pytest.raises(FlowStorageError, match="cannot be fetched; git says") as raised:
            storage.get_flow("two")
    assert "wrong-token-123" not in str(raised.value)
    storage.access_token_secret = "MISSING"
    with pytest.raises(FlowStorageError, match="secret 'MISSING' was not found"):
        storage.get_flow("two")


# S-20
@pytest.mark.parametrize("ref", ["--upload-pack=touch x", "-x", "a b", "a;b", "a:b", ""])
def test_refs_that_are_options_are_refused(ref: str, tmp_path: Path) -> None:
    with pytest.raises(FlowStorageError, match="is no name of a branch"):
        git_module.fetch_repository("https://example.org/x", ref, str(tmp_path), None, 1)


@pytest.mark.parametrize("url", ["--upload-pack=x", "ext::sh -c x"])
def test_urls_that_are_commands_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(FlowStorageError, match="is no URL"):
        git_module.fetch_repository(url, None, str(tmp_path), None, 1)


def test_a_path_out_of_the_repository_is_refused(server: str) -> None:
    with tenuto.context(secrets={"T": TOKEN}):
        storage = GitHub("org/repo", "../../etc/passwd", access_token_secret="T", base_url=server)
        storage.add_flow(Flow("two"))
        with pytest.raises(FlowStorageError, match="leads out"):
            storage.get_flow("two")
