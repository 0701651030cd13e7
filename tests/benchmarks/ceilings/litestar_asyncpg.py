"""The ceiling: Litestar and asyncpg on one fixed schema. No tenants, no tokens, one prepared statement."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, get, patch, post

from tests.benchmarks.ceilings.connections import Connections
from tests.benchmarks.ceilings.rows import ADD, CHANGE, PAGE, READ, Body, Row
from tests.benchmarks.domain import BODY, PATH

_connections = Connections()


def app() -> Litestar:
    """Make the application."""
    return Litestar([read, page, add, change], lifespan=[_open], openapi_config=None, logging_config=None)


@asynccontextmanager
async def _open(_app: Litestar) -> AsyncIterator[None]:
    await _connections.open((READ, PAGE, ADD, CHANGE))
    gc.collect()
    gc.freeze()
    yield
    await _connections.close()


@get(PATH + "/{row_id:int}")
async def read(row_id: int) -> Any:
    (row,) = await _connections.fetch(READ, row_id)
    return Row(*row)


@get(PATH)
async def page(limit: int) -> Any:
    return {"items": [Row(*row) for row in await _connections.fetch(PAGE, limit)]}


@post(PATH)
async def add(data: Body) -> Any:
    (row,) = await _connections.write(ADD, *(getattr(data, name) for name in BODY))
    return Row(*row)


@patch(PATH + "/{row_id:int}")
async def change(row_id: int, data: Body) -> Any:
    (row,) = await _connections.write(CHANGE, row_id, *(getattr(data, name) for name in BODY))
    return Row(*row)
