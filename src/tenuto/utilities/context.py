"""The class of `tenuto.context`."""

from tenuto._base.context import Context

__all__ = ["Context"]
