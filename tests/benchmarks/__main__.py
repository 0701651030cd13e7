"""How fast it is on this machine: ``make bench``. It prints figures and never judges them.

What is compared is measured by turns within one run; trust the ratios, not the figures.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from db import logs
from tests.benchmarks import relay, requests, signup
from tests.benchmarks.servers import Figure, say, servers

_ALL = ("relay", "signup", "requests")


async def _measure(chosen: list[str], home: Path) -> list[Figure]:
    figures = []
    async with servers(home) as running:
        if "relay" in chosen:
            figures += await relay.measure(running)
        if "signup" in chosen:
            figures += await signup.measure(running, home)
        if "requests" in chosen:
            figures += await requests.measure(running, home)
    return figures


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "chosen", nargs="*", metavar="|".join(_ALL), choices=[*_ALL, []], default=[], help="all, by default"
    )
    options = parser.parse_args()
    logs.configure("console", "error")
    home = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        figures = asyncio.run(_measure(options.chosen or list(_ALL), home))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    width = max(len(figure.what) for figure in figures)
    for figure in figures:
        say(f"{figure.what:<{width}}  {figure.value:>12}  {figure.ratio and f'x {figure.ratio}'}".rstrip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
