"""`flows.results_location`: kept results in a folder or bucket that several machines reach."""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import boto3
import pytest

from tenuto import Flow, Task, task
from tenuto._base import object_store
from tenuto.configuration import config
from tenuto.engine.state import Cached
from tenuto.exceptions import PrefectException
from tenuto.executors import DaskExecutor, Executor
from tenuto.journal import bucket_place, keeper
from tenuto.journal.fold import RunView, fold
from tenuto.journal.home import Home
from tenuto.journal.reader import read_events
from tenuto.journal.retention import prune
from tenuto.journal.settings import RecordSettings
from tenuto.tasks.secrets import PrefectSecret
from tests.fakes.clusters import PLACES
from tests.fakes.object_stores import KEYS, broken_endpoint

RAN: list[str] = []
BROKEN: set[str] = set()


class Location:
    """A place for results, seen from outside: what lies there, by its path below the place."""

    def __init__(self, setting: str) -> None:
        self.setting = setting

    def all(self) -> dict[str, bytes]:
        raise NotImplementedError

    def put(self, name: str, data: bytes) -> None:
        raise NotImplementedError

    def remove(self, name: str) -> None:
        raise NotImplementedError


class FolderLocation(Location):
    def all(self) -> dict[str, bytes]:
        root = Path(self.setting)
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    def put(self, name: str, data: bytes) -> None:
        path = Path(self.setting, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def remove(self, name: str) -> None:
        Path(self.setting, name).unlink()


class BucketLocation(Location):
    def __init__(self, setting: str, client: Any) -> None:
        super().__init__(setting)
        self._client = client
        _, _, self._bucket, self._prefix = setting.split("/", 3)

    def all(self) -> dict[str, bytes]:
        found = self._client.list_objects_v2(Bucket=self._bucket, Prefix=f"{self._prefix}/")
        keys = [item["Key"] for item in found.get("Contents", ())]
        return {
            key.removeprefix(f"{self._prefix}/"): self._client.get_object(Bucket=self._bucket, Key=key)[
                "Body"
            ].read()
            for key in keys
        }

    def put(self, name: str, data: bytes) -> None:
        key = f"{self._prefix}/{name}"
        self._client.put_object(Bucket=self._bucket, Key=key, Body=data)

    def remove(self, name: str) -> None:
        self._client.delete_object(Bucket=self._bucket, Key=f"{self._prefix}/{name}")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    yield
    RAN.clear()
    BROKEN.clear()
    bucket_place._stores.clear()


@pytest.fixture(params=["folder", "s3"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Location]:
    """Have results kept at a new place."""
    if request.param == "folder":
        place: Location = FolderLocation(str(tmp_path / "shared results"))
        config.flows.results_location = place.setting
        yield place
        return
    url = request.getfixturevalue("s3_environment")
    client = boto3.client("s3", endpoint_url=url, **KEYS)
    place = BucketLocation(f"s3://results/{tmp_path.name}", client)
    config.flows.results_location = place.setting
    yield place
    client.close()


def ran() -> list[str]:
    names = RAN.copy()
    RAN.clear()
    return names


def did(name: str) -> None:
    RAN.append(name)
    if name in BROKEN:
        raise OSError(f"{name} is broken")


@task
def load() -> tuple[int, ...]:
    did("load")
    return (1, 2, 3)  # No plain JSON: it does not go into the event.


@task
def publish(values: tuple[int, ...]) -> int:
    did("publish")
    return sum(values)


def failing_flow() -> tuple[Flow, Any]:
    with Flow("publish") as flow:
        published = publish(load())
    return flow, published


def run_to_failure(flow: Flow) -> RunView:
    BROKEN.add("publish")
    assert flow.run().is_failed()
    BROKEN.clear()
    ran()
    return newest()


def newest() -> RunView:
    folder = next(Home(config.home_dir).run_folders())
    return fold(read_events(folder / "1.journal"))


def not_kept(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if "is not kept" in record.getMessage() and record.levelno >= logging.WARNING
    ]


# ---------------------------------------------------------------------------------------------- resume


def test_failed_run_is_continued_from_what_lies_there(location: Location, tenuto_home: Path) -> None:
    flow, published = failing_flow()
    first = run_to_failure(flow)
    ref = first.tasks["load-1", -1].result
    assert ref is not None
    run_id = first.header.flow_run_id
    assert list(location.all()) == [f"{run_id}/{ref.location.rpartition('/')[2]}"]
    assert ref.location.startswith(("file:///", location.setting))
    assert not (tenuto_home / "runs" / run_id / "kept").exists()

    state = flow.run(resume=True)
    assert ran() == ["publish"]
    assert state.result[published].result == 6
    # The new run has its own: what becomes of the old one's does not matter to it.
    [kept] = [name for name in location.all() if name.startswith(run_id)]
    location.remove(kept)
    second = newest()
    assert flow.run(resume=second.header.name).is_successful()
    assert ran() == []
