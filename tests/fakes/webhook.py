"""An HTTP server on this machine that keeps what is posted to it."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from tests.fakes.servers import LocalServer

__all__ = ["Post", "Webhook"]


class Post(NamedTuple):
    """What was posted."""

    path: str
    body: dict[str, Any]
    headers: dict[str, str]


class Webhook(LocalServer):
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

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_address[1]}/services/T0/canary-path"
        super().__init__(server)
