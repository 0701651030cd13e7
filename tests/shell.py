"""Shell: runs commands as an operator types them, in separate processes."""

import asyncio
import os
import pty
import subprocess
import sys
from pathlib import Path

import msgspec

from db.settings import PROJECT, Settings
from tests import leaks
from tests.processes import environment

BIN = Path(sys.executable).parent


class Finished(msgspec.Struct, frozen=True):
    """The exit code and output of a command that has ended."""

    code: int
    out: str
    err: str


async def typed(config: Settings, *command: str, within: float = 60) -> Finished:
    """Run a command of the project and return how it ended.

    Args:
        config: settings for the command's environment.
        command: the name of the command, then its arguments.
        within: seconds that the command may take.
    """

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
        leaks.look(done.stderr)  # a command may print a secret as its result, but must not log one
        return Finished(done.returncode, done.stdout, done.stderr)

    return await asyncio.to_thread(run)


async def typed_at_terminal(config: Settings, said: str, *command: str, within: float = 60) -> Finished:
    """Run a command of the project at a terminal, where ``said`` is typed, and return how it ended."""

    def run() -> Finished:
        terminal, end = pty.openpty()
        os.write(terminal, f"{said}\n".encode())
        done = subprocess.run(
            [str(BIN / command[0]), *command[1:]],
            cwd=PROJECT,
            env=environment(config),
            stdin=end,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
        os.close(terminal)
        os.close(end)
        return Finished(done.returncode, done.stdout, done.stderr)

    return await asyncio.to_thread(run)


async def alembic(config: Settings, *arguments: str) -> Finished:
    """Run ``alembic`` and check that it succeeds."""
    done = await typed(config, "alembic", *arguments)
    assert done.code == 0, done.err
    return done
