"""
Public helpers, at the addresses that flows of the Prefect 1 API import from.

Most modules are doors: what they offer lives in `tenuto.core` or below. Only `notifications` and `debug`,
which nothing of Tenuto uses, are written here.
"""

from typing import TYPE_CHECKING

from tenuto._base.importtools import lazy_names

if TYPE_CHECKING:
    from tenuto.utilities import collections as collections
    from tenuto.utilities import configuration as configuration
    from tenuto.utilities import context as context
    from tenuto.utilities import datetimes as datetimes
    from tenuto.utilities import debug as debug
    from tenuto.utilities import edges as edges
    from tenuto.utilities import exceptions as exceptions
    from tenuto.utilities import importtools as importtools
    from tenuto.utilities import logging as logging
    from tenuto.utilities import notifications as notifications
    from tenuto.utilities import tasks as tasks

__getattr__, __dir__ = lazy_names(__name__)
