"""Results in buckets of object stores: what all kinds of them share."""

from __future__ import annotations

import logging
from abc import abstractmethod
from typing import Any, Self

from tenuto._base.logging import get_logger
from tenuto._base.object_store import Bucket
from tenuto._base.templates import fill
from tenuto.engine.result.base import Result

__all__ = ["BucketResult"]


class BucketResult(Result):
    """
    Keeps values as objects; the location is the object's key. Subclasses say how the bucket is opened.

    An object holds the serializer's bytes and nothing else, and appears complete or not at all. Its metadata
    say their length and SHA-256, which are checked when it is read; objects of other origin need none.
    """

    _opened: Bucket | None = None

    @abstractmethod
    def _open(self) -> Bucket:
        """Return the bucket."""

    def exists(self, location: str, **kwargs: Any) -> bool:
        """
        Say whether there is an object at the location (a template, when `kwargs` are given).

        Raises:
            ObjectStoreError: if the store cannot be asked.
        """
        return self._bucket.exists(fill(location, kwargs, as_path=True) if kwargs else location)

    def read(self, location: str) -> Self:
        """
        Return a copy with the value of the object at the location; None for one that ends too early.

        Raises:
            FileNotFoundError: if there is no object.
            ResultCorrupt: if the object is not what was written.
            ObjectStoreError: if the store cannot be asked.
        """
        new = self.copy()
        new.location = location
        try:
            data, new._written = self._bucket.get(location)
            new.value = self.serializer.deserialize(data)
        except EOFError:
            new.value = None
        except Exception as error:
            self.logger.error("Unexpected error while reading from result handler: %r", error)
            raise
        return new

    def write(self, /, value_: Any, **kwargs: Any) -> Self:
        """
        Store a value as an object, replacing one of that name; return a copy with it and its key.

        Raises:
            ObjectStoreError: if it cannot be stored; what was there is unchanged.
        """
        new = self.format(**kwargs)
        new._written = self._bucket.put(new.location or "", self.serializer.serialize(value_))
        new.value = value_
        return new

    @property
    def logger(self) -> logging.Logger:
        """The logger of results of this class."""
        return get_logger(type(self).__name__)

    @property
    def _bucket(self) -> Bucket:
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def __getstate__(self) -> tuple[dict[str, Any], dict[str, Any]]:
        attributes = {name: value for name, value in self.__dict__.items() if name != "_opened"}
        slots = {name: getattr(self, name) for name in ("location", "serializer", "value")}
        return attributes, slots
