"""Tasks made of functions."""

from tenuto.core.function import FunctionTask

__all__ = ["FunctionTask"]
