"""Fixtures of end-to-end tests: the API as it runs in production."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx
import pytest

from db.local.waiting import free_port
from db.settings import PROJECT, Settings
from tests.shell import environment
from tests.support import eventually


@pytest.fixture
def granian() -> Callable[[Settings], AbstractAsyncContextManager[str]]:
    """Starts the API under granian, in processes of its own, and gives its address."""
    return _granian


@asynccontextmanager
async def _granian(config: Settings) -> AsyncIterator[str]:
    port = free_port()
    process = await asyncio.to_thread(
        subprocess.Popen,
        [
            *(sys.executable, "-m", "granian", "--interface", "asgi", "--factory", "--host", "127.0.0.1"),
            *("--port", str(port), "api.app:create_app"),
        ],
        cwd=PROJECT,
        env={
            **environment(config),
            "RATE_LIMIT_PER_MINUTE": "0",
            "LOGIN_RATE_LIMIT_PER_MINUTE": "0",
            "ADDRESS_RATE_LIMIT_PER_MINUTE": "0",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    base = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient() as client:

            async def up() -> bool:
                try:
                    return (await client.get(f"{base}/health/live")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(up, within=30, what="the API")
        yield base
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 30)
