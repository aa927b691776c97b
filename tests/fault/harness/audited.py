"""
Runs a module, and writes down what must not happen in it once it is told to watch.

    python -m tests.fault.harness.audited FILE MODULE ARGUMENT...

SIGUSR1: from now on FILE gets a line for each `pickle.find_class`, `import` and `exec` (`sys.addaudithook`).
SIGUSR2: write down which modules were loaded since. SIGHUP: do all that must not happen: it has to be seen.
"""

import os
import pickle
import runpy
import signal
import sys
from contextlib import suppress
from types import FrameType

WATCHED = ("pickle.find_class", "import", "exec")
PICKLED = b"\x80\x04cos\ngetpid\n."

_is_watching = False
_known: set[str] = set()


def main() -> None:
    path, module, *arguments = sys.argv[1:]
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def told(event: str, arguments: tuple[object, ...]) -> None:
        if _is_watching and event in WATCHED:
            os.write(file, f"{event} {arguments!r:.300}\n".encode())

    def watch(number: int, frame: FrameType | None) -> None:
        global _is_watching
        _known.update(sys.modules)
        _is_watching = True
        os.write(1, b"It is watched.\n")

    def look(number: int, frame: FrameType | None) -> None:
        for name in sorted(set(sys.modules) - _known):
            os.write(file, f"loaded {name}\n".encode())
        os.write(1, b"It was looked at.\n")

    def sin(number: int, frame: FrameType | None) -> None:
        pickle.loads(PICKLED)
        exec("1")
        with suppress(ImportError):
            __import__("tenuto_test_no_such_module")
        os.write(1, b"It was done.\n")

    sys.addaudithook(told)
    signal.signal(signal.SIGUSR1, watch)
    signal.signal(signal.SIGUSR2, look)
    signal.signal(signal.SIGHUP, sin)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
