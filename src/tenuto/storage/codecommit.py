"""CodeCommit storage, as data."""

from typing import Any

from tenuto.storage.base import Storage

__all__ = ["CodeCommit"]


class CodeCommit(Storage):
    """Flows in repositories of AWS CodeCommit. Kept as data: no flows are built or fetched with it."""

    def __init__(
        self,
        repo: str,
        path: str | None = None,
        commit: str | None = None,
        client_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.repo = repo
        self.path = path
        self.commit = commit
        self.client_options = client_options
        super().__init__(**kwargs)
