"""A TCP proxy on loopback that stands between a program and its server, and can be made to fail."""

import asyncio
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, Literal

from yarl import URL

Direction = Literal["up", "down"]
"""``up`` is from the client to the server, ``down`` from the server to the client."""
Method = tuple[int, int]

ACK: Final[Method] = (60, 80)
"""A consumer sends it to settle a message, the broker to confirm one (AMQP 0-9-1, basic.ack)."""

_HEADER: Final = struct.Struct(">BHL")
_METHOD_FRAME: Final = 1


class Proxy:
    """Passes all data on, until a test tells it to fail.

    Args:
        port: the server's port on loopback.
        amqp: whether to pass on whole AMQP frames, so that single frames can be swallowed.
    """

    def __init__(self, port: int, *, amqp: bool) -> None:
        self._target = port
        self._amqp = amqp
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self.swallowed: Counter[Method] = Counter()
        """The number of swallowed frames by method."""
        self.swallowing: set[tuple[Direction, Method]] = set()
        """The AMQP methods to swallow, with their directions."""
        self.delay = 0.0
        """Seconds to wait before each piece of data is passed on."""
        self.on_data: Callable[[Direction, bytes], None] = lambda *_: None
        """Called with each piece of data before it is passed on."""

    @property
    def port(self) -> int:
        """The port on which the proxy listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def through(self, url: str) -> str:
        """Return ``url`` with its host and port replaced by the proxy's."""
        return str(URL(url).with_host("127.0.0.1").with_port(self.port))

    @property
    def connections(self) -> int:
        """The number of connections that are open now."""
        return len(self._links)

    def freeze(self) -> int:
        """Pass nothing more on the connections that are open now, but keep them open, as after a lost route.

        New connections work. Return the number of frozen connections.
        """
        for link in self._links:
            link.frozen = True
        return len(self._links)

    def mute(self, direction: Direction) -> None:
        """Pass nothing more in one direction on the connections that are open now."""
        for link in self._links:
            link.muted.add(direction)

    def cut(self) -> int:
        """Reset the connections that are open now, and return their number."""
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
    """A client's connection to the proxy, with the proxy's connection to the server."""

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self._writers = writers
        self.frozen = False
        self.muted: set[Direction] = set()

    def abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def proxied(port: int, *, amqp: bool = False) -> AsyncIterator[Proxy]:
    """Run a proxy in front of a server's port, and yield it."""
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
