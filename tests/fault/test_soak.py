"""A server that goes on while everything around it fails: it breaks no promise, and does not grow."""

from __future__ import annotations

import json
import math
import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest
import urllib3
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from tenuto.client.configured import ServerAddress
from tests.contracts.server_stores import migrated_template
from tests.fakes.postgres import PostgresServer, postgres_server
from tests.fault.harness.figures import figure
from tests.fault.harness.intruders import foreign_readers, hold
from tests.fault.harness.proxy import TcpProxy
from tests.fault.harness.sampler import Sampler
from tests.fault.harness.seeds import seeded, seeds_of
from tests.fault.harness.servers import FaultServer
from tests.fault.harness.stand_ins import Fleet, Person, register_flow
from tests.fault.harness.trial import verdict

WORKERS = 4
SCHEDULED = 5
GUESTS = 6  # at once
PAUSES = 2.0, 10.0  # between two faults
MINUTE = 60.0
SETTLED = 3 * MINUTE
JUDGED_FROM = 6 * MINUTE
GROWTH_MB_MAX = 1.0
MB = 1 << 20


@pytest.mark.soak
@pytest.mark.parametrize("seed", seeds_of("soak"))
def test_sqlite_server_amid_faults_breaks_no_promise_and_does_not_grow(
    tmp_path: Path, seed: int, soak_seconds: float
) -> None:
    with FaultServer(tmp_path / "home") as server:
        soak(server, seed, soak_seconds, lambda choose: _file_faults(server.settings.sqlite_path, choose))


@pytest.mark.soak
@pytest.mark.parametrize("seed", seeds_of("soak"))
def test_postgresql_server_amid_faults_breaks_no_promise_and_does_not_grow(
    tmp_path: Path, seed: int, soak_seconds: float
) -> None:
    with postgres_server() as postgres, postgres.database(template=migrated_template(postgres)) as url:
        with FaultServer(tmp_path / "home", url) as server:
            soak(server, seed, soak_seconds, lambda choose: _database_faults(postgres, url, choose))


Fault = Callable[[], object]


def soak(
    server: FaultServer, seed: int, seconds: float, faults_of: Callable[[random.Random], dict[str, Fault]]
) -> None:
    """Have workers report through a bad network while faults happen; judge what came of it."""
    server.start()
    flow_id = register_flow(server.address, "reported")
    with (
        seeded("soak", seed) as choose,
        TcpProxy(int(server.address.url.rpartition(":")[2])) as proxy,
        _Surroundings.of(server, proxy, choose) as around,
        Fleet(around.address, WORKERS, seed=seed, flow_id=flow_id) as fleet,
    ):
        faults = {**around.faults(), **faults_of(choose)}
        # Each once at first: what the server takes for a kind of fault it may keep, but only once.
        coming = choose.sample(sorted(faults), len(faults))
        done: Counter[str] = Counter()
        wal = [0.0]
        with Sampler(server.pid) as sampler:
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0:
                time.sleep(min(left, choose.uniform(*PAUSES)))
                name = coming.pop() if coming else choose.choice(sorted(faults))
                faults[name]()
                done[name] += 1
                fleet.check()
                around.check()
                wal.append(_wal_mb(server))
        around.calm()
        fleet.finish()
    told = verdict(server, fleet)
    grown = _growth(sampler)
    print("By minute, MB and descriptors:", *_by_minute(sampler))
    figure(
        "soak",
        seconds=round(seconds),
        events=told["acked"],
        faults=done.total(),
        kinds=len(done),
        guests=around.guests,
        rss_growth_mb_after_3_min=grown["rss"],
        fds_growth=grown["fds"],
        rss_mb=sampler.rss_mb[-1],
        wal_max_mb=max(wal),
        **{name: told[name] for name in told if name != "acked"},
    )
    assert server.is_running, server.errors
    assert max(wal) <= 128
    if seconds >= JUDGED_FROM:
        assert grown["rss"] < GROWTH_MB_MAX
        assert grown["fds"] <= 0


def _growth(sampler: Sampler) -> dict[str, float]:
    """Return by how much more a server took in its last minute than in that after the first three."""
    begin, end = sampler.times[0] + SETTLED, sampler.times[-1] - MINUTE
    found = {}
    for name, values in (("rss", sampler.rss_mb), ("fds", sampler.descriptors)):
        early = _between(sampler.times, values, begin, begin + MINUTE)
        late = _between(sampler.times, values, end, math.inf)
        found[name] = statistics.median(late) - statistics.median(early or late)
    return found


def _by_minute(sampler: Sampler) -> Iterator[str]:
    begin = sampler.times[0]
    while rss := _between(sampler.times, sampler.rss_mb, begin, begin + MINUTE):
        descriptors = _between(sampler.times, sampler.descriptors, begin, begin + MINUTE)
        yield f"{statistics.median(rss):.2f} {statistics.median(descriptors):.0f};"
        begin += MINUTE


def _between(times: Sequence[float], values: Sequence[float], begin: float, end: float) -> list[float]:
    return [value for at, value in zip(times, values, strict=True) if begin <= at < end]


def _wal_mb(server: FaultServer) -> float:
    if server.settings.is_postgresql:
        return 0.0
    path = server.settings.sqlite_path
    return path.with_name(path.name + "-wal").stat().st_size / MB


# --------------------------------------------------------------------------------------- faults of the stores


def _file_faults(path: Path, choose: random.Random) -> dict[str, Fault]:
    def read_for_long() -> None:
        with foreign_readers(path, choose.randint(1, 4), seconds_max=5.0):
            time.sleep(choose.uniform(1, 5))

    return {"lock": lambda: hold(path, choose.uniform(0.1, 6.0)), "read": read_for_long}


def _database_faults(postgres: PostgresServer, url: str, choose: random.Random) -> dict[str, Fault]:
    def restart() -> None:
        postgres.stop(immediate=choose.random() < 0.5)
        time.sleep(choose.uniform(0, 2))
        postgres.start()

    name = url.rpartition("/")[2]
    return {
        "throw_out": lambda: postgres.terminate_backends(name, limit=choose.randint(1, 5)),
        "restart": restart,
    }


# -------------------------------------------------------------------------- network, people, those who follow


@dataclass
class _Surroundings:
    """
    What is around a server: a network, people who change their minds, and guests that follow for a while.

    Attributes:
        address: of the server, by way of the network.
        guests: how many followed.
    """

    address: ServerAddress
    proxy: TcpProxy
    choose: random.Random
    person: Person
    groups: list[str]
    guests: int = 0
    errors: list[BaseException] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    @classmethod
    @contextmanager
    def of(cls, server: FaultServer, proxy: TcpProxy, choose: random.Random) -> Iterator[Self]:
        ledger = Fleet(server.address, 0, seed=0, flow_id="").ledger
        person = Person(server.address, ledger, threading.Event())
        address = ServerAddress(f"http://127.0.0.1:{proxy.port}", server.address.key)
        try:
            for number in range(SCHEDULED):
                register_flow(server.address, f"scheduled-{number}")
            groups = [group["id"] for group in person.ask("GET", "/flow-groups?limit=200")["items"]]
            around = cls(address, proxy, choose, person, groups)
            yield around
            around.check()
        finally:
            proxy.heal()
            person.close()

    def faults(self) -> dict[str, Fault]:
        return {
            "cut": self.proxy.cut,
            "cut_amid": lambda: self._for_a_while(lambda: self.proxy.cut_after(self.choose.randint(1, 5000))),
            "delay": lambda: self._for_a_while(lambda: self.proxy.delay(self.choose.uniform(0.01, 0.3))),
            "hold": lambda: self._for_a_while(self.proxy.hold),
            "drop": self._drop,
            "half_close": lambda: self.proxy.half_close("requests"),
            "refuse": lambda: self._for_a_while(self.proxy.refuse),
            "cancel": self._cancel,
            "schedule": self._schedule,
            "unschedule": self._unschedule,
            "follow": lambda: self._invite(self._follow),
            "watch": lambda: self._invite(self._watch),
            "read_logs": lambda: self._invite(self._read_logs),
        }

    def calm(self) -> None:
        """End what disturbs, so that the runs can be finished."""
        self.proxy.heal()
        for group in self.groups:
            self.person.ask("DELETE", f"/flow-groups/{group}/schedule")
        for thread in self.threads:
            thread.join()
        self.check()

    def check(self) -> None:
        """Raise what has gone wrong with a guest."""
        if self.errors:
            raise self.errors[0]

    def _for_a_while(self, begin: Fault) -> None:
        begin()
        time.sleep(self.choose.uniform(0.5, 3.0))
        self.proxy.heal()

    def _drop(self) -> None:
        """Swallow answers to what is done, and cut those who wait for them."""
        self.proxy.drop("answers")
        time.sleep(self.choose.uniform(0.1, 1.0))
        self.proxy.cut()
        self.proxy.heal()

    def _cancel(self) -> None:
        going = self.person.ask("GET", "/flow-runs?state=Scheduled,Submitted,Running&limit=50")["items"]
        for run in self.choose.sample(going, min(3, len(going))):
            force = self.choose.random() < 0.3
            self.person.ask("POST", f"/flow-runs/{run['id']}/cancel", {"force": force})

    def _schedule(self) -> None:
        clock = {"type": "IntervalClock", "interval_seconds": self.choose.uniform(5, 60)}
        described = {"type": "Schedule", "clocks": [clock]}
        group = self.choose.choice(self.groups)
        self.person.ask("PUT", f"/flow-groups/{group}/schedule", {"described": described})

    def _unschedule(self) -> None:
        self.person.ask("DELETE", f"/flow-groups/{self.choose.choice(self.groups)}/schedule")

    # ------------------------------------------------------------------------------------------------- guests

    def _invite(self, visit: Callable[[float], object]) -> None:
        """Have some follow for a few seconds, each in a thread; the network may throw them out."""
        for _ in range(GUESTS):
            thread = threading.Thread(target=self._visit, args=(visit, self.choose.uniform(0, 3)))
            self.threads = [other for other in self.threads if other.is_alive()] + [thread]
            self.guests += 1
            thread.start()

    def _visit(self, visit: Callable[[float], object], seconds: float) -> None:
        try:
            visit(time.monotonic() + seconds)
        except (OSError, urllib3.exceptions.HTTPError, WebSocketException):
            pass  # The network, which is the point of it.
        except BaseException as error:  # noqa: BLE001  # raised again by the thread of the test
            self.errors.append(error)

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.address.key}"}

    def _watch(self, end: float) -> None:
        """Be a tab of a browser."""
        url = self.address.url.replace("http", "ws") + "/api/v1/ws"
        with connect(url, additional_headers=self._headers, open_timeout=10, close_timeout=1) as socket:
            socket.send(json.dumps({"subscribe": ["flow_runs", "agents", "flows"], "after": "0.0.0"}))
            while time.monotonic() < end:
                with suppress(TimeoutError):
                    json.loads(socket.recv(timeout=0.2))

    def _follow(self, end: float) -> None:
        """Be a program that follows what happens, and goes away amid a line."""
        self._stream("/events?topics=flow_runs,agents&after=0.0.0", end)

    def _read_logs(self, end: float) -> None:
        with urllib3.PoolManager(timeout=10, retries=False) as pool:
            url = f"{self.address.url}/api/v1/flow-runs?limit=20"
            answer: dict[str, Any] = pool.request("GET", url, headers=self._headers).json()
        for run in answer.get("items", ())[:3]:
            self._stream(f"/flow-runs/{run['id']}/logs/follow", end)

    def _stream(self, path: str, end: float) -> None:
        with urllib3.PoolManager(timeout=urllib3.Timeout(connect=10, read=1), retries=False) as pool:
            url = f"{self.address.url}/api/v1{path}"
            with pool.request("GET", url, headers=self._headers, preload_content=False) as answer:
                for _ in answer.stream(1 << 12):
                    if time.monotonic() > end:
                        break
                answer.close()
