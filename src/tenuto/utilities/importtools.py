"""Objects by their import path."""

from tenuto._base.importtools import import_object

__all__ = ["import_object"]
