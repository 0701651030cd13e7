"""Forks: a command's process is the fork of one that has imported the project, which takes most of its time else.

What differs from a process of its own: modules are imported, and nothing else has happened yet. Tests of how a command
is found and started use processes of their own.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from db.settings import PROJECT

SERVER: Final = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        *("tests.forks", "alembic.config", "api.app", "db.migrations.environment", "litestar.cli.main"),
        *("provisioner.__main__", "pytest"),
    ]
)
"""The process that is forked. There is one, so what it imports stands in one place."""
COMMANDS: Final = ("alembic", "litestar")
"""Console scripts that can be run in a fork."""


def run(
    command: tuple[str, ...],
    *,
    environment: Mapping[str, str],
    within: float,
    stdin: str = os.devnull,
) -> "subprocess.CompletedProcess[str]":
    """Run a console script in the project's folder as `subprocess.run` does, and capture its output.

    Args:
        command: its name, one of `COMMANDS`, and its arguments.
        environment: all of its environment.
        within: seconds that it may take.
        stdin: a terminal that it reads from.

    Raises:
        subprocess.TimeoutExpired: it took longer, and was killed.
    """
    with tempfile.TemporaryDirectory() as kept:
        out, err = Path(kept, "out"), Path(kept, "err")
        files = (stdin, f"{out}", f"{err}")
        process = SERVER.Process(target=_be, args=(command, dict(environment), files))
        process.start()
        process.join(within)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(command, within)
        return subprocess.CompletedProcess(command, process.exitcode, _text(out), _text(err))


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.exists() else ""


def _be(command: tuple[str, ...], environment: dict[str, str], files: tuple[str, str, str]) -> None:
    """Become the command: its environment, its arguments, and where it reads and writes."""
    os.chdir(PROJECT)
    os.environ.clear()
    os.environ.update(environment)
    for number, file in enumerate(files):
        opened = os.open(file, os.O_RDONLY if number == 0 else os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - multiprocessing has closed it
    sys.argv = [f"{Path(sys.executable).parent / command[0]}", *command[1:]]
    (script,) = entry_points(group="console_scripts", name=command[0])
    sys.exit(script.load()())
