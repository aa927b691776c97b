"""Flows in scripts of git repositories, fetched by git itself."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tenuto._base.context import context
from tenuto._base.masking import mask, register_secret
from tenuto.exceptions import FlowStorageError
from tenuto.storage.base import Storage, flow_from_script

if TYPE_CHECKING:
    from tenuto.core.flow import Flow

__all__ = ["Git", "GitBase"]

_REF = re.compile(r"[0-9A-Za-z_][0-9A-Za-z._/-]*")
_GIT_SECONDS_MAX = 600
# What git and ssh need; a run's other variables, with its secrets, are none of their business.
_ENVIRONMENT = (
    "PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "GIT_SSL_CAINFO",
    "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SYSTEMROOT",
)  # fmt: skip
# Run by git's own shell. It holds names of variables, not their values, so that arguments show no token.
_HELPER = (
    '!f() { test "$1" = get && '
    'printf "username=%s\\npassword=%s\\n" "$TENUTO_GIT_USER" "$TENUTO_GIT_TOKEN"; }; f'
)


class GitBase(Storage):
    """What storages in git repositories share: subclasses say the URL, the ref, the file and the token."""

    def _url(self) -> str:
        raise NotImplementedError("Subclasses say where their repository is.")

    def _wanted(self) -> tuple[str | None, str]:
        """Return the ref to fetch, None for the default branch, and the flow's file in the repository."""
        raise NotImplementedError("Subclasses say what they want from their repository.")

    def _credentials(self) -> tuple[str, str] | None:
        return None

    def _depth(self) -> int | None:
        return 1

    def _location(self, flow: Flow) -> str:
        return self._wanted()[1]

    def _store(self, flow: Flow, location: str) -> None:
        pass  # the user pushes it

    def _fetch(self, flow_name: str, location: str) -> Flow:
        ref, _ = self._wanted()
        url, credentials = self._url(), self._credentials()
        with tempfile.TemporaryDirectory(prefix="tenuto-git-") as folder:
            fetch_repository(url, ref, folder, credentials, self._depth())
            path = Path(folder, location).resolve()
            if not path.is_relative_to(Path(folder).resolve()):
                raise FlowStorageError(f"The path {location!r} leads out of the repository.")
            if not path.is_file():
                raise FlowStorageError(
                    f"There is no file {location!r} in the repository at {ref or 'its head'}."
                )
            return flow_from_script(path.read_bytes(), location, self._name_in_script(flow_name))

    def _name_in_script(self, flow_name: str) -> str | None:
        return flow_name


def fetch_repository(
    url: str, ref: str | None, folder: str, credentials: tuple[str, str] | None, depth: int | None
) -> None:
    """
    Put the files of a repository at a ref into an empty folder.

    Args:
        url: of the repository, without credentials.
        ref: branch, tag or commit; the default branch when None.
        folder: empty.
        credentials: user and token. They reach git by its environment: no argument, file or log shows them.
        depth: how many commits; None: all.

    Raises:
        FlowStorageError: if a name is none, or git fails; with what git says.
    """
    if url.startswith("-") or "::" in url:
        raise FlowStorageError(f"{mask(url)!r} is no URL of a git repository.")
    if ref is not None and not _REF.fullmatch(ref):
        raise FlowStorageError(f"{ref!r} is no name of a branch, tag or commit.")
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "", "GIT_CONFIG_NOSYSTEM": "1"}
    environment["GIT_SSH_COMMAND"] = "ssh -oBatchMode=yes"
    options = ["-c", "credential.helper=", "-c", "core.hooksPath=/dev/null", "-c", "core.symlinks=false"]
    if credentials is not None:
        environment["TENUTO_GIT_USER"], environment["TENUTO_GIT_TOKEN"] = credentials
        # Of this host alone: a redirect to another one must not get the token.
        host = urlsplit(url)._replace(path="", query="", fragment="").geturl()
        options += ["-c", f"credential.{host}.helper={_HELPER}"]
    shallow = [] if depth is None else [f"--depth={int(depth)}"]
    for command in (
        ["init", "--quiet"],
        ["fetch", "--quiet", "--no-tags", *shallow, "--", url, ref or "HEAD"],
        ["checkout", "--quiet", "--detach", "FETCH_HEAD"],
    ):
        _git([*options, *command], folder, environment)


def _git(arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_GIT_SECONDS_MAX,
            check=False,
        )
    except FileNotFoundError as error:
        raise FlowStorageError("Git storage needs the program git. Install it.") from error
    except subprocess.TimeoutExpired:
        # Without the exception's own text, which holds the arguments.
        raise FlowStorageError(f"git did not answer within {_GIT_SECONDS_MAX} s.") from None
    if done.returncode != 0:
        raise FlowStorageError(
            f"The flow's repository cannot be fetched; git says: {mask(done.stderr.strip())}"
        )


def secret_text(name: str) -> str:
    """
    Return a secret that is a text, hidden in logs from now on.

    Raises:
        FlowStorageError: if there is none.
    """
    value = (context.get("secrets") or {}).get(name)
    if value is None:
        raise FlowStorageError(
            f"The secret {name!r} was not found. Set TENUTO__CONTEXT__SECRETS__{name} where the flow runs."
        )
    register_secret(value)
    return str(value)


class Git(GitBase):
    """
    Fetches flows from a git repository.

    Args:
        flow_path: of the script, in the repository.
        repo: `organisation/repository`.
        repo_host: host's name.
        flow_name: of the flow in the script, when not the flow's own.
        git_token_secret_name: name of the secret with the access token.
        git_token_username: user that goes with the token.
        git_clone_url_secret_name: name of the secret with the whole URL, instead of `repo`.
        branch_name: one of these three at most; the default branch without.
        tag: a tag.
        commit: a full commit hash.
        clone_depth: how many commits are fetched; None: all.
        use_ssh: by ssh, with the machine's keys.
        format_access_token: kept as data; tokens are never part of a URL here.
        **kwargs: those of `Storage`.

    Raises:
        ValueError: for neither or both of `repo` and `git_clone_url_secret_name`, or several refs.
    """

    def __init__(
        self,
        flow_path: str,
        repo: str | None = None,
        repo_host: str = "github.com",
        flow_name: str | None = None,
        git_token_secret_name: str | None = None,
        git_token_username: str | None = None,
        git_clone_url_secret_name: str | None = None,
        branch_name: str | None = None,
        tag: str | None = None,
        commit: str | None = None,
        clone_depth: int | None = 1,
        use_ssh: bool = False,
        format_access_token: bool = True,
        **kwargs: Any,
    ) -> None:
        if (repo is None) == (git_clone_url_secret_name is None):
            raise ValueError("Git storage takes either `repo` or `git_clone_url_secret_name`.")
        if sum(ref is not None for ref in (branch_name, tag, commit)) > 1:
            raise ValueError("Git storage takes one of `branch_name`, `tag` and `commit`, not several.")
        self.flow_path = flow_path
        self.repo = repo
        self.repo_host = repo_host
        self.flow_name = flow_name
        self.git_token_secret_name = git_token_secret_name
        self.git_token_username = git_token_username
        self.git_clone_url_secret_name = git_clone_url_secret_name
        self.branch_name = branch_name
        self.tag = tag
        self.commit = commit
        self.clone_depth = clone_depth
        self.use_ssh = use_ssh
        self.format_access_token = format_access_token
        super().__init__(stored_as_script=True, **kwargs)

    def _url(self) -> str:
        if self.git_clone_url_secret_name is not None:
            return _without_credentials(secret_text(self.git_clone_url_secret_name))
        if self.use_ssh:
            return f"git@{self.repo_host}:{self.repo}.git"
        return f"https://{self.repo_host}/{self.repo}.git"

    def _wanted(self) -> tuple[str | None, str]:
        tag = None if self.tag is None else f"refs/tags/{self.tag}"
        return self.branch_name or tag or self.commit, self.flow_path

    def _credentials(self) -> tuple[str, str] | None:
        if self.git_token_secret_name is not None and not self.use_ssh:
            return self.git_token_username or "oauth2", secret_text(self.git_token_secret_name)
        if self.git_clone_url_secret_name is not None:
            parts = urlsplit(secret_text(self.git_clone_url_secret_name))
            if parts.scheme in ("http", "https") and (parts.username or parts.password):
                register_secret(parts.password or parts.username)
                return parts.username or "", parts.password or ""
        return None

    def _depth(self) -> int | None:
        return self.clone_depth

    def _name_in_script(self, flow_name: str) -> str | None:
        return self.flow_name or flow_name


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        return url
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
