"""LISTEN on a separate connection that is replaced if it is lost.

Payloads are empty, because any session can listen (PostgreSQL manual, NOTIFY), tenants' roles included.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Final

import asyncpg
import structlog

from db.errors import TenantryError
from db.session import address

log = structlog.get_logger(__name__)

REGISTRY: Final = "tenantry_registry"
"""Channel: an active tenant, a host or a token has changed, so that what is remembered of it may be wrong."""

PROGRESS: Final = "tenantry_progress"
"""Channel: a tenant is new or has changed."""

LEDGER: Final = "tenantry_ledger"
"""Channel: messages are new or pending again, or a switch was changed."""

_LISTENS: Final = "SELECT $1::text[] <@ ARRAY(SELECT pg_catalog.pg_listening_channels())"

_TIMEOUT: Final = 5.0
"""Most seconds to connect, or to wait for one answer."""
_RECONNECT: Final = 0.5
"""Seconds between tries to listen again."""


class Listener:
    """Calls functions on notifications, and whenever one may have been missed.

    Args:
        url: the login's address.
        heard: what is called on each notification, by channel; all of them each time a connection begins or ends.
        probe: seconds between checks that the connection still answers.
    """

    def __init__(self, url: str, heard: Mapping[str, Callable[[], None]], *, probe: float) -> None:
        self._url = url
        self._heard = heard
        self._probe = probe
        self.listening = False
        """Whether the connection listens now, so that no notification is missed."""

    async def run(self) -> None:
        """Listen until cancelled. Replace the connection if it is lost."""
        while True:
            try:
                await self._listen()
            except (
                OSError,
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                asyncpg.InternalClientError,
                TenantryError,
            ) as error:
                told = str(error) if isinstance(error, TenantryError) else repr(error)
                log.warning("not listening", channels=[*self._heard], error=told)
            self._call_all()
            await asyncio.sleep(_RECONNECT)

    async def _listen(self) -> None:
        connection = await address.connect(self._url, timeout=_TIMEOUT)
        try:
            gone = asyncio.Event()
            connection.add_termination_listener(lambda *_: gone.set())
            for channel, heard in self._heard.items():
                await connection.add_listener(channel, partial(_call, heard))
            self._call_all()
            self.listening = True
            while not gone.is_set():
                # A half-open connection reports no error until something is sent. And a pooler whose mode was
                # changed may have put the connection through to a session that does not listen.
                listens = await connection.fetchval(_LISTENS, [*self._heard], timeout=_TIMEOUT)
                if not listens:
                    raise ConnectionError("the session does not listen")
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._probe):
                        await gone.wait()
        finally:
            self.listening = False
            connection.terminate()

    def _call_all(self) -> None:
        for heard in self._heard.values():
            heard()


def _call(heard: Callable[[], None], *_: object) -> None:
    heard()
