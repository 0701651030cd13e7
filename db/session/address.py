"""Addresses of PostgreSQL, as libpq writes them (PostgreSQL manual, Connection URIs), and connections to them.

All connections are made from addresses by asyncpg, so that what one program accepts, all do: several hosts,
``sslmode``, ``application_name``, IPv6, sockets in the path of a host or in ``?host=``.
"""

import ssl
from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from db.errors import InvalidValueError
from db.session import pooler

_LOGIN: Final = frozenset({"user", "password", "passfile"})
_DATABASE: Final = frozenset({"dbname", "database"})


class AddressError(InvalidValueError):
    """An address that does not say what is needed of it."""

    def __init__(self, message: str) -> None:
        super().__init__("address", message)


async def open_connection(url: str, **options: Any) -> Any:
    """Open a connection without a look at what is between; pools connect by this.

    Args:
        url: the address.
        options: of ``asyncpg.connect``.

    Raises:
        AddressError: the address, or the server's certificate, does not allow a connection.
    """
    try:
        return await asyncpg.connect(url, **options)
    except ssl.SSLCertVerificationError as error:
        raise AddressError(
            f"the certificate of PostgreSQL's server is refused: {error.verify_message.rstrip('.')}:"
            " see the host, sslmode and sslrootcert in the address"
        ) from error
    except asyncpg.ClientConfigurationError as error:
        raise AddressError(str(error)) from error
    except asyncpg.ProtocolViolationError as error:
        if "startup parameter" not in str(error):
            raise
        raise AddressError(f"{error}: let the pooler pass it, by its ignore_startup_parameters") from error
    except ConnectionError as error:
        if "rejected SSL upgrade" not in str(error):
            raise
        raise AddressError(f"{error}: it has no TLS, which sslmode in the address asks for") from error


async def connect(
    url: str,
    *,
    server_settings: Mapping[str, str] | None = None,
    timeout: float = 60,  # noqa: ASYNC109 - asyncpg's own
) -> pooler.Plain:
    """Open a connection that is a session of its own, whatever is between it and PostgreSQL.

    Args:
        url: the address.
        server_settings: settings of the session; they go before those in the address.
        timeout: seconds that connecting may take.

    Raises:
        AddressError: the address, or the server's certificate, does not allow a connection.
        PooledError: a pooler is between that gives each transaction another server connection.
    """
    settings = dict(server_settings or {})
    connection: pooler.Plain = await open_connection(url, server_settings=settings, timeout=timeout)
    try:
        if await pooler.check(connection, url):  # which may have ignored the settings
            for name, value in settings.items():
                await connection.execute("SELECT pg_catalog.set_config($1, $2, false)", name, value)
    except BaseException:
        connection.terminate()
        raise
    return connection


def engine(url: str, server_settings: Mapping[str, str]) -> AsyncEngine:
    """Return SQLAlchemy's engine for an address, which connects each time anew, as `connect` does.

    Args:
        url: the address.
        server_settings: settings of the sessions; they go before those in the address.
    """
    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=partial(connect, url, server_settings=server_settings),
        poolclass=NullPool,
        hide_parameters=True,  # errors go to the ledger and to terminals
    )


def database(url: str) -> str:
    """Return the name of an address's database.

    Raises:
        AddressError: the address names none.
    """
    parts = urlsplit(url)
    found = [value for key, value in parse_qsl(parts.query) if key in _DATABASE]
    name = found[-1] if found else unquote(parts.path.removeprefix("/"))
    if not name:
        raise AddressError("the address names no database: write postgresql://user@host/DATABASE")
    return name


def with_database(url: str, name: str) -> str:
    """Return ``url`` with another database."""
    parts = _without(url, _DATABASE)
    return urlunsplit(urlsplit(parts)._replace(path=f"/{quote(name, safe='')}"))


def with_login(url: str, user: str, password: str) -> str:
    """Return ``url`` with another user and password; its own are nowhere in it."""
    parts = urlsplit(_without(url, _LOGIN))
    hosts = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{hosts}"))


def login(url: str) -> tuple[str | None, str | None]:
    """Return the user and the password of an address, wherever it has them."""
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query))
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    return given.get("user") or unquote(user) or None, given.get("password") or unquote(password) or None


def _without(url: str, keys: frozenset[str]) -> str:
    """Return ``url`` without some of its parameters."""
    parts = urlsplit(url)
    kept = [(key, value) for key, value in parse_qsl(parts.query, keep_blank_values=True) if key not in keys]
    return urlunsplit(parts._replace(query=urlencode(kept, quote_via=quote)))
