"""What user code asks a server, or this machine in its place."""

from tenuto.client.secrets import Secret

__all__ = ["Secret"]
