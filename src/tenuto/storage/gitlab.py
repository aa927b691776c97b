"""Flows in repositories on GitLab."""

from typing import Any

from tenuto.storage.git import GitBase, secret_text

__all__ = ["GitLab"]


class GitLab(GitBase):
    """
    Fetches flows from a repository on GitLab, by git.

    Args:
        repo: `group/repository`.
        host: of a server of one's own.
        path: of the script, in the repository; or the flow's location when None.
        ref: branch, tag or commit; the default branch when None.
        access_token_secret: name of the secret with the access token.
        **kwargs: those of `Storage`.
    """

    def __init__(
        self,
        repo: str,
        host: str | None = None,
        path: str | None = None,
        ref: str | None = None,
        access_token_secret: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.repo = repo
        self.host = host
        self.path = path
        self.ref = ref
        self.access_token_secret = access_token_secret
        super().__init__(stored_as_script=True, **kwargs)

    def _url(self) -> str:
        host = (self.host or "https://gitlab.com").rstrip("/")
        return f"{host if '://' in host else 'https://' + host}/{self.repo}.git"

    def _wanted(self) -> tuple[str | None, str]:
        if not self.path:
            raise ValueError("GitLab storage needs the script's `path` in the repository.")
        return self.ref, self.path

    def _credentials(self) -> tuple[str, str] | None:
        if self.access_token_secret is None:
            return None
        return "oauth2", secret_text(self.access_token_secret)
