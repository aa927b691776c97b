"""Tasks about files that Tenuto leaves out: the standard library in a task of your own does the same."""

from functools import partial

from tenuto._base.left_out import left_out_class
from tenuto.core.task import Task

__all__ = ["Copy", "Glob", "Move", "Remove", "Unzip", "Zip"]

_left_out = partial(left_out_class, base=Task, module=__name__)

Copy = _left_out(
    "Copy",
    {"source_path": "", "target_path": ""},
    "Call shutil.copy or shutil.copytree in a task of your own.",
)
Glob = _left_out(
    "Glob",
    {"path": "", "pattern": "*"},
    "Call pathlib.Path.glob in a task of your own.",
)
Move = _left_out(
    "Move",
    {"source_path": "", "target_path": ""},
    "Call shutil.move in a task of your own.",
)
Remove = _left_out(
    "Remove",
    {"path": ""},
    "Call pathlib.Path.unlink or shutil.rmtree in a task of your own.",
)
Unzip = _left_out(
    "Unzip",
    {"zip_path": "", "extract_dir": ""},
    "Call shutil.unpack_archive in a task of your own.",
)
Zip = _left_out(
    "Zip",
    {"source_path": "", "zip_path": "", "compression_method": "deflate", "compression_level": None},
    "Call shutil.make_archive in a task of your own.",
)
