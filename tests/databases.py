"""Databases of their own for tests, cloned from the template that the run has bootstrapped."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from db import bootstrap

TEMPLATE = "tenantry_template"

_numbers = itertools.count(1)


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
