"""
What does `import tenuto` cost a program, beyond starting Python? Milliseconds, wall clock of whole processes.

Held constant: the interpreter, byte code compiled before. The second figure is what a script with a flow
imports, the third what it has imported after its first run; `import pandas` is there for comparison.
"""

from __future__ import annotations

import subprocess
import sys

from benchmarks.harness import Case, Figure, environment, figure, in_turns, main, scratch_folder, seconds

PROGRAMS = {
    "bare": "pass",
    "import tenuto": "import tenuto",
    "from tenuto import Flow, Parameter, task": "from tenuto import Flow, Parameter, task",
    "the same and the engine": "from tenuto import Flow, Parameter, task; import tenuto.engine.launch",
    "import pandas (for comparison)": "import pandas",
}


def measure(quick: bool) -> list[Figure]:
    with scratch_folder() as folder:
        variables = environment(folder)

        def starting(program: str) -> Case:
            command = [sys.executable, "-c", program]
            return lambda: 1000 * seconds(lambda: subprocess.run(command, check=True, env=variables))

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
