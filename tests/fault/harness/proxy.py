"""A TCP proxy on loopback that does to connections what networks do."""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from typing import Literal, Self

from tests.fakes.ports import free_port

__all__ = ["TcpProxy"]

Direction = Literal["requests", "answers"]
DIRECTIONS: tuple[Direction, Direction] = ("requests", "answers")
CHUNK_BYTES = 1 << 16
CONNECT_SECONDS = 10.0


class _Way:
    """One direction of all connections: what happens to the bytes on it."""

    def __init__(self) -> None:
        self.mode: Literal["pass", "hold", "drop"] = "pass"
        self.delay_seconds = 0.0
        self.cut_after: int | None = None


class _Connection:
    """A client's socket and the server's: `requests` go from the first to the second, `answers` back."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.is_cut = False
        self.threads: list[threading.Thread] = []
        self.pumps = len(DIRECTIONS)
        self._sockets = (client, server)
        for end in self._sockets:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A sender that is stuck looks up now and then.
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 50_000))

    def ends(self, direction: Direction) -> tuple[socket.socket, socket.socket]:
        client, server = self._sockets
        return (client, server) if direction == "requests" else (server, client)

    def cut(self) -> None:
        """Have both pumps end; the last closes the sockets, which resets the connections."""
        self.is_cut = True
        for end in self._sockets:
            try:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # Wakes who receives, and sends nothing: a reset it is to be, no end of the stream.
                end.shutdown(socket.SHUT_RD)
            except OSError:
                continue  # It has ended by itself.

    def send(self, target: socket.socket, chunk: bytes) -> None:
        view = memoryview(chunk)
        while view and not self.is_cut:
            try:
                view = view[target.send(view) :]
            except BlockingIOError:
                continue

    def close(self) -> None:
        for end in self._sockets:
            end.close()


class TcpProxy:
    """
    Listens on 127.0.0.1 for as long as the context lasts, and passes everything on until told otherwise.

    Args:
        port: of the server, on 127.0.0.1. It need not listen yet: then connections are closed at once.

    Attributes:
        port: where clients connect.
        counts: `connections`, bytes of `requests` and `answers` that were passed on, and what was done: `cut`
            and `half_closed` connections, `refused` phases, `delayed`, `held` and `dropped` chunks.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._changed = threading.Condition()
        self._connections: set[_Connection] = set()
        self._ways = {direction: _Way() for direction in DIRECTIONS}
        self._listening: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self.port = free_port()
        self.counts: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self.accept()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop_listening()
        with self._changed:
            connections = list(self._connections)
            for connection in connections:
                connection.cut()
            self._changed.notify_all()
        for connection in connections:
            for thread in connection.threads:
                thread.join()

    @property
    def faults(self) -> int:
        """How often something was done to a connection that it noticed."""
        done = ("cut", "half_closed", "refused", "delayed", "held", "dropped")
        return sum(self.counts[name] for name in done)

    # ---------------------------------------------------------------------------------------------- faults

    def hold(self, *directions: Direction) -> None:
        """Let nothing through, as a partition: what is sent meanwhile arrives after `heal`."""
        self._set("mode", "hold", directions)

    def drop(self, *directions: Direction) -> None:
        """Swallow what is sent: with `answers`, everything is executed and nobody hears of it."""
        self._set("mode", "drop", directions)

    def delay(self, seconds: float, *directions: Direction) -> None:
        """Let each chunk wait on its way."""
        self._set("delay_seconds", seconds, directions)

    def cut_after(self, count: int, *directions: Direction) -> None:
        """Reset all connections, once, when so many more bytes have passed; none of the chunk beyond does."""
        self._set("cut_after", count, directions)

    def half_close(self, direction: Direction) -> None:
        """Tell the receivers that nothing more will come, while the other direction stays open."""
        with self._changed:
            connections = list(self._connections)
        for connection in connections:
            try:
                connection.ends(direction)[1].shutdown(socket.SHUT_WR)
            except OSError:
                continue  # It has ended by itself.
            self._count("half_closed")

    def cut(self) -> None:
        """Reset all connections; new ones are taken."""
        with self._changed:
            connections = list(self._connections)
        for connection in connections:
            connection.cut()
            self._count("cut")

    def refuse(self) -> None:
        """Refuse new connections, as if nobody listened, until `accept`."""
        if self._listening is not None:
            self._stop_listening()
            self._count("refused")

    def accept(self) -> None:
        """Take connections again, at the same port."""
        if self._listening is None:
            self._listening = socket.create_server(("127.0.0.1", self.port))
            self._acceptor = threading.Thread(
                target=self._accept_all, args=(self._listening,), name=f"proxy at {self.port}"
            )
            self._acceptor.start()

    def heal(self) -> None:
        """Pass everything on from now on, and what was held."""
        with self._changed:
            self._ways = {direction: _Way() for direction in DIRECTIONS}
            self._changed.notify_all()
        self.accept()

    # --------------------------------------------------------------------------------------------- passing

    def _set(self, name: str, value: object, directions: tuple[Direction, ...]) -> None:
        with self._changed:
            for direction in directions or DIRECTIONS:
                setattr(self._ways[direction], name, value)
            self._changed.notify_all()

    def _count(self, name: str, number: int = 1) -> None:
        with self._changed:
            self.counts[name] += number
            self._changed.notify_all()

    def wait_for(self, name: str, number: int = 1, seconds: float = 60.0) -> None:
        """Wait until a count has got so high."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.counts[name] >= number, seconds):
                raise TimeoutError(f"The proxy has counted {self.counts[name]} {name}, not {number}.")

    def _stop_listening(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            # Closing alone does not wake a thread that accepts.
            listening.shutdown(socket.SHUT_RDWR)
            listening.close()
            assert self._acceptor is not None
            self._acceptor.join()

    def _accept_all(self, listening: socket.socket) -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target, CONNECT_SECONDS)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            connection = _Connection(client, server)
            connection.threads = [
                threading.Thread(target=self._pump, args=(connection, direction), name=f"proxy: {direction}")
                for direction in DIRECTIONS
            ]
            with self._changed:
                self._connections.add(connection)
            self._count("connections")
            for thread in connection.threads:
                thread.start()

    def _pump(self, connection: _Connection, direction: Direction) -> None:
        """Pass on what comes until one side ends; the second of the two pumps closes the sockets."""
        source, target = connection.ends(direction)
        chunk = None
        try:
            while chunk != b"" and not connection.is_cut:
                chunk = source.recv(CHUNK_BYTES)
                if not self._may_pass(connection, direction, len(chunk)):
                    continue
                if chunk == b"":
                    target.shutdown(socket.SHUT_WR)
                    break
                connection.send(target, chunk)
                self._count(direction, len(chunk))
        except OSError:
            connection.cut()
        with self._changed:
            connection.pumps -= 1
            if connection.pumps:
                return
            self._connections.discard(connection)
        connection.close()

    def _may_pass(self, connection: _Connection, direction: Direction, length: int) -> bool:
        """Wait as long as a chunk has to (the end of a stream has length 0); say whether it is passed on."""
        way = self._ways[direction]
        if way.delay_seconds:
            self._count("delayed")
            self._wait(lambda: connection.is_cut, way.delay_seconds)
        if self._ways[direction].mode == "hold":
            self._count("held")
            self._wait(lambda: connection.is_cut or self._ways[direction].mode != "hold")
        if connection.is_cut:
            return False
        if self._ways[direction].mode == "drop":
            self._count("dropped")
            return False
        if self._is_to_be_cut(direction, length):
            self.cut()
            return False
        return True

    def _wait(self, until: Callable[[], bool], seconds: float | None = None) -> None:
        with self._changed:
            self._changed.wait_for(until, seconds)

    def _is_to_be_cut(self, direction: Direction, length: int) -> bool:
        with self._changed:
            way = self._ways[direction]
            if way.cut_after is None:
                return False
            way.cut_after -= length
            if way.cut_after >= 0:
                return False
            way.cut_after = None
            return True
