"""Strangers: random deliveries during the soak, and whether heartbeats and broker agree on what is in hand."""

import asyncio
import time
from collections import deque
from contextlib import suppress
from itertools import islice
from typing import Final

import aio_pika
import asyncpg
import msgspec
from aio_pika.exceptions import CONNECTION_EXCEPTIONS

from db.ledger import heartbeats
from db.local.processes.process import ProcessError
from db.local.servers.rabbitmq import RabbitNode
from db.settings import Settings
from provisioner import topology
from tests import fuzz
from tests.broker import unacknowledged
from tests.fuzz import Sent
from tests.support import eventually

_GENUINE: Final = 0.002
_READY: Final = 2_000
"""Messages that may wait in the queues before more are sent."""
_SPAN: Final = 3
"""Looks that are compared together."""


class Look(msgspec.Struct, frozen=True):
    """The broker's count of unacknowledged messages, and the least and most that heartbeats said around it."""

    unacknowledged: int
    least: int
    most: int


def disagree(looks: deque[Look]) -> bool:
    """Return whether looks in a row show that broker and heartbeats count different things.

    A heartbeat is as old as its interval, so that one look may differ. But what neither side settles stays: then
    all that one side said in a row is above all that the other said.
    """
    counts = [look.unacknowledged for look in looks]
    return len(looks) == _SPAN and (
        min(counts) > max(look.most for look in looks) or max(counts) < min(look.least for look in looks)
    )


class Strangers:
    """Sends random messages and watches what is in hand.

    Args:
        config: the provisioners' settings.
        node: the broker.
        seed: of the messages.
        count: how many to send.
    """

    def __init__(self, config: Settings, node: RabbitNode, *, seed: int, count: int) -> None:
        self._config = config
        self._node = node
        self._seed = seed
        self._count = count
        self._looks: deque[Look] = deque(maxlen=_SPAN)
        self._quiet_from = 0.0
        self.sent = 0
        self.junk = 0
        self.genuine: set[str] = set()
        self.compared = 0
        self.wrong: list[str] = []

    def disturbed(self) -> None:
        """Note that a process was killed: until its heartbeat is too old to count, sides may differ."""
        self._looks.clear()
        self._quiet_from = time.monotonic() + self._config.heartbeat_timeout + 1

    async def send(self) -> None:
        """Send all messages, no faster than they are taken; a batch that the broker did not confirm again."""
        messages = islice(fuzz.messages(self._seed, genuine=_GENUINE), self._count)
        while batch := list(islice(messages, fuzz.BATCH)):
            await self._insist(batch)
            self.sent += len(batch)
            self.genuine |= {one.slug for one in batch if one.slug}
            self.junk += sum(one.slug is None for one in batch)

    async def _insist(self, batch: list[Sent]) -> None:
        while True:
            with suppress(*CONNECTION_EXCEPTIONS):
                await fuzz.publish(self._node.url, batch)
                await eventually(self._has_room, within=300, what="room in the queues")
                return
            await asyncio.sleep(0.5)

    async def _has_room(self) -> bool:
        async with await aio_pika.connect(self._node.url) as connection:
            channel = await connection.channel()
            queues = [await channel.declare_queue(queue.name, passive=True) for queue in topology.QUEUES]
            return sum(queue.declaration_result.message_count or 0 for queue in queues) < _READY

    async def watch(self) -> None:
        """Look until cancelled."""
        owner = await asyncpg.connect(self._config.require("owner_database_url"))
        try:
            while True:
                await self._look(owner)
        finally:
            await owner.close()

    async def _look(self, owner: asyncpg.Connection) -> None:
        await asyncio.sleep(self._config.heartbeat_interval)
        silent = self._config.heartbeat_timeout
        before = await heartbeats.count_in_hand(owner, silent_after=silent)
        try:
            count = await unacknowledged(self._node)
        except ProcessError:
            self.disturbed()  # the broker is down
            return
        after = await heartbeats.count_in_hand(owner, silent_after=silent)
        if time.monotonic() < self._quiet_from:
            return
        self._looks.append(Look(count, min(before, after), max(before, after)))
        self.compared += 1
        if disagree(self._looks):
            self.wrong.append(f"broker and heartbeats disagree on what is in hand: {list(self._looks)}")

    async def verify(self, owner: asyncpg.Connection) -> None:
        """Add to `wrong` what was not parked once, not answered, or stayed unsettled at the broker."""
        parked = await owner.fetchval("SELECT count(*) FROM shared.messages WHERE type = 'unknown'")
        if parked != self.junk:
            self.wrong.append(f"{self.junk} messages of no sense, {parked} parked")
        rows = await owner.fetch(
            "SELECT slug FROM shared.tenants WHERE slug = ANY($1) AND status = 'active'", list(self.genuine)
        )
        if len(rows) != len(self.genuine):
            self.wrong.append(f"{len(self.genuine)} genuine sign-ups among them, {len(rows)} active")
        if left := await unacknowledged(self._node):
            self.wrong.append(f"{left} deliveries are unsettled")
        await eventually(self._has_compared, within=60, what="comparing broker and heartbeats")

    async def _has_compared(self) -> bool:
        return self.compared >= _SPAN
