"""`flows.results_location`: kept results in a folder or bucket that several machines reach."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from tenuto import Flow, task, unmapped
from tenuto._base import object_store
from tenuto._base.context import context
from tenuto.cli import main
from tenuto.configuration import config
from tenuto.engine.state import Cached
from tenuto.executors import DaskExecutor, Executor
from tenuto.journal import bucket_place, keeper
from tenuto.journal.fold import RunView, fold
from tenuto.journal.home import Home
from tenuto.journal.reader import read_events
from tenuto.journal.retention import prune
from tenuto.journal.settings import RecordSettings
from tenuto.tasks.secrets import PrefectSecret
from tests.fakes.clusters import PLACES
from tests.fakes.killer import killing, lines
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


@pytest.mark.parametrize("cut", [True, False])
def test_damaged_results_are_refused(location: Location, caplog: pytest.LogCaptureFixture, cut: bool) -> None:
    flow, _ = failing_flow()
    run_to_failure(flow)
    [(name, data)] = location.all().items()
    location.put(name, data[:-1] if cut else data[:-1] + b"x")
    assert flow.run(resume=True).is_successful()
    assert ran() == ["load", "publish"]
    [line] = [text for text in caplog.messages if "runs again: its kept result cannot be read" in text]
    assert ("bytes instead of" if cut else "not what was written") in line


def test_missing_results_are_made_again(location: Location, caplog: pytest.LogCaptureFixture) -> None:
    flow, _ = failing_flow()
    run_to_failure(flow)
    [name] = location.all()
    location.remove(name)
    assert flow.run(resume=True).is_successful()
    assert ran() == ["load", "publish"]
    assert "runs again: its kept result cannot be read" in caplog.text


def test_runs_made_before_the_setting_and_after_it_are_continued(location: Location) -> None:
    flow, _ = failing_flow()
    setting, config.flows.results_location = config.flows.results_location, ""
    run_to_failure(flow)
    assert location.all() == {}
    config.flows.results_location = setting
    BROKEN.add("publish")
    assert flow.run(resume=True).is_failed()
    assert ran() == ["publish"]
    [name] = location.all()
    assert name.startswith(newest().header.flow_run_id)
    config.flows.results_location = ""
    BROKEN.clear()
    assert flow.run(resume=True).is_successful()
    assert ran() == ["publish"]
    ref = newest().tasks["load-1", -1].result
    assert ref is not None
    assert "/" not in ref.location


def test_cached_results_serve_other_runs(location: Location) -> None:
    # R-CACHE-2
    @task(cache_for=timedelta(hours=1))
    def cached() -> tuple[int, ...]:
        did("cached")
        return (1, 2)

    with Flow("cached") as flow:
        value = cached()
    flow.run()
    context["caches"] = {}  # As another process has it.
    state = flow.run()
    assert ran() == ["cached"]
    assert isinstance(state.result[value], Cached)
    assert state.result[value].result == (1, 2)
    assert len(location.all()) == 2


def test_secrets_are_not_kept(location: Location) -> None:
    # R-CACHE-11
    secret = "open sesame " * 1000  # Too long for an event.

    @task
    def visible(word: str) -> tuple[str, int]:
        return ("visible", len(word))

    word: Any = PrefectSecret("WORD")
    with Flow("secrets") as flow:
        visible(word)
    with context(secrets={"WORD": secret}):
        assert flow.run().is_successful()
    [data] = location.all().values()
    assert b"open sesame" not in data


def test_show_says_where_a_result_lies(location: Location, capsys: pytest.CaptureFixture[str]) -> None:
    flow, _ = failing_flow()
    run_to_failure(flow)
    ref = newest().tasks["load-1", -1].result
    assert ref is not None
    main(["show", "last", "--task", "load-1"])
    assert ref.location in re.sub(r"\s+", "", capsys.readouterr().out)


# -------------------------------------------------------------------------------- what is not there


@task
def each(number: int) -> tuple[int]:
    return (number,)


def many_results(executor: Executor | None = None) -> None:
    with Flow("many") as flow:
        results = each.map(list(range(20)))
    state = flow.run(executor=executor)
    assert state.is_successful()
    assert state.result[results].result == [(number,) for number in range(20)]


def test_missing_bucket_costs_one_line(s3_environment: str, caplog: pytest.LogCaptureFixture) -> None:
    config.flows.results_location = "s3://no-such-bucket/kept"
    many_results()
    [line] = not_kept(caplog)
    assert "there is no such bucket (flows.results_location is s3://no-such-bucket/kept)" in line


def test_refused_credentials_cost_one_line(
    s3_environment: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with broken_endpoint(answer) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        config.flows.results_location = "s3://results/kept"
        many_results()
    [line] = not_kept(caplog)
    assert "the store refuses the credentials" in line


def test_silent_store_costs_one_line_and_is_left_alone(
    s3_environment: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "TIMEOUT", timedelta(milliseconds=200))
    monkeypatch.setattr(object_store, "RETRIES_MAX", 0)
    monkeypatch.setattr(bucket_place, "_LEFT_ALONE_FACTOR", 1e9)
    with broken_endpoint(None) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        config.flows.results_location = "s3://results/kept"
        opened: list[str] = []

        def open_and_tell(url: str) -> object_store.Bucket:
            opened.append(url)
            return object_store.open_url(url)

        monkeypatch.setattr(bucket_place, "open_url", open_and_tell)
        many_results()
    assert len(not_kept(caplog)) == 1
    # Opened for the run, and anew after it had failed; for the other results it was not asked.
    assert len(opened) == 2


def test_store_that_was_away_is_used_again(
    s3_environment: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bucket_place, "_LEFT_ALONE_FACTOR", 0)
    client = boto3.client("s3", endpoint_url=s3_environment, **KEYS)

    @task
    def create_bucket(result: tuple[int]) -> None:
        client.create_bucket(Bucket="late")

    with Flow("late") as flow:
        each(1, upstream_tasks=[create_bucket(each(0))])
    config.flows.results_location = "s3://late/kept"
    assert flow.run().is_successful()
    assert len(not_kept(caplog)) == 1
    assert len(BucketLocation("s3://late/kept", client).all()) == 1
    client.close()


def test_folder_that_cannot_be_made_costs_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "in" / "the" / "way"
    config.flows.results_location = str(place)
    many_results()
    [line] = not_kept(caplog)
    assert f"the disk refused it: Not a directory (flows.results_location is {place})" in line


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("ftp://host/folder", "'ftp' is no known scheme"),
        ("memory:///", "gone with its process"),
        ("s3://me:word@bucket/x", "holds a password"),
    ],
)
def test_location_that_makes_no_sense_is_refused(setting: str, problem: str) -> None:
    config.flows.results_location = setting
    with pytest.raises(ValueError, match=f"flows.results_location cannot be used: .*{problem}"):
        many_results()


# ------------------------------------------------------------------------------------------- retention


def settings() -> RecordSettings:
    return RecordSettings.from_config(config)


def test_results_go_there_as_they_go_at_home(location: Location, tenuto_home: Path) -> None:
    location.put("0198c3c2-0000-7000-8000-000000000000/of another home", b"x")
    location.put("a file of somebody", b"x")
    strangers = set(location.all())
    many_results()
    many_results()
    assert len(location.all()) == 42
    prune(Home(tenuto_home), settings())
    # Of the newest successful run.
    mine = set(location.all()) - strangers
    assert {name.partition("/")[0] for name in mine} == {newest().header.flow_run_id}
    assert len(mine) == 20
    prune(Home(tenuto_home), settings(), now=4e9)
    assert set(location.all()) == strangers
    assert Home(tenuto_home).run_ids() == []
    assert os.listdir(tenuto_home / "runs" / ".kept") == []


def test_results_of_one_more_run_are_over_the_limit(location: Location, tenuto_home: Path) -> None:
    flow, _ = failing_flow()
    first, second = run_to_failure(flow), run_to_failure(flow)
    sizes = {name.partition("/")[0]: len(data) for name, data in location.all().items()}
    assert sizes.keys() == {first.header.flow_run_id, second.header.flow_run_id}
    config.history.results_max_gb = (sum(sizes.values()) - 1) / 2**30
    report = prune(Home(tenuto_home), settings())
    assert report.kept_removed == [first.header.flow_run_id]
    assert report.bytes_freed == sizes[first.header.flow_run_id]
    assert [name.partition("/")[0] for name in location.all()] == [second.header.flow_run_id]


def test_what_a_killed_run_has_kept_is_known_from_its_record(location: Location, tenuto_home: Path) -> None:
    flow, _ = failing_flow()
    view = run_to_failure(flow)
    mark = tenuto_home / "runs" / ".kept" / view.header.flow_run_id
    lines = mark.read_text().splitlines()
    mark.write_text(lines[0] + "\n")  # As at its beginning.
    assert lines[0].endswith(" ")
    report = prune(Home(tenuto_home), settings(), now=4e9, dry_run=True)
    assert report.bytes_freed > len(next(iter(location.all().values())))


def test_with_until_success_a_successful_run_leaves_nothing(location: Location) -> None:
    config.flows.keep_results = "until_success"
    many_results()
    assert location.all() == {}


def test_unexpired_cached_results_stay(location: Location, tenuto_home: Path) -> None:
    # R-CACHE-2
    @task(cache_for=timedelta(days=30))
    def cached() -> tuple[int]:
        return (1,)

    value: Any = cached
    with Flow("cached") as flow:
        each(value())
    flow.run()
    assert len(location.all()) == 2
    flow.run()
    prune(Home(tenuto_home), settings())
    assert len(location.all()) == 3


def test_results_that_could_not_be_removed_are_removed_later(
    location: Location, tenuto_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_results()
    with monkeypatch.context() as patched:

        def refuse(*args: Any, **kwargs: Any) -> Any:
            raise OSError("away")

        patched.setattr("tenuto.journal.retention.place_at", refuse)
        prune(Home(tenuto_home), settings(), now=4e9)
    assert Home(tenuto_home).run_ids() == []
    assert len(location.all()) == 20
    prune(Home(tenuto_home), settings())
    assert location.all() == {}
    assert os.listdir(tenuto_home / "runs" / ".kept") == []


# -------------------------------------------------------------------------------- several machines


@pytest.fixture
def other_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the workers of clusters be on another machine than the flow."""
    monkeypatch.setattr(keeper, "host_name", lambda: "flows-machine")


def own_cluster() -> DaskExecutor:
    """Return a cluster of two workers, which have the environment of now."""
    return DaskExecutor(cluster_kwargs={"n_workers": 2, "threads_per_worker": 1})


@pytest.fixture
def killer(tmp_path: Path) -> Iterator[Path]:
    """Kill -9 the process that has written line 20 of the file that is returned."""
    with killing(tmp_path / "effects", line=20) as path:
        yield path


@pytest.mark.usefixtures("other_machine")
def test_map_survives_the_death_of_a_worker(location: Location, killer: Path, tenuto_home: Path) -> None:
    @task
    def child(number: int) -> tuple[int]:
        import time

        time.sleep(0.01)
        with open(killer, "a") as file:
            file.write(f"{number} {os.getpid()}\n")
        return (number,)

    @task
    def plain(value: tuple[int]) -> int:
        return value[0]

    @task
    def total(values: list[int]) -> int:
        return sum(values)

    with Flow("mortal") as flow:
        many = child.map(list(range(60)))
        added = total(plain.map(many))
    state = flow.run(executor=own_cluster())
    assert state.is_successful()
    assert state.result[added].result == sum(range(60))
    executed = Counter(number for number, _ in lines(killer))
    assert executed.keys() == set(range(60))
    # What the dead worker was at when it died had not been kept. All that had been was taken from there.
    assert sum(executed.values()) - 60 <= 2
    # One object for each value that is no plain JSON; no notes, and nothing at home.
    assert len(location.all()) == 60
    assert not list(tenuto_home.glob("runs/*/kept/*"))
    assert [child.result for child in state.result[many].map_states] == [(n,) for n in range(60)]

    again = flow.run(resume=newest().header.name)
    assert again.is_successful()
    assert len(lines(killer)) == sum(executed.values())


@pytest.fixture(params=["dask", "ray"])
def cluster(request: pytest.FixtureRequest, clusters: None) -> Executor:
    return PLACES[request.param]()


@pytest.mark.usefixtures("other_machine")
def test_without_a_location_one_line_says_that_results_are_not_kept(
    cluster: Executor, caplog: pytest.LogCaptureFixture, tenuto_home: Path
) -> None:
    @task
    def plain(value: tuple[int]) -> int:
        return value[0]

    with Flow("away") as flow:
        plain.map(each.map(list(range(20))))
    assert flow.run(executor=cluster).is_successful()
    [line] = not_kept(caplog)
    assert "the run's folder is on flows-machine" in line
    assert "set flows.results_location" in line
    # What is in the events needs no folder.
    tasks = newest().tasks
    assert all(tasks["plain-1", index].result is not None for index in range(20))
    assert not list(tenuto_home.glob("runs/*/kept"))


@pytest.mark.usefixtures("other_machine")
def test_results_on_workers_are_kept_in_a_folder_that_they_reach(cluster: Executor, tmp_path: Path) -> None:
    place = FolderLocation(str(tmp_path / "shared"))
    config.flows.results_location = place.setting
    many_results(cluster)
    assert len(place.all()) == 20


@pytest.mark.usefixtures("other_machine")
def test_folder_that_is_not_there_on_a_worker_is_told(
    cluster: Executor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "not shared"
    config.flows.results_location = str(place)

    @task
    def hide() -> None:
        place.rename(tmp_path / "elsewhere")

    with Flow("hidden") as flow:
        each.map([1, 2, 3, 4], upstream_tasks=[unmapped(hide())])
    assert flow.run(executor=cluster).is_successful()
    [line] = not_kept(caplog)
    assert f"(flows.results_location is {place}, on {os.uname().nodename})" in line
    assert not place.exists()


def test_full_disk_is_told_once_for_all_processes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    config.flows.results_location = str(tmp_path / "file" / "kept")
    many_results(PLACES["processes"]())
    assert len(not_kept(caplog)) == 1


def test_with_until_success_processes_leave_nothing(tenuto_home: Path) -> None:
    config.flows.keep_results = "until_success"
    many_results(PLACES["processes"]())
    assert not list(tenuto_home.glob("runs/*/kept/*"))
