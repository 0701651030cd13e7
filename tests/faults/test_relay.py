"""The relay dies, is not woken, or runs beside others: each message is still sent, and has one effect."""

import asyncio
from collections.abc import Sequence

import asyncpg
import pytest
from aio_pika.abc import AbstractChannel
from msgspec.structs import replace

from db.ledger.outbox import Leased
from db.local.processes.waiting import free_port
from db.local.servers.rabbitmq import RabbitNode
from db.settings import Settings
from provisioner.inprocess import InProcess
from provisioner.rabbit import Rabbit
from provisioner.relay.relay import Relay
from tests.faults.relaying import relaying
from tests.invariants import Healed
from tests.listener import Heard, waiting
from tests.processes import forked
from tests.support import becomes, eventually, provisioning, requested, serving

GATE = 4711
"""The key of the advisory lock that `gate` waits for."""


@pytest.fixture
async def gate(superuser: asyncpg.Connection) -> None:
    """Makes the mark of a message as published wait while another session holds the lock `GATE`."""
    await superuser.execute(
        f"""
        CREATE FUNCTION shared.gate() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock_shared({GATE}); RETURN NEW; END $$;
        CREATE TRIGGER gate BEFORE UPDATE ON shared.messages FOR EACH ROW
        WHEN (NEW.status = 'published' AND OLD.status = 'pending') EXECUTE FUNCTION shared.gate()
        """
    )


@pytest.mark.rabbitmq
async def test_killed_between_publish_and_mark(
    rabbit_config: Settings,
    owner: asyncpg.Connection,
    superuser: asyncpg.Connection,
    gate: None,
    heard: Heard,
    channel: AbstractChannel,
    healed: Healed,
) -> None:
    config = replace(rabbit_config, relay_lease=1.0)
    async with serving(config) as api:
        await superuser.execute(f"SELECT pg_advisory_lock({GATE})")
        async with forked(config) as first:
            tenant = await requested(api, "bakery")

            async def published_and_not_marked() -> bool:
                return len(heard) == 1 and bool(
                    await owner.fetchval(
                        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                        " AND wait_event = 'advisory' AND query LIKE '%published_at = now()%'"
                    )
                )

            await eventually(published_and_not_marked, what="a message at the broker without its mark")
            await first.kill()
        # The broker has the command, the ledger does not know.
        assert await eventually(lambda: waiting(channel), what="the command back in its queue") == 1
        rows = await owner.fetch("SELECT status, deliveries FROM shared.messages")
        assert [tuple(row) for row in rows] == [("pending", 1), ("pending", 1)]
        # Its own statement, which still waits in PostgreSQL, must not mark them after its death.
        await superuser.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event = 'advisory'"
        )
        await superuser.execute(f"SELECT pg_advisory_unlock({GATE})")
        async with forked(config):
            await becomes(api, tenant, "active")
            await healed(amqp_url=config.amqp_url)
        (event,) = await owner.fetch("SELECT id FROM shared.messages WHERE type = 'tenant.requested'")
        assert heard.times(event["id"]) == 2  # once more, with the same id


async def test_a_lost_notice_is_made_up_for_by_polling(
    delivery: Settings, superuser: asyncpg.Connection, healed: Healed
) -> None:
    config = replace(delivery, relay_poll=0.2)
    async with serving(config) as api, provisioning(config):
        triggers = await superuser.fetch(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = 'shared.messages'::regclass AND NOT tgisinternal"
        )
        assert triggers
        for trigger in triggers:
            await superuser.execute(f"DROP TRIGGER {trigger['tgname']} ON shared.messages")
        notices = asyncio.Event()
        await superuser.add_listener("tenantry_ledger", lambda *_: notices.set())
        tenant = await requested(api, "bakery")
        await becomes(api, tenant, "active")
        await healed(amqp_url=config.amqp_url)
        assert not notices.is_set()


async def test_a_relay_whose_broker_is_gone_puts_off_one_batch_and_no_more(
    config: Settings, owner: asyncpg.Connection
) -> None:
    nowhere = f"amqp://nobody:nothing@127.0.0.1:{free_port()}/"
    carrier = Rabbit(nowhere, prefetch=1, concurrency=1, publish_timeout=1)
    async with serving(config) as api:
        for number in range(12):
            await requested(api, f"shop{number}")
    owner_url = config.require("owner_database_url")
    async with asyncpg.create_pool(owner_url, min_size=1, max_size=2) as pool:
        relay = Relay(pool, owner_url, carrier, batch=5, lease=30, poll=1, in_flight=100)
        assert carrier.state == "down"
        assert await relay.publish_due() <= 10  # a batch of events, and one of commands
    errors = await owner.fetch("SELECT last_error FROM shared.messages WHERE last_error IS NOT NULL")
    assert 0 < len(errors) <= 10
    assert {row["last_error"] for row in errors} == {"no connection"}


async def test_full_batches_of_both_kinds_are_followed_by_the_next(
    config: Settings, owner: asyncpg.Connection
) -> None:
    """A lease takes as many events as commands, and so may return more than a batch."""
    async with serving(config) as api:
        for number in range(12):
            await requested(api, f"shop{number}")
    owner_url = config.require("owner_database_url")
    async with asyncpg.create_pool(owner_url, min_size=4, max_size=4) as pool:
        relay = Relay(pool, owner_url, InProcess(concurrency=1), batch=2, lease=30, poll=1, in_flight=100)
        assert await relay.publish_due() == 24
    assert await owner.fetchval("SELECT count(*) FROM shared.messages WHERE status = 'published'") == 24


@pytest.mark.parametrize("in_flight", [1, 3])
async def test_no_more_commands_go_out_than_may_be_in_flight(
    config: Settings, owner: asyncpg.Connection, in_flight: int
) -> None:
    """Commands being published count, though the ledger does not list them as published yet."""
    async with serving(config) as api:
        for number in range(12):
            await requested(api, f"shop{number}")
    await owner.execute("UPDATE shared.messages SET status = 'published' WHERE kind = 'event'")
    owner_url = config.require("owner_database_url")
    async with asyncpg.create_pool(owner_url, min_size=4, max_size=4) as pool:
        relay = Relay(
            pool, owner_url, InProcess(concurrency=1), batch=1, lease=30, poll=1, in_flight=in_flight
        )
        while await relay.publish_due():
            pass
    published = "SELECT count(*) FROM shared.messages WHERE kind = 'command' AND status = 'published'"
    assert await owner.fetchval(published) == in_flight


@pytest.mark.rabbitmq
async def test_a_batch_that_cannot_be_marked_stops_the_drain(
    rabbit_config: Settings, rabbit: RabbitNode, owner: asyncpg.Connection, superuser: asyncpg.Connection
) -> None:
    """A defect of marking must not publish a whole backlog that nobody knows to be published.

    Claims are slow here, so that one goes on while the mark fails.
    """
    async with serving(rabbit_config) as api:
        for number in range(60):
            await requested(api, f"shop{number}")
    first = await owner.fetchval("SELECT id FROM shared.messages WHERE kind = 'event' ORDER BY id LIMIT 1")
    await superuser.execute(
        f"""
        CREATE FUNCTION shared.broken() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE division_by_zero; END $$;
        CREATE TRIGGER broken BEFORE UPDATE ON shared.messages FOR EACH ROW
        WHEN (NEW.status = 'published' AND NEW.id = '{first}') EXECUTE FUNCTION shared.broken();
        CREATE FUNCTION shared.slow() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END $$;
        CREATE TRIGGER slow BEFORE UPDATE ON shared.messages FOR EACH ROW
        WHEN (NEW.deliveries > OLD.deliveries) EXECUTE FUNCTION shared.slow()
        """
    )
    async with relaying(rabbit_config, rabbit.url, batch=1) as relay:
        with pytest.raises(asyncpg.DivisionByZeroError):
            await relay.publish_due()
    untouched = await owner.fetchval("SELECT count(*) FROM shared.messages WHERE deliveries = 0")
    assert untouched > 60  # of 120


class Slow(InProcess):
    """A transport that takes as long as a test wants to."""

    def __init__(self) -> None:
        super().__init__(concurrency=1)
        self.began = asyncio.Event()
        self.over = asyncio.Event()

    async def publish(self, leased: Sequence[Leased]) -> list[str | None]:
        self.began.set()
        await self.over.wait()
        return await super().publish(leased)


async def test_a_relay_that_is_stopped_leaves_no_lease_behind(
    config: Settings, owner: asyncpg.Connection
) -> None:
    """What follows in a tenant's order would wait for the end of the lease."""
    async with serving(config) as api:
        for number in range(12):
            await requested(api, f"shop{number}")
    owner_url = config.require("owner_database_url")
    carrier = Slow()
    async with asyncpg.create_pool(owner_url, min_size=4, max_size=4) as pool:
        relay = Relay(pool, owner_url, carrier, batch=2, lease=30, poll=1, in_flight=100)
        running = asyncio.create_task(relay.run())
        await asyncio.wait_for(carrier.began.wait(), 10)
        stopping = asyncio.create_task(relay.stop())
        await asyncio.sleep(0)
        assert await owner.fetchval("SELECT count(*) FROM shared.messages WHERE leased_until IS NOT NULL")
        assert not stopping.done()
        carrier.over.set()
        await asyncio.wait_for(stopping, 10)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert await relay.publish_due() == 0
    rows = await owner.fetch("SELECT status, leased_until FROM shared.messages")
    assert {row["leased_until"] for row in rows} == {None}
    assert {row["status"] for row in rows} == {"published", "pending"}


@pytest.mark.rabbitmq
async def test_two_relays_publish_each_message_once(
    rabbit_config: Settings, owner: asyncpg.Connection, heard: Heard, healed: Healed
) -> None:
    async with serving(rabbit_config) as api:
        tenants = [await requested(api, f"shop{number}") for number in range(20)]
        # Small batches, so that both get some.
        config = replace(rabbit_config, relay_batch=3)
        async with provisioning(config), provisioning(config):
            for tenant in tenants:
                await becomes(api, tenant, "active", within=40)
            await healed(amqp_url=config.amqp_url)
    assert await owner.fetchval("SELECT max(deliveries) FROM shared.messages WHERE kind = 'event'") == 1
    assert {len(bodies) for bodies in heard.values()} == {1}
    assert len(heard) == 2 * len(tenants)
