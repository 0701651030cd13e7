"""Databases of their own for tests, cloned from the template that the run has bootstrapped."""

import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg

from db import bootstrap

TEMPLATE = "tenantry_template"
MEMORY = Path("/dev/shm")
"""A file system in memory, where the machine has one."""
_ROOM = 1 << 30
_PREFIX = "tenantry-tests-"

_numbers = itertools.count(1)


@contextmanager
def in_memory(otherwise: Path) -> Iterator[Path]:
    """Yield a folder in memory, or another one where there is no room, and delete it afterwards.

    A clone is 350 files. ext4 looks for places of new files among those of files that were just deleted, which took a
    third of the run's time.

    Args:
        otherwise: the other folder.
    """
    if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < _ROOM:
        yield otherwise
        shutil.rmtree(otherwise, ignore_errors=True)
        return
    for left in MEMORY.glob(f"{_PREFIX}*"):  # by a run that was killed
        if not Path("/proc", left.name.split("-")[2]).exists():
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(
        dir=MEMORY, prefix=f"{_PREFIX}{os.getpid()}-", ignore_cleanup_errors=True
    ) as made:
        folder = Path(made)
        folder.chmod(0o755)  # the server may run as another user
        yield folder


@asynccontextmanager
async def cloned(server_url: str) -> AsyncIterator[str]:
    """Yield a superuser's address of a fresh clone of the template, which is dropped afterwards.

    Args:
        server_url: a superuser's address of the server, which has the template.
    """
    name = f"test_{next(_numbers)}"
    server = await asyncpg.connect(server_url)
    await server.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
    url = server_url.rpartition("/")[0] + f"/{name}"
    clone = await asyncpg.connect(url)
    await bootstrap.prepare_database(clone, harden=False)  # the clone has the template's rights on functions
    await clone.execute(f"REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC")
    await clone.close()
    yield url
    await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await server.close()
