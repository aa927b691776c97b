"""Where the programs of a full stack listen: on this machine only (S-1, S-28)."""

import ipaddress
import socket
import uuid
from collections.abc import Iterable
from pathlib import Path

import psutil
import pytest

from tests.fault.harness.figures import figure
from tests.fault.harness.programs import Program
from tests.snippets import ROOT

MARK = "TENUTO_TEST_LISTENERS"
FLOW = """
import os, time
from pathlib import Path
from tenuto import Flow, task
from tenuto.executors import DaskExecutor, LocalDaskExecutor, ProcessExecutor

GO = Path(os.environ["GO"])
EXECUTORS = {
    "processes": lambda: ProcessExecutor(2),
    "threads": lambda: LocalDaskExecutor(),
    "dask": lambda: DaskExecutor(cluster_kwargs={"n_workers": 1, "dashboard_address": "127.0.0.1:0"}),
}

@task
def wait():
    print("the task is there", flush=True)
    while not (GO / "go").exists():
        time.sleep(0.01)

with Flow("waits", executor=EXECUTORS[os.environ["EXECUTOR"]]()) as flow:
    wait()
"""


def listening(processes: Iterable[psutil.Process]) -> list[tuple[int, str, int]]:
    """Return pid, address and port of each socket at which processes take what others send."""
    found = []
    for process in processes:
        try:
            connections = process.net_connections("inet")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        for connection in connections:
            is_open = connection.status == psutil.CONN_LISTEN or (
                connection.type == socket.SOCK_DGRAM and not connection.raddr
            )
            if is_open:
                found.append((process.pid, connection.laddr.ip, connection.laddr.port))
    return found


def others(found: list[tuple[int, str, int]]) -> list[tuple[int, str, int]]:
    """Return those that can be reached from elsewhere."""
    return [each for each in found if not ipaddress.ip_address(each[1]).is_loopback]


def marked(mark: str) -> list[psutil.Process]:
    """Return the processes that were started with a mark, and what they have started."""

    def has_mark(process: psutil.Process) -> bool:
        try:
            return process.environ().get(MARK) == mark
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False

    return [process for process in psutil.process_iter() if has_mark(process)]


def test_a_socket_that_others_reach_is_found() -> None:
    with socket.create_server(("0.0.0.0", 0)) as open_to_all, socket.create_server(("127.0.0.1", 0)) as own:
        # Other tests may have left this process sockets of their own, as libraries do.
        found = listening([psutil.Process()])
        ports, reached = ({port for _, _, port in some} for some in (found, others(found)))
        assert {open_to_all.getsockname()[1], own.getsockname()[1]} <= ports
        assert open_to_all.getsockname()[1] in reached
        assert own.getsockname()[1] not in reached


@pytest.mark.parametrize("executor", ["processes", "threads", "dask"])
def test_nothing_of_a_full_stack_listens_for_others(tmp_path: Path, executor: str) -> None:
    # S-1, S-28
    mark, home, go = uuid.uuid4().hex, tmp_path / "home", tmp_path / "go"
    go.mkdir()
    (tmp_path / "flow.py").write_text(FLOW)
    env = {MARK: mark, "TENUTO__HOME_DIR": str(home), "GO": str(go), "EXECUTOR": executor}
    server = Program("tenuto", "server", "start", "--port", "0", folder=tmp_path / "a", env=env, cwd=ROOT)
    run = Program("tenuto", "run", "-p", tmp_path / "flow.py", folder=tmp_path / "b", env=env, cwd=tmp_path)
    with server, run:
        server.start().wait_for("Tenuto server ready")
        run.start()
        run.wait_for("the task is there")
        processes = marked(mark)
        found = listening(processes)
        (go / "go").touch()
        assert run.wait() == 0, run.tail()
    assert found, "Not even the server was seen to listen."
    figure(
        "listeners",
        executor=executor,
        processes=len(processes),
        sockets=len(found),
        non_loopback=len(others(found)),
    )
    assert not others(found)
