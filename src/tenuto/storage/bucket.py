"""Flows in buckets of object stores: what all kinds of them share."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import cloudpickle

from tenuto._base.object_store import Bucket
from tenuto.exceptions import FlowStorageError, ObjectStoreError, ResultCorrupt
from tenuto.storage.base import Storage, flow_from_pickle, flow_from_script, flow_slug

if TYPE_CHECKING:
    from tenuto.core.flow import Flow

__all__ = ["BucketStorage"]


class BucketStorage(Storage):
    """Keeps flows as objects: pickled, or as the script `local_script_path`. Subclasses open the bucket."""

    key: str | None = None
    local_script_path: str | None = None
    _overwrites = True

    def _open(self) -> Bucket:
        raise NotImplementedError("Subclasses say how their bucket is opened.")

    def _location(self, flow: Flow) -> str:
        if self.key is not None:
            return self.key
        stamp = datetime.now(UTC).strftime("%Y-%m-%dt%H-%M-%S-%f")
        return f"{flow_slug(flow.name)}/{stamp}"

    def _store(self, flow: Flow, location: str) -> None:
        if not self.stored_as_script:
            data = cloudpickle.dumps(flow)
        elif self.local_script_path is not None:
            data = Path(self.local_script_path).read_bytes()
        elif self.key is not None:
            return  # the user has put the script there
        else:
            raise ValueError(f"{self.name} storage of a script needs `key`, `local_script_path` or both.")
        self._open().put(location, data, overwrite=self._overwrites)

    def _fetch(self, flow_name: str, location: str) -> Flow:
        bucket = self._open()
        place = bucket.location(location)
        try:
            data, _ = bucket.get(location)
        except (FileNotFoundError, ObjectStoreError, ResultCorrupt) as error:
            raise FlowStorageError(f"The flow {flow_name!r} cannot be fetched. {error}") from error
        return (
            flow_from_script(data, place, flow_name)
            if self.stored_as_script
            else flow_from_pickle(data, place)
        )
