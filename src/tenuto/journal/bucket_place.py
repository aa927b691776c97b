"""Kept results in a bucket of an object store."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from tenuto._base.object_store import Bucket, open_url
from tenuto.exceptions import ObjectStoreError, ResultCorrupt
from tenuto.journal.kept import MemorySink, Sink, segments_of

if TYPE_CHECKING:
    from tenuto._base.checksums import Checksum
    from tenuto.journal.places import Place

__all__ = ["BucketPlace"]

# A store that fails is asked again after so many times as long as it took to fail: one that lets each caller
# wait for its time-out costs a run a tenth of its time, and one that is away for a moment is used again.
_LEFT_ALONE_FACTOR = 10

T = TypeVar("T")


class BucketPlace:
    """Objects of a bucket, below a prefix; its methods are those of `Place`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._location, _, self._prefix = url.rpartition("/")

    def _ask(self, act: Callable[[Bucket], T]) -> T:
        return _store_at(self._location).ask(act)

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}"

    def location_of(self, name: str) -> str:
        return f"{self.url}/{name}"

    def prepare(self, *, make: bool) -> None:
        pass

    def free_percent(self) -> float:
        return 100.0

    def sink(self, name: str, cap: int, *, durable: bool) -> Sink:
        return MemorySink(cap, lambda data: self._ask(lambda bucket: bucket.put(self._key(name), data)))

    def segments(self, name: str, written: Checksum) -> list[bytearray]:
        data = self.read(name)
        return segments_of(io.BytesIO(data), len(data), written)

    def write(self, name: str, data: bytes) -> None:
        self._ask(lambda bucket: bucket.put(self._key(name), data))

    def read(self, name: str) -> bytes:
        return self._ask(lambda bucket: bucket.get(self._key(name)))[0]

    def take(self, name: str, source: Place, source_name: str, length: int) -> None:
        if isinstance(source, BucketPlace) and source._location == self._location:
            self._ask(lambda bucket: bucket.copy(source._key(source_name), self._key(name)))
        else:
            self.write(name, source.read(source_name))

    def names(self) -> list[str]:
        keys = self._ask(lambda bucket: bucket.keys(f"{self._prefix}/"))
        return [key.rpartition("/")[2] for key in keys]

    def remove(self, names: Collection[str]) -> None:
        self._ask(lambda bucket: bucket.delete([self._key(name) for name in names]))

    def clear(self, but: Collection[str]) -> bool:
        names = self.names()
        self.remove([name for name in names if name not in but])
        return not set(names).intersection(but)


class _Store:
    """A bucket, which is opened anew, with the credentials of then, after it has failed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._bucket = open_url(url)
        self._left_alone_until = 0.0
        self._problem = ""

    def ask(self, act: Callable[[Bucket], T]) -> T:
        """
        Do something with the bucket.

        Raises:
            FileNotFoundError, ResultCorrupt: as the bucket does.
            ObjectStoreError: for all else, also shortly after the bucket has failed.
        """
        began = monotonic()
        if began < self._left_alone_until:
            raise ObjectStoreError(self._url, self._problem)
        try:
            return act(self._bucket)
        except (FileNotFoundError, ResultCorrupt):
            raise
        except ObjectStoreError as error:
            now = monotonic()
            self._problem = error.problem
            self._left_alone_until = now + _LEFT_ALONE_FACTOR * (now - began)
            self._bucket = open_url(self._url)
            raise
        except (ImportError, ValueError) as error:  # A library or an option is missing, or a secret is wrong.
            raise ObjectStoreError(self._url, str(error).rstrip(".")) from error


_stores: dict[str, _Store] = {}


def _store_at(url: str) -> _Store:
    return _stores.get(url) or _stores.setdefault(url, _Store(url))
