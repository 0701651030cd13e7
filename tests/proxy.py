"""A TCP proxy on loopback that can be told to misbehave, between a program and its server."""

import asyncio
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, Literal

from yarl import URL

Direction = Literal["up", "down"]
"""Up is from the client to the server."""
Method = tuple[int, int]

DELIVER: Final[Method] = (60, 60)
ACK: Final[Method] = (60, 80)
"""From a consumer: settled. From the broker: confirmed (AMQP 0-9-1, basic.ack)."""

_HEADER: Final = struct.Struct(">BHL")
_METHOD_FRAME: Final = 1


class Proxy:
    """Passes everything on, until told otherwise.

    Args:
        port: the server's, on loopback.
        amqp: whether to pass whole AMQP frames on, so that single ones can be swallowed.
    """

    def __init__(self, port: int, *, amqp: bool) -> None:
        self._target = port
        self._amqp = amqp
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self.swallowed: Counter[Method] = Counter()
        """How many frames of each method were swallowed."""
        self.swallowing: set[tuple[Direction, Method]] = set()
        """AMQP methods that do not pass."""
        self.delay = 0.0
        """Seconds that each piece waits before it is passed on."""
        self.on_data: Callable[[Direction, bytes], None] = lambda *_: None
        """Sees each piece before it is passed on."""

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def through(self, url: str) -> str:
        """Return an address of the server's, by way of this proxy."""
        return str(URL(url).with_host("127.0.0.1").with_port(self.port))

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return len(self._links)

    def freeze(self) -> int:
        """Let what is open now stay open and pass nothing any more, as after a lost route; count them.

        New connections pass.
        """
        for link in self._links:
            link.frozen = True
        return len(self._links)

    def mute(self, direction: Direction) -> None:
        """Let nothing pass in one direction of what is open now."""
        for link in self._links:
            link.muted.add(direction)

    def cut(self) -> int:
        """Reset what is open now; count them."""
        links = list(self._links)
        for link in links:
            link.abort()
        return len(links)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, server[1])
        self._links.add(link)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(link, "up", reader, server[1]))
                group.create_task(self._pass(link, "down", server[0], writer))
        finally:
            self._links.discard(link)
            link.abort()

    async def _pass(
        self, link: "_Link", direction: Direction, source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            async for data in self._pieces(direction, source):
                self.on_data(direction, data)
                if self.delay:
                    await asyncio.sleep(self.delay)
                if link.frozen or direction in link.muted or self._swallows(direction, data):
                    continue
                sink.write(data)
                await sink.drain()
        if not link.frozen:
            link.abort()

    async def _pieces(self, direction: Direction, source: asyncio.StreamReader) -> AsyncIterator[bytes]:
        if not self._amqp:
            while data := await source.read(65536):
                yield data
            return
        if direction == "up":
            yield await source.readexactly(8)  # the protocol header
        while True:
            header = await source.readexactly(_HEADER.size)
            yield header + await source.readexactly(_HEADER.unpack(header)[2] + 1)

    def _swallows(self, direction: Direction, frame: bytes) -> bool:
        if not self.swallowing or frame[0] != _METHOD_FRAME:
            return False
        method: Method = struct.unpack_from(">HH", frame, _HEADER.size)
        if (direction, method) not in self.swallowing:
            return False
        self.swallowed[method] += 1
        return True


class _Link:
    """One client's connection and the server's that belongs to it."""

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self._writers = writers
        self.frozen = False
        self.muted: set[Direction] = set()

    def abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def proxied(port: int, *, amqp: bool = False) -> AsyncIterator[Proxy]:
    """A proxy in front of a server's port."""
    proxy = Proxy(port, amqp=amqp)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(proxy._accept(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    proxy._server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield proxy
    finally:
        proxy._server.close()
        proxy.cut()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
