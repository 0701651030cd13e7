"""ASGI and asyncpg without a framework, on one fixed schema."""

import gc
from typing import Any

import msgspec

from tests.benchmarks.ceilings.connections import Connections
from tests.benchmarks.ceilings.rows import READ, Row

_connections = Connections()
_encoder = msgspec.json.Encoder()


def app() -> Any:
    """Make the application."""
    return _answer


async def _answer(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    (row,) = await _connections.fetch(READ, int(scope["path"].rpartition("/")[2]))
    body = _encoder.encode(Row(*row))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _live(receive: Any, send: Any) -> None:
    await receive()
    await _connections.open((READ,))
    gc.collect()
    gc.freeze()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await _connections.close()
    await send({"type": "lifespan.shutdown.complete"})
