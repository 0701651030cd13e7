"""Strangers: random deliveries during the soak, and whether heartbeats and broker agree on what is in hand."""

import asyncio
import time
from contextlib import suppress
from itertools import islice
from typing import Final

import aio_pika
import asyncpg
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
_READY: Final = 500
"""Messages that may wait in the queues before more are sent."""
_HELD: Final = 3
"""Sign-ups that are kept in hand for a comparison."""
_BETWEEN: Final = 10.0
"""Seconds between two comparisons."""


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
        self._sending = asyncio.Lock()
        self._quiet_from = 0.0
        self.sent = 0
        self.junk = 0
        self.genuine: set[str] = set()
        self.compared = 0
        """How often broker and heartbeats agreed, both with nothing in hand and with sign-ups in hand."""
        self.samples = 0
        """How often they were looked at while messages came and went, with the same number before and after."""
        self.differed = 0
        """How often the two differed then, by chance."""
        self.wrong: list[str] = []

    def disturbed(self) -> None:
        """Note that a process was killed: until its heartbeat is too old to count, sides may differ."""
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
                async with self._sending:
                    await fuzz.publish(self._node.url, batch)
                await eventually(self._has_room, within=300, what="room in the queues")
                return
            await asyncio.sleep(0.5)

    async def _has_room(self) -> bool:
        return await self._ready() < _READY

    async def _ready(self) -> int:
        """Return the number of messages that wait in the queues."""
        async with await aio_pika.connect(self._node.url) as connection:
            channel = await connection.channel()
            queues = [await channel.declare_queue(queue.name, passive=True) for queue in topology.QUEUES]
            return sum(queue.declaration_result.message_count or 0 for queue in queues)

    async def watch(self) -> None:
        """Compare until cancelled."""
        owner = await asyncpg.connect(self._config.require("owner_database_url"))
        try:
            while True:
                await asyncio.sleep(_BETWEEN)
                with suppress(ProcessError, *CONNECTION_EXCEPTIONS):  # the broker is down
                    await self._compare(owner)
        finally:
            await owner.close()

    async def _compare(self, owner: asyncpg.Connection) -> None:
        """Compare the broker's count of unacknowledged messages with what heartbeats say is in hand.

        Neither is of the same moment as the other, and while messages come and go the two differ by chance. So
        nothing is sent meanwhile, and the two are compared twice: once the queues are empty, and while a lock keeps
        sign-ups in hand. Each time they must agree before a heartbeat is too old.
        """
        async with self._sending:
            if not await self._agree(owner, least=0):
                return
            async with owner.transaction():
                await owner.execute("LOCK TABLE shared.pending_admins IN SHARE MODE")
                signups = fuzz.signups(self._seed, f"held{self.compared}x", _HELD)
                await fuzz.publish(self._node.url, signups)
                self.genuine |= {one.slug for one in signups if one.slug}
                self.compared += await self._agree(owner, least=_HELD)

    async def _agree(self, owner: asyncpg.Connection, *, least: int) -> bool:
        """Wait until both count the same, and nothing waits in the queues; False if a kill came between.

        Args:
            owner: a connection to the ledger.
            least: what both must count at least.
        """
        empty_since: float | None = None
        while time.monotonic() > self._quiet_from:
            before = await self._in_hand(owner)
            count = await unacknowledged(self._node)
            after = await self._in_hand(owner)
            if empty_since and least <= before == count == after:
                return True
            now = time.monotonic()
            if await self._ready():
                empty_since = None
                if before == after:  # else the number was changing, and says nothing
                    self.samples += 1
                    self.differed += before != count
            elif empty_since is None:
                empty_since = now
            elif now - empty_since > self._config.heartbeat_timeout:
                self.wrong.append(
                    f"{count} unacknowledged at the broker, {before} in hand by heartbeats, {least} at least"
                )
                return False
        return False

    async def _in_hand(self, owner: asyncpg.Connection) -> int:
        return await heartbeats.count_in_hand(owner, silent_after=self._config.heartbeat_timeout)

    async def taken(self, *, within: float) -> None:
        """Wait until all that was sent is taken from the queues and settled.

        Args:
            within: seconds to wait at most.
        """

        async def empty() -> bool:
            with suppress(ProcessError, *CONNECTION_EXCEPTIONS):
                return not await self._ready() and not await unacknowledged(self._node)
            return False

        await eventually(empty, within=within, what="queues from which all was taken")

    async def compared_again(self, *, within: float) -> None:
        """Wait until the two were compared once more.

        Args:
            within: seconds to wait at most.
        """
        compared = self.compared

        async def again() -> bool:
            return self.compared > compared

        await eventually(again, within=within, what="comparing broker and heartbeats")

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
