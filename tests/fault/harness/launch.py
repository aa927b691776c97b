"""
Starts `python -m MODULE` with armed fail points: what `Program` puts in front of a command of this project.

    python launch.py PLAN -m MODULE ARGUMENT...

PLAN is a JSON file: `points` (fields of `Failpoint`), `faults` (a file that gets a line before each action),
`parent` (the process with which this one is to end), `python` (what its children are started with, or null).
"""

import ctypes
import json
import os
import runpy
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

PR_SET_PDEATHSIG = 1


def main() -> None:
    plan_path, *arguments = sys.argv[1:]
    if arguments[:1] != ["-m"]:
        # A child that is no command of ours: a helper of `multiprocessing`, or somebody's script.
        os.execv(sys.executable, [sys.executable, *arguments])
    with open(plan_path, encoding="utf-8") as file:
        plan = json.load(file)
    if os.getppid() == plan["parent"] and sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # As `python -m` has it: the working folder first, not that of this script.
    sys.path[0] = os.getcwd()
    if plan["python"] is not None:
        sys.executable = plan["python"]
    points = arm(plan)
    sys.argv = arguments[1:]
    with points:
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)


def arm(plan: dict[str, object]) -> "AbstractContextManager[None]":
    from tenuto._base.failpoints import Failpoint, armed

    descriptor = os.open(str(plan["faults"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def report(name: str) -> None:
        os.write(descriptor, f"{os.getpid()} {name}\n".encode())

    points = plan["points"]
    assert isinstance(points, list)
    return armed(*(Failpoint(**point, on_action=report) for point in points))


if __name__ == "__main__":
    main()
