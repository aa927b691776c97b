"""Ports of this machine that nobody takes, also while a server that listens at one is restarted."""

import random
import socket

__all__ = ["free_port"]

# Below those from which systems take the ports of outgoing connections. Among these a client that tries again
# and again to reach a server that is down would take the server's port itself, now and then.
PORTS = range(15432, 30000)


def free_port() -> int:
    """Return a port that nobody listens at."""
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as attempt:
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"None of 100 ports in {PORTS} is free on 127.0.0.1.")
