"""Shell: runs commands as an operator types them, in separate processes."""

import asyncio
import os
import pty
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec

from db.settings import PROJECT, Settings
from tests import forks, leaks
from tests.processes import environment

BIN = Path(sys.executable).parent


class Finished(msgspec.Struct, frozen=True):
    """The exit code and output of a command that has ended."""

    code: int
    out: str
    err: str


async def typed(config: Settings, *command: str, within: float = 60, folder: Path = PROJECT) -> Finished:
    """Run a command of the project and return how it ended. In the project's folder, most are `forks`.

    Args:
        config: settings for the command's environment.
        command: the name of the command, then its arguments.
        within: seconds that the command may take.
        folder: where it is typed.
    """

    def run() -> Finished:
        if command[0] in forks.COMMANDS and folder == PROJECT:
            return _looked_at(forks.run(command, environment=environment(config), within=within))
        done = subprocess.run(
            [str(BIN / command[0]), *command[1:]],
            cwd=folder,
            env=environment(config),
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
        return _looked_at(done)

    return await asyncio.to_thread(run)


def _looked_at(done: "subprocess.CompletedProcess[str]") -> Finished:
    leaks.look(done.stderr)  # a command may print a secret as its result, but must not log one
    return Finished(done.returncode, done.stdout, done.stderr)


async def typed_at_terminal(config: Settings, said: str, *command: str, within: float = 60) -> Finished:
    """Run a command of the project at a terminal, where ``said`` is typed, and return how it ended."""

    def run() -> Finished:
        terminal, end = pty.openpty()
        os.write(terminal, f"{said}\n".encode())
        done = forks.run(command, environment=environment(config), within=within, stdin=os.ttyname(end))
        os.close(terminal)
        os.close(end)
        return Finished(done.returncode, done.stdout, done.stderr)

    return await asyncio.to_thread(run)


async def watched(config: Settings, *command: str, within: float = 60) -> Finished:
    """Run a command of the project whose stderr is a terminal, and return how it ended, with what was seen there."""

    def run() -> Finished:
        terminal, end = pty.openpty()
        process = subprocess.Popen(
            [str(BIN / command[0]), *command[1:]],
            cwd=PROJECT,
            env=environment(config),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=end,
            text=True,
        )
        os.close(end)
        seen = b"".join(iter(lambda: _read(terminal), b""))
        out, _ = process.communicate(timeout=within)
        os.close(terminal)
        return Finished(process.returncode, out, seen.decode())

    return await asyncio.to_thread(run)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # nobody writes to it any more
        return b""


class Going:
    """A command that runs, and can be sent a signal."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def says(self, words: str) -> None:
        """Wait until the command has written some words to stdout."""

        def read() -> None:
            assert self._process.stdout is not None
            said = b""
            while words.encode() not in said:
                more = os.read(self._process.stdout.fileno(), 4096)
                assert more, said
                said += more

        await asyncio.to_thread(read)

    async def interrupted(self) -> Finished:
        """Press Ctrl-C, and return how the command ended.

        Pressed again where nothing happens: one that comes between a prompt and the read of its answer is not seen
        by Python until something is read.
        """
        for _ in range(5):
            self.signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                return await self.ended(within=6)
        raise AssertionError("the command goes on")

    async def ended(self, *, within: float = 30) -> Finished:
        """Wait for the command's end, and return how it ended."""
        out, err = await asyncio.to_thread(self._process.communicate, timeout=within)
        return Finished(self._process.returncode, out, err)


@asynccontextmanager
async def going(config: Settings, *command: str) -> AsyncIterator[Going]:
    """Start a command of the project, yield it, and kill it at the end if it still runs. Its stdin is a terminal."""
    terminal, end = pty.openpty()
    process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
        [str(BIN / command[0]), *command[1:]],
        cwd=PROJECT,
        env=environment(config),
        stdin=end,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(end)
    try:
        yield Going(process)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
        os.close(terminal)


async def alembic(config: Settings, *arguments: str, folder: Path = PROJECT) -> Finished:
    """Run ``alembic`` in a folder, and check that it succeeds."""
    done = await typed(config, "alembic", *arguments, folder=folder)
    assert done.code == 0, done.err
    return done
