"""What user code asks a server, or this machine in its place."""

from tenuto.client.client import Client
from tenuto.client.secrets import Secret

__all__ = ["Client", "Secret"]
