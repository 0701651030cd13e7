"""Messages in the queue that the relay did not send: copies, forgeries and rubbish."""

import asyncio
import hashlib
from uuid import uuid4

import aio_pika
import asyncpg
import pytest
from aio_pika.abc import AbstractChannel
from msgspec.structs import replace

from db.ledger.contracts import Migrate
from db.migrations.lineages import lineage
from db.settings import Settings
from db.tenants import registry
from provisioner import topology
from tests.flows import event
from tests.invariants import Healed
from tests.listener import waiting
from tests.support import becomes, eventually, one, provisioning, requested, serving, sign_up, status

pytestmark = pytest.mark.rabbitmq


async def slip_in(channel: AbstractChannel, body: bytes, message_id: str | None = None) -> None:
    """Publish straight to the exchange of commands."""
    exchange = await channel.get_exchange(topology.COMMANDS, ensure=False)
    message = aio_pika.Message(body, message_id=message_id, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    await exchange.publish(message, topology.COMMANDS_KEY, mandatory=True)


async def test_ten_copies_at_once_have_one_effect(
    rabbit_config: Settings, owner: asyncpg.Connection, channel: AbstractChannel, healed: Healed
) -> None:
    await topology.declare(channel)
    async with serving(rabbit_config) as api:
        tenant = await requested(api, "bakery")
        command = await owner.fetchrow("SELECT id, payload FROM shared.messages WHERE kind = 'command'")
        assert command is not None
        copies = (slip_in(channel, command["payload"].encode(), str(command["id"])) for _ in range(10))
        await asyncio.gather(*copies)
        assert await waiting(channel) == 10
        async with provisioning(rabbit_config), provisioning(rabbit_config):
            await becomes(api, tenant, "active")
            await healed(amqp_url=rabbit_config.amqp_url)
    assert await owner.fetchval("SELECT count(*) FROM shared.messages WHERE status = 'parked'") == 0


async def test_a_migration_that_arrives_before_its_provision_is_done_after_it(
    rabbit_config: Settings, owner: asyncpg.Connection, channel: AbstractChannel, healed: Healed
) -> None:
    await topology.declare(channel)
    async with serving(rabbit_config) as api:
        tenant = await requested(api, "bakery")
        # The provision is not due for long; the migration's delivery is in the queue already.
        await owner.execute("UPDATE shared.messages SET available_at = now() + interval '1 hour'")
        registered = await registry.get_named(owner, "bakery")
        assert registered is not None
        head = lineage("tenant", rabbit_config.alembic_config).head
        migration = await registry.tell(owner, registered, Migrate(tenant_id=registered.id, revision=head))
        await slip_in(channel, migration.payload, str(migration.id))
        async with provisioning(rabbit_config):

            async def given_back() -> bool:
                row = await one(owner, "SELECT * FROM shared.messages WHERE id = $1", migration.id)
                return bool(row["available_at"] > row["created_at"] and row["status"] == "pending")

            await eventually(given_back, what="the early delivery given back")
            assert await status(api, tenant) == "pending"
            await owner.execute("UPDATE shared.messages SET available_at = now()")
            await becomes(api, tenant, "active")

            async def handled() -> bool:
                row = await one(owner, "SELECT * FROM shared.messages WHERE id = $1", migration.id)
                return tuple(row[name] for name in ("status", "attempts")) == ("handled", 1)

            await eventually(handled, what="the migration handled")
            await healed(amqp_url=rabbit_config.amqp_url)


UNKNOWN = str(uuid4())
RUBBISH: dict[str, tuple[bytes, str | None]] = {
    "bad JSON": (b"{not json", UNKNOWN),
    "an unknown type": (
        b'{"specversion": "1.0", "id": "1", "source": "x", "type": "tenant.flatten"}',
        UNKNOWN,
    ),
    "a wrong schema": (b'{"type": "tenant.provision", "data": {"tenant_id": 17}}', UNKNOWN),
    "as much as is taken in": (b"x" * Settings().message_limit, UNKNOWN),
    "no message id": (b'{"forged": true}', None),
    "an id that is none": (b'{"forged": 1}', "'; DROP TABLE shared.messages; --"),
    "nothing at all": (b"", None),
    "bytes that are no text": (bytes(range(256)), "\N{SNOWMAN}"),
}


async def test_rubbish_is_parked_once_and_the_consumer_lives_on(
    rabbit_config: Settings, owner: asyncpg.Connection, channel: AbstractChannel, healed: Healed
) -> None:
    async with serving(rabbit_config) as api, provisioning(rabbit_config):
        await sign_up(api, "before")
        for body, message_id in RUBBISH.values():
            for _ in range(2):
                await slip_in(channel, body, message_id)

        async def parked() -> bool:
            rows = await owner.fetch(
                "SELECT type, status, error_class, raw_body FROM shared.messages WHERE status = 'parked'"
            )
            assert {tuple(row)[:3] for row in rows} == {("unknown", "parked", "unknown")}
            assert sorted(row["raw_body"] for row in rows) == sorted(body for body, _ in RUBBISH.values())
            return True

        await eventually(parked, within=60, what="everything parked")
        await sign_up(api, "after")
        await healed(amqp_url=rabbit_config.amqp_url)


async def test_a_body_above_the_limit_is_parked_once_with_its_start_size_and_hash(
    rabbit_config: Settings, owner: asyncpg.Connection, channel: AbstractChannel, healed: Healed
) -> None:
    await topology.declare(channel)
    config = replace(rabbit_config, message_limit=1024)
    # Two that begin alike, each sent twice to each of the queues; the first is a sign-up that would be valid.
    bodies = [event("1", name="Shop").ljust(10_000_000), event("1", name="Shop").ljust(1025)]
    for name, key in ((topology.SIGNUP, topology.SIGNUP_KEY), (topology.COMMANDS, topology.COMMANDS_KEY)):
        exchange = await channel.get_exchange(name)
        for body in bodies * 2:
            await exchange.publish(aio_pika.Message(body, correlation_id="0:00", priority=3), key)
    dead = await channel.get_exchange(topology.DEAD)
    await dead.publish(aio_pika.Message(bodies[0]), "")
    async with serving(config) as api, provisioning(config):
        await sign_up(api, "bakery")

        async def parked() -> bool:
            rows = await owner.fetch("SELECT * FROM shared.messages WHERE type = 'unknown'")
            assert {row["body_hash"] for row in rows} == {hashlib.sha256(body).digest() for body in bodies}
            assert [(row["status"], row["error_class"]) for row in rows] == [("parked", "too_large")] * 2
            assert {row["raw_body"] for row in rows} == {bodies[0][:1024]}
            return all("above MESSAGE_LIMIT" in row["last_error"] for row in rows)

        await eventually(parked, within=60, what="both parked")
        await healed(amqp_url=config.amqp_url)
        assert await owner.fetchval("SELECT count(*) FROM shared.tenants") == 1


async def test_a_forged_message_with_the_id_of_a_handled_command_does_nothing(
    rabbit_config: Settings, owner: asyncpg.Connection, channel: AbstractChannel, healed: Healed
) -> None:
    async with serving(rabbit_config) as api, provisioning(rabbit_config):
        await sign_up(api, "bakery")
        await sign_up(api, "victim")
        await healed(amqp_url=rabbit_config.amqp_url)
        everything = (
            "SELECT (SELECT json_agg(t) FROM shared.tenants t), (SELECT json_agg(m) FROM shared.messages m)"
        )
        before = await owner.fetchrow(everything)
        (handled, _) = await owner.fetch("SELECT id FROM shared.messages WHERE kind = 'command' ORDER BY id")
        forged = b'{"type": "tenant.purge", "data": {"tenant_id": "%s"}}' % str(uuid4()).encode()
        await slip_in(channel, forged, str(handled["id"]))
        await sign_up(api, "behind")  # came after it, so it has been dealt with
        await healed(amqp_url=rabbit_config.amqp_url)
        await owner.execute("DELETE FROM shared.messages WHERE payload ->> 'subject' = 'behind'")
        after = await owner.fetchrow(everything.replace("tenants t", "tenants t WHERE slug <> 'behind'"))
        assert after == before


async def test_a_forged_body_under_the_id_of_an_open_command_is_not_read(
    rabbit_config: Settings, owner: asyncpg.Connection, channel: AbstractChannel, healed: Healed
) -> None:
    await topology.declare(channel)
    async with serving(rabbit_config) as api:
        tenant = await requested(api, "bakery")
        command = await owner.fetchval("SELECT id FROM shared.messages WHERE kind = 'command'")
        await slip_in(channel, b'{"type": "tenant.purge", "data": {}}', str(command))
        async with provisioning(rabbit_config):
            await becomes(api, tenant, "active")  # as the ledger says
            await healed(amqp_url=rabbit_config.amqp_url)
