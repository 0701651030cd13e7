"""The wire: adds messages to those that asyncpg sends, in one write, so that all of them run in one round trip.

asyncpg has no pipeline. It takes an event loop, though, and writes each of its requests to the transport that the
loop gave it at once. So the loop that it gets here hands it a transport that passes everything on, and that can be
armed with messages to put before and after the next request. This uses no private part of asyncpg; what it relies on
is that a prepared statement is run by one write of Bind, Execute and Sync, and that results of more statements
than one are taken until ReadyForQuery. Where the first does not hold, the connection is dropped; tests hold both.

The messages are those of the PostgreSQL manual, "Message Formats". Messages up to one Sync are one transaction, unless
they begin or end one ("Pipelining").
"""

import asyncio
import struct
from collections.abc import Callable
from typing import Any, Final, cast

from db.errors import TenantryError

_SYNC: Final = b"S\0\0\0\x04"
_BIND: Final = ord("B")


class WireError(TenantryError):
    """asyncpg did not send what was to be added to. Nothing was sent; the connection was dropped."""

    kind = "unavailable"


def parsed_and_executed(text: str) -> bytes:
    """Return the messages that run SQL without parameters and results, by the unnamed statement."""
    return _message(b"P", b"\0" + text.encode() + b"\0\0\0") + executed("")


def executed(name: str, *parameters: str) -> bytes:
    """Return the messages that run a prepared statement.

    Args:
        name: the statement's.
        parameters: its parameters, all of text.
    """
    values = b"".join(_parameter(value.encode()) for value in parameters)
    bound = b"\0%b\0\0\0%b%b\0\0" % (name.encode(), struct.pack("!h", len(parameters)), values)
    return _message(b"B", bound) + _message(b"E", b"\0\0\0\0\0")


def _parameter(value: bytes) -> bytes:
    return struct.pack("!i", len(value)) + value


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


class Wire:
    """A transport that can add messages to asyncpg's next request.

    Args:
        transport: what it writes to.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._write = transport.write
        self._added: tuple[bytes, bytes] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def arm(self, before: bytes, after: bytes) -> None:
        """Add messages to the next request.

        Args:
            before: messages without Sync to put before it.
            after: messages without Sync to put after it.
        """
        self._added = (before, after)

    def disarm(self) -> bool:
        """Add nothing any more. Return whether a request was sent since `arm`."""
        sent = self._added is None
        self._added = None
        return sent

    def write(self, data: Any) -> None:
        """Write a request, with what is to be added.

        Raises:
            WireError: it is not the run of a prepared statement.
        """
        if self._added is None:
            self._write(data)
            return
        (before, after), self._added = self._added, None
        sent = bytes(data)
        if sent[0] != _BIND or not sent.endswith(_SYNC):
            self._transport.abort()
            raise WireError("asyncpg sent another message than expected")
        if after:
            sent = sent[: -len(_SYNC)] + after + _SYNC
        self._write(before + sent)


class WiredLoop:
    """An event loop whose connections are made of wires.

    Args:
        loop: the loop that does the work.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.create_future = loop.create_future

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_connection(self, factory: "_Factory", *args: Any, **options: Any) -> "_Connected":
        """Connect to a host, as the loop does."""
        return await self._wired(self._loop.create_connection, factory, *args, **options)

    async def create_unix_connection(self, factory: "_Factory", *args: Any, **options: Any) -> "_Connected":
        """Connect to a socket in the file system, as the loop does."""
        return await self._wired(self._loop.create_unix_connection, factory, *args, **options)

    async def start_tls(self, wire: Wire, protocol: asyncio.Protocol, *args: Any, **options: Any) -> Wire:
        """Encrypt a connection, as the loop does."""
        transport = await self._loop.start_tls(wire._transport, protocol, *args, **options)  # noqa: SLF001
        return Wire(cast("asyncio.Transport", transport))

    async def _wired(self, connect: Any, factory: "_Factory", *args: Any, **options: Any) -> "_Connected":
        _, first = await connect(lambda: _First(factory()), *args, **options)
        return first.wire, first.protocol


class _First(asyncio.Protocol):
    """The protocol of a connection until there is a transport, which it makes a wire of."""

    wire: Wire

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self.protocol = protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        made = cast("asyncio.Transport", transport)  # uvloop's is of another class
        self.wire = Wire(made)
        self.protocol.connection_made(cast("asyncio.Transport", self.wire))
        made.set_protocol(self.protocol)


_Factory = Callable[[], asyncio.Protocol]
_Connected = tuple[Wire, asyncio.Protocol]
