"""Flows in files of this machine."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import cloudpickle

from tenuto._base.files import write_atomic
from tenuto.configuration import home_path
from tenuto.engine.results.local_result import LocalResult
from tenuto.exceptions import FlowStorageError
from tenuto.storage.base import Storage, flow_from_pickle, flow_from_script, flow_slug

if TYPE_CHECKING:
    from tenuto.core.flow import Flow

__all__ = ["Local"]


class Local(Storage):
    """
    Keeps flows as pickles below a folder, or as the script at `path`.

    Args:
        directory: of the pickles; `HOME_DIR/flows` when None.
        validate: whether to make `directory` absolute.
        path: of the one flow's script (with `stored_as_script`) or pickle.
        stored_as_script: the flow is in the script at `path`, which is run whenever it is fetched.
        **kwargs: those of `Storage`. This machine's name is added to the labels unless
            `add_default_labels=False`.
    """

    _default_labels: ClassVar[bool] = True

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        validate: bool = True,
        path: str | os.PathLike[str] | None = None,
        stored_as_script: bool = False,
        **kwargs: Any,
    ) -> None:
        folder = os.fspath(home_path() / "flows" if directory is None else directory)
        if validate:
            folder = os.path.abspath(os.path.expanduser(folder))
        self.directory = folder
        self.path = None if path is None else os.path.abspath(os.path.expanduser(path))
        kwargs.setdefault("result", LocalResult(folder if directory is not None else None))
        super().__init__(stored_as_script=stored_as_script, **kwargs)

    @property
    def default_labels(self) -> list[str]:
        """This machine's name."""
        return [socket.gethostname()]

    def _location(self, flow: Flow) -> str:
        if self.path is not None:
            return self.path
        if self.stored_as_script:
            raise ValueError(
                "Local storage of a script needs its path: Local(path=..., stored_as_script=True)."
            )
        stamp = datetime.now(UTC).strftime("%Y-%m-%dt%H-%M-%S-%f")
        return os.path.join(self.directory, flow_slug(flow.name), stamp)

    def _store(self, flow: Flow, location: str) -> None:
        if self.stored_as_script:
            if not os.path.isfile(location):
                raise FlowStorageError(f"There is no script {location!r}.")
            return
        in_home = location.startswith(os.path.join(home_path(), ""))
        write_atomic(location, [cloudpickle.dumps(flow)], private=in_home, fsync=True)

    def _fetch(self, flow_name: str, location: str) -> Flow:
        try:
            data = Path(location).read_bytes()
        except OSError as error:
            raise FlowStorageError(
                f"The flow {flow_name!r} cannot be read from {location!r}: {error.strerror}."
            ) from error
        if self.stored_as_script:
            return flow_from_script(data, location, flow_name)
        return flow_from_pickle(data, location)
