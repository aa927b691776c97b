"""Flows in repositories on GitHub."""

from typing import Any

from tenuto.storage.git import GitBase, secret_text

__all__ = ["GitHub"]


class GitHub(GitBase):
    """
    Fetches flows from a repository on GitHub, by git.

    Args:
        repo: `organisation/repository`.
        base_url: of a server of one's own.
        path: of the script, in the repository; or the flow's location when None.
        ref: branch, tag or commit; the default branch when None.
        access_token_secret: name of the secret with the access token.
        **kwargs: those of `Storage`.
    """

    def __init__(
        self,
        repo: str,
        path: str,
        ref: str | None = None,
        access_token_secret: str | None = None,
        base_url: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.repo = repo
        self.path = path
        self.ref = ref
        self.access_token_secret = access_token_secret
        self.base_url = base_url
        super().__init__(stored_as_script=True, **kwargs)

    def _url(self) -> str:
        host = (self.base_url or "https://github.com").rstrip("/").removesuffix("/api/v3")
        return f"{host}/{self.repo}.git"

    def _wanted(self) -> tuple[str | None, str]:
        if not self.path:
            raise ValueError("GitHub storage needs the script's `path` in the repository.")
        return self.ref, self.path

    def _credentials(self) -> tuple[str, str] | None:
        if self.access_token_secret is None:
            return None
        return "x-access-token", secret_text(self.access_token_secret)
