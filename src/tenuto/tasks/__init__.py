"""The task library. Its packages load when they are first used, so that each brings only what it needs."""

from tenuto._base.importtools import lazy_names

__getattr__, __dir__ = lazy_names(__name__)
