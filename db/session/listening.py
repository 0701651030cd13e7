"""Listening: a connection of its own that hears NOTIFY, kept up for as long as somebody wants to hear.

Payloads are empty: whoever is connected can listen (PostgreSQL manual, NOTIFY), and so tenants' roles can.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import asyncpg
import structlog

log = structlog.get_logger(__name__)

REGISTRY: Final = "tenantry_registry"
"""Tenants, hosts or tokens have changed."""

LEDGER: Final = "tenantry_ledger"
"""There are new messages, or some that are pending again; or a switch was thrown."""

_TIMEOUT: Final = 10.0
"""Seconds that connecting, or one answer, may take."""
_RECONNECT: Final = 0.5
"""Seconds between tries to listen again."""


class Listener:
    """Calls back on each notification, and whenever one may have been missed.

    Args:
        url: the login's address.
        name: what to listen for: `REGISTRY` or `LEDGER`.
        heard: called on each notification, and each time a connection begins or ends.
        probe: seconds between looks whether the connection still answers.
    """

    def __init__(self, url: str, name: str, heard: Callable[[], None], *, probe: float) -> None:
        self._url = url
        self._name = name
        self._heard = heard
        self._probe = probe
        self.listening = False
        """Whether every notification is heard now."""

    async def run(self) -> None:
        """Listen until cancelled; a connection that is lost is replaced."""
        while True:
            try:
                await self._listen()
            except (
                OSError,
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                asyncpg.InternalClientError,
            ) as error:
                log.warning("not listening", name=self._name, error=repr(error))
            self._heard()
            await asyncio.sleep(_RECONNECT)

    async def _listen(self) -> None:
        connection = await asyncpg.connect(self._url, timeout=_TIMEOUT)
        try:
            gone = asyncio.Event()
            connection.add_termination_listener(lambda *_: gone.set())
            await connection.add_listener(self._name, lambda *_: self._heard())
            self._heard()
            self.listening = True
            while not gone.is_set():
                # A half-open connection says nothing: ask it now and then.
                await connection.execute("SELECT 1", timeout=_TIMEOUT)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._probe):
                        await gone.wait()
        finally:
            self.listening = False
            connection.terminate()
