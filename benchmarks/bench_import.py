"""
What does `import tenuto` cost a program, beyond starting Python? Milliseconds, wall clock of whole processes.

Held constant: the interpreter, isolated from the environment's variables, byte code already compiled. The
second figure is what a script with a flow imports; the third what `import pandas` costs here, for comparison.
"""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.harness import Case, Figure, figure, in_turns, main, scratch_folder, seconds

PROGRAMS = {
    "bare": "pass",
    "import tenuto": "import tenuto",
    "from tenuto import Flow, Parameter, task": "from tenuto import Flow, Parameter, task",
    "import pandas (for comparison)": "import pandas",
}


def measure(quick: bool) -> list[Figure]:
    with scratch_folder() as folder:
        environment = {**os.environ, "TENUTO__HOME_DIR": str(folder)}

        def starting(program: str) -> Case:
            command = [sys.executable, "-c", program]
            return lambda: 1000 * seconds(lambda: subprocess.run(command, check=True, env=environment))

        cases = {name: starting(program) for name, program in PROGRAMS.items()}
        measured = in_turns(cases, rounds=5 if quick else 40)
    bare = measured.pop("bare")
    return [
        figure(
            f"{name}, over bare Python",
            "ms",
            [took - base for took, base in zip(samples, bare, strict=True)],
            floor_name=f"(bare: {sorted(bare)[len(bare) // 2]:.0f} ms)",
            median_max=120 if name == "import tenuto" else None,
        )
        for name, samples in measured.items()
    ]


if __name__ == "__main__":
    main(measure, __doc__)
