"""Processes: run provisioners and APIs in separate processes, so that tests can kill them."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import httpx

from db import logs
from db.local.processes.process import Process
from db.local.processes.waiting import free_port
from db.settings import PROJECT, Settings
from tests import forks, leaks
from tests.support import eventually


def environment(config: Settings) -> dict[str, str]:
    """Return the environment for a process, with all settings that differ from their defaults."""
    default = Settings()
    given = {
        name.upper(): str(getattr(config, name))
        for name in Settings.__struct_fields__
        if getattr(config, name) != getattr(default, name)
    }
    inherited = {name: value for name, value in os.environ.items() if name.lower() not in dir(default)}
    return {**inherited, **given, "PYTHONUNBUFFERED": "1"}


def a_provisioner(config: Settings, log: Path | None = None, name: str = "provisioner") -> Process:
    """Return a process, not started yet, that runs a provisioner as in production."""
    command = [sys.executable, "-m", "provisioner"]
    log = log or leaks.output(name)
    return Process(name, command, environment=environment(config), log=log, directory=PROJECT, grace=30)


def an_api(config: Settings, log: Path | None = None) -> tuple[Process, str]:
    """Return a process, not started yet, that runs the API under granian, and the API's address."""
    port, log = free_port(), log or leaks.output("api")
    command = [
        *(sys.executable, "-m", "granian", "--interface", "asgi", "--factory", "--no-ws"),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", "1", "api.app:create_app"),
    ]
    process = Process("api", command, environment=environment(config), log=log, directory=PROJECT)
    return process, f"http://127.0.0.1:{port}"


@asynccontextmanager
async def api_process(config: Settings) -> AsyncIterator[str]:
    """Run the API in a separate process, wait until it answers, and yield its address."""
    process, base = an_api(config)
    async with running(process):
        await answers(f"{base}/health/live")
        yield base
        await asyncio.to_thread(process.stop)


async def answers(url: str) -> None:
    """Wait until a GET of ``url`` is answered with 200."""
    async with httpx.AsyncClient() as client:

        async def well() -> bool:
            try:
                return (await client.get(url)).status_code == 200
            except httpx.TransportError:
                return False

        await eventually(well, within=60, what=url)


@asynccontextmanager
async def running(process: Process) -> AsyncIterator[Process]:
    """Start a process, yield it, and kill it at the end."""
    process.start()
    try:
        yield process
    finally:
        await asyncio.to_thread(process.kill)


class Forked:
    """A provisioner's process, forked from one that has imported everything, so that it starts at once.

    Args:
        config: the provisioner's settings.
    """

    def __init__(self, config: Settings) -> None:
        self._config = config
        self._process: BaseProcess | None = None

    async def start(self) -> None:
        self._process = forks.SERVER.Process(
            target=_serve, args=(self._config, leaks.output("forked")), daemon=True
        )
        await asyncio.to_thread(self._process.start)

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.is_alive()

    async def kill(self) -> None:
        """Kill the process, and check that the signal ended it."""
        assert self._process is not None
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGKILL)
        assert await self.ended() == -signal.SIGKILL

    async def ended(self, *, within: float = 30) -> int:
        """Wait up to ``within`` seconds for the process to end. Return its exit code, or minus the signal's number."""
        assert self._process is not None
        await asyncio.to_thread(self._process.join, within)
        code = self._process.exitcode
        assert code is not None, "it has not ended"
        return code

    async def stop(self) -> None:
        if self.alive:
            assert self._process is not None
            self._process.terminate()
            await self.ended()


@asynccontextmanager
async def forked(config: Settings) -> AsyncIterator[Forked]:
    """Run a provisioner in a separate process, yield it, and stop it at the end if it still runs."""
    process = Forked(config)
    await process.start()
    try:
        yield process
    finally:
        await process.stop()


def _serve(config: Settings, log: Path) -> None:
    from provisioner.__main__ import _main

    with log.open("wb") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    logs.configure("json", "error")
    asyncio.run(_main(config))
