"""`python -m tenuto`: the command `tenuto`."""

import sys

from tenuto.cli import main

# The guard is for processes that multiprocessing spawns: they import this module again.
if __name__ == "__main__":
    sys.exit(main())
