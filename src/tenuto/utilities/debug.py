"""Help with finding faults. Not loaded with the package: import it where you need it."""

import subprocess
import sys
from contextlib import AbstractContextManager
from typing import Any

import cloudpickle

from tenuto._base.context import context

__all__ = ["is_serializable", "raise_on_exception"]

_UNPICKLE = "import sys, cloudpickle; cloudpickle.loads(sys.stdin.buffer.read())"


def raise_on_exception() -> AbstractContextManager[Any]:
    """
    Let exceptions of tasks, triggers and handlers leave `flow.run()` unchanged inside the block.

    Signals still become states. Meant for debuggers and tests.
    """
    return context(raise_on_exception=True)


def is_serializable(obj: Any, raise_on_error: bool = False) -> bool:
    """
    Say whether `obj` can be pickled here and read back in a fresh Python process.

    Args:
        raise_on_error: raise instead of returning False: the error of pickling itself, or ValueError with
            what the other process wrote when it could not read the object.
    """
    try:
        data = cloudpickle.dumps(obj)
    except Exception:
        # Pickling runs any __reduce__ and __getstate__ of the user's objects: all they raise means "no".
        if raise_on_error:
            raise
        return False
    outcome = subprocess.run([sys.executable, "-c", _UNPICKLE], input=data, capture_output=True, check=False)
    if outcome.returncode and raise_on_error:
        told = outcome.stderr.decode(errors="replace").strip()
        raise ValueError(f"The object was pickled, but a fresh process could not read it back:\n{told}")
    return outcome.returncode == 0
