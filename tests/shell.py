"""Commands as an operator types them, in processes of their own."""

import asyncio
import subprocess
import sys
from pathlib import Path

import msgspec

from db.settings import PROJECT, Settings
from tests import leaks
from tests.processes import environment

BIN = Path(sys.executable).parent


class Finished(msgspec.Struct, frozen=True):
    """A command that has ended."""

    code: int
    out: str
    err: str


async def typed(config: Settings, *command: str, within: float = 60) -> Finished:
    """Run a command of the project's and return how it ended."""

    def run() -> Finished:
        done = subprocess.run(
            [str(BIN / command[0]), *command[1:]],
            cwd=PROJECT,
            env=environment(config),
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
        leaks.look(done.stderr)  # what a command answers may be a secret; what it logs may not
        return Finished(done.returncode, done.stdout, done.stderr)

    return await asyncio.to_thread(run)


async def alembic(config: Settings, *arguments: str) -> Finished:
    """Run ``alembic``, which must succeed."""
    done = await typed(config, "alembic", *arguments)
    assert done.code == 0, done.err
    return done
