"""Tasks about SQLite that Tenuto leaves out: the standard library in a task of your own does the same."""

from functools import partial

from tenuto._base.left_out import left_out_class
from tenuto.core.task import Task

__all__ = ["SQLiteQuery", "SQLiteScript"]

_left_out = partial(left_out_class, base=Task, module=__name__)

SQLiteQuery = _left_out(
    "SQLiteQuery",
    {"db": None, "query": None, "data": ()},
    "Call sqlite3.connect(db).execute(query, data) in a task of your own.",
)
SQLiteScript = _left_out(
    "SQLiteScript",
    {"db": None, "script": None},
    "Call sqlite3.connect(db).executescript(script) in a task of your own.",
)
