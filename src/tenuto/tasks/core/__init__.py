"""The tasks that flows make by themselves: of functions, values, collections, operators and resources."""

from tenuto._base.importtools import lazy_names

__getattr__, __dir__ = lazy_names(__name__)
