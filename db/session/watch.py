"""A watch over what is between the API and PostgreSQL: a pooler's mode may be changed while it runs."""

import asyncio
from typing import Final

import asyncpg

from db.session import address
from db.session.address import AddressError
from db.session.pooler import PooledError
from db.session.tenancy import Database

_TIMEOUT: Final = 5.0
"""Most seconds to connect."""
_RECHECK: Final = 1.0
"""Most seconds between looks while requests are refused."""


class Watch:
    """Has requests refused while connections are no sessions of their own.

    Args:
        database: the API's connections.
        url: the address of the API's login.
        every: seconds between looks.
    """

    def __init__(self, database: Database, url: str, *, every: float) -> None:
        self._database = database
        self._url = url
        self._every = every

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            refused = self._database.refused is not None
            await asyncio.sleep(min(self._every, _RECHECK) if refused else self._every)
            await self.look()

    async def look(self) -> None:
        """Look once, on a connection of its own. If PostgreSQL cannot be reached, that decides nothing."""
        try:
            connection = await address.connect(self._url, timeout=_TIMEOUT)
        except PooledError as error:
            self._database.refuse(error)
        except (
            OSError,
            AddressError,
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
        ):
            return  # the listener says so
        else:
            connection.terminate()
            self._database.accept()
