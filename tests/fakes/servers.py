"""Servers on this machine that tests start and stop."""

import socketserver
import threading

__all__ = ["LocalServer"]


class LocalServer:
    """Serves in a thread of its own until `stop`."""

    def __init__(self, server: socketserver.BaseServer) -> None:
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections from now on; those that are open end first."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
