"""Frames from the broker, without what strangers may have put into them.

Whoever may publish chooses a message's properties, headers and routing key. The AMQP library decodes them as it
reads a connection, and what it cannot decode (a table nested deeply, a delivery mode of 7, a name that is no
UTF-8) ends the connection, or loses the delivery without settling it. Of a message this program needs its body,
id and priority alone, so everything else is left out before the library sees it. Layouts are those of AMQP
0-9-1, sections 2.3.5, 4.2.5 and 4.2.6.
"""

import asyncio
import hashlib
import struct
from typing import Any, Final

import msgspec
from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory
from yarl import URL

_FRAME: Final = struct.Struct(">BHL")
_CONTENT: Final = struct.Struct(">HHQH")
_LENGTH: Final = struct.Struct(">L")
_METHOD_FRAME: Final = 1
_HEADER_FRAME: Final = 2
_BODY_FRAME: Final = 3
_DELIVER: Final = struct.pack(">HH", 60, 60)
_END: Final = b"\xce"
_UNNAMED: Final = b"\0\0"
"""An empty exchange and an empty routing key."""

_PRIORITY: Final = 1 << 11
_CORRELATION_ID: Final = 1 << 10
_MESSAGE_ID: Final = 1 << 7
_TABLE, _STRING = 0, -1
# The properties up to the message's id, in their order: flag, and length in bytes or kind.
_PROPERTIES: Final = (
    (1 << 15, _STRING),
    (1 << 14, _STRING),
    (1 << 13, _TABLE),
    (1 << 12, 1),
    (_PRIORITY, 1),
    (_CORRELATION_ID, _STRING),
    (1 << 9, _STRING),
    (1 << 8, _STRING),
    (_MESSAGE_ID, _STRING),
)


def delivery(payload: bytes) -> bytes:
    """Return a method's payload; that of a ``basic.deliver`` without exchange and routing key."""
    if not payload.startswith(_DELIVER):
        return payload
    end = len(_DELIVER) + 1 + payload[len(_DELIVER)] + 9  # consumer tag, delivery tag, redelivered
    return payload[:end] + _UNNAMED


def header(payload: bytes) -> bytes:
    """Return a content header's payload with the message's priority and id alone, as far as they are readable."""
    class_id, weight, size, flags = _CONTENT.unpack_from(payload)
    found = {} if flags & 1 else _properties(payload, flags)
    kept = sum(found)
    return _CONTENT.pack(class_id, weight, size, kept) + b"".join(found.values())


def _properties(payload: bytes, flags: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = _CONTENT.size
    try:
        for flag, kind in _PROPERTIES:
            if not flags & flag:
                continue
            start = at
            if kind == _TABLE:
                at += _LENGTH.size + _LENGTH.unpack_from(payload, at)[0]
            else:
                at += 1 + payload[at] if kind == _STRING else kind
            if flag in {_PRIORITY, _MESSAGE_ID} and at <= len(payload):
                value = payload[start:at]
                value[kind == _STRING :].decode() if flag == _MESSAGE_ID else None
                found[flag] = value
    except (struct.error, IndexError, UnicodeDecodeError):
        pass  # truncated, or an id that is no text: as if it were not there
    return found


KEPT: Final = 1024
"""How many bytes are kept of a body above the limit: its first ones."""


class TooLarge(msgspec.Struct, frozen=True):
    """A message whose body is above the limit, and was not received whole.

    Args:
        size: the body's size in bytes.
        sha256: the body's hash, in hexadecimal.
    """

    size: int
    sha256: str


def too_large(correlation_id: str | None) -> TooLarge | None:
    """Return what a received message's correlation id says of its body, or None if that is there as a whole."""
    if correlation_id is None:
        return None
    size, _, digest = correlation_id.partition(":")
    return TooLarge(int(size), digest)


class Oversized:
    """A body above the limit, of which the first bytes, the size and the hash are kept.

    Args:
        header: the content header's payload, stripped.
    """

    def __init__(self, header: bytes) -> None:
        self._class, self._weight, self._size, self._flags = _CONTENT.unpack_from(header)
        self._properties = header[_CONTENT.size :]
        self._hash = hashlib.sha256()
        self._first = b""
        self._seen = 0

    def add(self, part: bytes) -> bool:
        """Take a part of the body. Return True if it was the last."""
        self._seen += len(part)
        self._hash.update(part)
        self._first = (self._first + part[:KEPT])[:KEPT]
        return bool(self._seen >= self._size)

    @property
    def payloads(self) -> tuple[bytes, bytes]:
        """The payloads of a content header and a body frame, with what is kept."""
        note = f"{self._size}:{self._hash.hexdigest()}".encode()
        # In the properties' order: the priority, the correlation id, the message's id.
        cut = 1 if self._flags & _PRIORITY else 0
        properties = self._properties[:cut] + bytes([len(note)]) + note + self._properties[cut:]
        start = _CONTENT.pack(self._class, self._weight, len(self._first), self._flags | _CORRELATION_ID)
        return start + properties, self._first


class Frames(asyncio.StreamReader):
    """Reads whole frames from the broker and gives them on, stripped.

    Args:
        source: what the broker sends.
        limit: the largest body that is given on whole, in bytes.
    """

    def __init__(self, source: asyncio.StreamReader, limit: int) -> None:
        super().__init__()
        self._source = source
        self._body_limit = limit
        self._oversized: dict[int, Oversized] = {}
        self._read = bytearray()

    def at_eof(self) -> bool:
        return not self._read and self._source.at_eof()

    async def readexactly(self, n: int) -> bytes:
        """Return the next ``n`` bytes.

        Raises:
            asyncio.IncompleteReadError: the connection ended before.
        """
        while len(self._read) < n:
            self._read += await self._next()
        data = bytes(self._read[:n])
        del self._read[:n]
        return data

    async def _next(self) -> bytes:
        """Return the next frame, or the eight bytes by which a broker refuses the protocol's version."""
        start = await self._source.readexactly(_FRAME.size)
        if start.startswith(b"AMQP"):
            return start + await self._source.readexactly(1)
        kind, channel, size = _FRAME.unpack(start)
        rest = await self._source.readexactly(size + 1)
        payload = rest[:-1]
        if kind == _METHOD_FRAME:
            return _frame(kind, channel, delivery(payload))
        if kind == _HEADER_FRAME:
            return self._header(channel, header(payload))
        if kind == _BODY_FRAME and channel in self._oversized:
            return self._cut(channel, payload)
        return start + rest

    def _header(self, channel: int, plain: bytes) -> bytes:
        """Return a content header's frame, or nothing yet if the body is above the limit."""
        if _CONTENT.unpack_from(plain)[2] <= self._body_limit:
            return _frame(_HEADER_FRAME, channel, plain)
        self._oversized[channel] = Oversized(plain)
        return b""

    def _cut(self, channel: int, part: bytes) -> bytes:
        """Return nothing for a part of a body above the limit, and for the last one what is kept of it."""
        body = self._oversized[channel]
        if not body.add(part):
            return b""
        del self._oversized[channel]
        head, first = body.payloads
        return _frame(_HEADER_FRAME, channel, head) + _frame(_BODY_FRAME, channel, first)


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return _FRAME.pack(kind, channel, len(payload)) + payload + _END


class StrippedTransport(TransportFactory):
    """Opens connections whose frames come through `Frames`.

    Args:
        limit: the largest body that is given on whole, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        plain = TLSTransportFactory() if url.scheme == "amqps" else TCPTransportFactory()
        reader, writer = await plain.create(url, **kwargs)
        return Frames(reader, self._limit), writer
