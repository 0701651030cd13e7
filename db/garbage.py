"""The garbage collector of a process that serves: what the process imported is not looked at again.

Going over all modules takes tens of milliseconds, in which nothing is answered.
"""

import gc
from typing import Final

_THRESHOLDS: Final = (20_000, 20, 50)
"""Objects, and runs of the generation before, until a generation is collected. Python's 700, 10, 10 are for scripts."""


def freeze() -> None:
    """Leave all objects that there are to the process's end. Call this once, when it is about to serve."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
