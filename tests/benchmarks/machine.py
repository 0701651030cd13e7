"""The machine, and the versions of what runs on it."""

import os
import platform
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import aio_pika
import asyncpg
import psutil  # type: ignore[import-untyped]

from tests.benchmarks.servers import Servers

_PACKAGES = ("litestar", "asyncpg", "granian", "msgspec", "sqlalchemy", "aio-pika")


def machine() -> dict[str, Any]:
    """Return what the figures were measured on, and how busy it was before."""
    return {
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cpu": _model(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "load_before": [round(value, 2) for value in psutil.getloadavg()],
    }


def _model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


async def versions(servers: Servers) -> dict[str, Any]:
    """Return the versions of Python, packages and servers, and the event loop under the API."""
    owner = await asyncpg.connect(servers.config.require("owner_database_url"))
    try:
        postgresql = await owner.fetchval("SHOW server_version")
    finally:
        await owner.close()
    async with await aio_pika.connect(servers.node.url) as connection:
        said = connection.transport.connection.server_properties if connection.transport else {}
    return {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in _PACKAGES},
        "uvloop": metadata.version("uvloop") if find_spec("uvloop") else None,
        "postgresql": postgresql,
        "rabbitmq": _text(said.get("version")),
    }


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
