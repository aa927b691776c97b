"""`python -m tenuto.compat FILE [ARGUMENT...]`: run a Prefect-1 script as `python FILE` would."""

from __future__ import annotations

import os
import runpy
import sys

from tenuto.compat.shim import install

_USAGE = "Usage: python -m tenuto.compat FILE [ARGUMENT...]"


def main() -> None:
    """Run the file that the command line names, with `import prefect` as Tenuto."""
    if sys.argv[1:2] in (["-h"], ["--help"]):
        print(_USAGE)
        return
    if len(sys.argv) < 2:
        sys.exit(_USAGE)
    path = sys.argv[1]
    if not os.path.isfile(path):
        sys.exit(f"There is no file {path!r}.")
    sys.argv = sys.argv[1:]
    # Before the script's folder is on the import path: what lies there must not be what our modules get.
    import tenuto.engine.launch  # noqa: F401  # imported for its effect

    install()
    sys.path[0] = os.path.dirname(os.path.abspath(path))
    runpy.run_path(path, run_name="__main__")


main()
