"""Plain values as tasks."""

from tenuto.core.nodes import Constant

__all__ = ["Constant"]
