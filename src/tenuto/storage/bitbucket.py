"""Flows in repositories on Bitbucket."""

from typing import Any

from tenuto.storage.git import GitBase, secret_text

__all__ = ["Bitbucket"]


class Bitbucket(GitBase):
    """
    Fetches flows from a repository on Bitbucket, by git.

    Args:
        project: its key, on a server of one's own.
        repo: name of the repository.
        workspace: in Bitbucket's cloud.
        host: of a server of one's own.
        cloud_username_secret: name of the secret with the user, in the cloud.
        cloud_app_password_secret: name of the secret with that user's app password.
        path: of the script, in the repository; or the flow's location when None.
        ref: branch, tag or commit; the default branch when None.
        access_token_secret: name of the secret with the access token.
        **kwargs: those of `Storage`.
    """

    def __init__(
        self,
        project: str,
        repo: str,
        workspace: str | None = None,
        host: str | None = None,
        path: str | None = None,
        ref: str | None = None,
        access_token_secret: str | None = None,
        cloud_username_secret: str | None = None,
        cloud_app_password_secret: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.project = project
        self.repo = repo
        self.workspace = workspace
        self.host = host
        self.path = path
        self.ref = ref
        self.access_token_secret = access_token_secret
        self.cloud_username_secret = cloud_username_secret
        self.cloud_app_password_secret = cloud_app_password_secret
        super().__init__(stored_as_script=True, **kwargs)

    def _url(self) -> str:
        host = (self.host or "https://bitbucket.org").rstrip("/")
        host = host if "://" in host else f"https://{host}"
        if self.workspace is not None:
            return f"{host}/{self.workspace}/{self.repo}.git"
        return f"{host}/scm/{self.project}/{self.repo}.git"

    def _wanted(self) -> tuple[str | None, str]:
        if not self.path:
            raise ValueError("Bitbucket storage needs the script's `path` in the repository.")
        return self.ref, self.path

    def _credentials(self) -> tuple[str, str] | None:
        if self.cloud_username_secret is not None and self.cloud_app_password_secret is not None:
            return secret_text(self.cloud_username_secret), secret_text(self.cloud_app_password_secret)
        if self.access_token_secret is None:
            return None
        return "x-token-auth", secret_text(self.access_token_secret)
