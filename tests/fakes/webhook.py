"""An HTTP server on this machine that keeps what is posted to it."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

__all__ = ["Post", "Webhook"]


class Post(NamedTuple):
    """What was posted."""

    path: str
    body: dict[str, Any]
    headers: dict[str, str]


class Webhook:
    """
    Listens on a port of its own until `stop`.

    Attributes:
        url: where to post; its last part is `canary-path`, so that it is found where it must not be.
        posts: what has come, in that order.
        status: of the answers.
    """

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.status = 200
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                webhook.posts.append(Post(self.path, body, dict(self.headers)))
                self.send_response(webhook.status)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Say nothing on stderr."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/services/T0/canary-path"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections from now on."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
