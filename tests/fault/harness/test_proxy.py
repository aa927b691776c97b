"""The proxy does to connections what it says, and counts it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.fakes.ports import free_port
from tests.fault.harness.proxy import TcpProxy

MANY = 1 << 22


class Echo:
    """Sends back what it gets, and keeps it."""

    def __init__(self) -> None:
        self.got = b""
        self.resets = 0
        self.ends = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(1 << 16):
                    self.got += data
                    connection.sendall(data)
                self.ends += 1
                connection.sendall(b"[end]")
            except OSError:
                self.resets += 1

    def join_connection(self, number: int) -> None:
        """Wait for the end of a connection; the first is 0."""
        self._threads[1 + number].join()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[TcpProxy]:
    with TcpProxy(echo.port) as proxy:
        yield proxy


@contextmanager
def client(proxy: TcpProxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), 60) as connection:
        yield connection


def exchange(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    return read(connection, len(data))


def read(connection: socket.socket, length: int) -> bytes:
    got = b""
    while len(got) < length and (part := connection.recv(length - len(got))):
        got += part
    return got


def test_everything_is_passed_on_in_both_directions(proxy: TcpProxy, echo: Echo) -> None:
    data = bytes(range(256)) * (MANY // 256)
    with client(proxy) as connection:
        sender = threading.Thread(target=connection.sendall, args=(data,))
        sender.start()
        assert read(connection, MANY) == data
        sender.join()
        connection.shutdown(socket.SHUT_WR)
        assert read(connection, 100) == b"[end]"
    proxy.wait_for("answers", MANY + 5)
    assert (proxy.counts["requests"], proxy.counts["answers"]) == (MANY, MANY + 5)
    assert (proxy.counts["connections"], proxy.faults, echo.ends) == (1, 0, 1)


def test_what_is_held_arrives_when_the_network_is_healed(proxy: TcpProxy, echo: Echo) -> None:
    with client(proxy) as connection:
        assert exchange(connection, b"before") == b"before"
        proxy.hold()
        connection.sendall(b"during")
        proxy.wait_for("held")
        assert echo.got == b"before"
        proxy.heal()
        assert read(connection, 6) == b"during"
    assert proxy.faults == 1


def test_dropped_answers_were_executed(proxy: TcpProxy, echo: Echo) -> None:
    with client(proxy) as connection:
        proxy.drop("answers")
        connection.sendall(b"done")
        proxy.wait_for("dropped")
        assert echo.got == b"done"
        proxy.heal()
        assert exchange(connection, b"next") == b"next"


def test_delayed_chunks_arrive_later(proxy: TcpProxy, echo: Echo) -> None:
    with client(proxy) as connection:
        proxy.delay(0.05, "requests")
        assert exchange(connection, b"late") == b"late"
        # While the connection is open: its end is delayed as well.
        assert (proxy.counts["delayed"], echo.got) == (1, b"late")


def test_half_closed_connection_still_answers(proxy: TcpProxy, echo: Echo) -> None:
    with client(proxy) as connection:
        assert exchange(connection, b"data") == b"data"
        proxy.half_close("requests")
        assert read(connection, 5) == b"[end]"
    assert (proxy.counts["half_closed"], echo.ends) == (1, 1)


def test_cut_connection_is_reset_at_both_sides_and_the_next_is_taken(proxy: TcpProxy, echo: Echo) -> None:
    with client(proxy) as connection:
        assert exchange(connection, b"data") == b"data"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    with client(proxy) as connection:
        assert exchange(connection, b"next") == b"next"
    echo.join_connection(0)
    assert (echo.resets, proxy.counts["cut"], proxy.counts["connections"]) == (1, 1, 2)


def test_connection_is_cut_at_a_byte(proxy: TcpProxy, echo: Echo) -> None:
    proxy.cut_after(4, "answers")
    with client(proxy) as connection:
        assert exchange(connection, b"1234") == b"1234"
        connection.sendall(b"5")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert echo.got == b"12345"


def test_sender_that_is_stuck_is_cut(proxy: TcpProxy) -> None:
    # The echo's answers are not read, so every buffer on the way fills.
    def send() -> None:
        with pytest.raises(OSError, match="reset|pipe"):
            while True:
                connection.sendall(b"x" * MANY)

    with client(proxy) as connection:
        sender = threading.Thread(target=send)
        sender.start()
        proxy.wait_for("answers", 1)
        proxy.cut()
        sender.join()


def test_refused_connections_are_taken_again_at_the_same_port(proxy: TcpProxy) -> None:
    port = proxy.port
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    proxy.heal()
    assert proxy.port == port
    with client(proxy) as connection:
        assert exchange(connection, b"again") == b"again"
    assert proxy.counts["refused"] == 1


def test_server_that_is_down_closes_connections() -> None:
    with TcpProxy(free_port()) as proxy, client(proxy) as connection:
        assert connection.recv(1) == b""


def test_end_of_the_proxy_ends_what_it_holds(echo: Echo) -> None:
    with TcpProxy(echo.port) as proxy, client(proxy) as connection:
        proxy.hold()
        connection.sendall(b"never")
        proxy.wait_for("held")
    assert echo.got == b""
