"""Random deliveries on all three queues: none stays unsettled, and genuine sign-ups are answered all the same."""

from itertools import islice

import asyncpg
import pytest
from msgspec.structs import replace

from db.local.servers.rabbitmq import RabbitNode
from db.settings import Settings
from provisioner import topology
from tests import fuzz
from tests.broker import unacknowledged
from tests.flows import event, flow
from tests.fuzz import Sent
from tests.invariants import Healed
from tests.support import eventually, provisioning

pytestmark = [pytest.mark.rabbitmq, pytest.mark.timeout(180)]

SEED = 20
COUNT = 2_000


async def test_of_random_deliveries_none_stays_unsettled_and_every_signup_is_answered(
    rabbit_config: Settings, rabbit: RabbitNode, owner: asyncpg.Connection, healed: Healed
) -> None:
    sent = list(islice(fuzz.messages(SEED), COUNT))
    genuine = {one.slug for one in sent if one.slug}
    junk = {one.body for one in sent if not one.slug}
    assert len(genuine) > 10
    assert len(junk) + len(genuine) == COUNT
    await fuzz.publish(rabbit.url, sent)
    config = replace(rabbit_config, provision_concurrency=6, log_level="error")
    async with provisioning(config):

        async def all_taken() -> bool:
            parked = await owner.fetchval("SELECT count(*) FROM shared.messages WHERE type = 'unknown'")
            active = await owner.fetchval("SELECT count(*) FROM shared.tenants WHERE status = 'active'")
            assert (parked, active) == (len(junk), len(genuine))
            return True

        await eventually(all_taken, within=90, what="everything taken in")
        assert await owner.fetchval("SELECT count(*) FROM shared.messages WHERE status = 'parked'") == len(
            junk
        )
        rows = await owner.fetch("SELECT status, raw_body FROM shared.messages WHERE type = 'unknown'")
        assert {row["status"] for row in rows} == {"parked"}
        assert {row["raw_body"] for row in rows} == junk
        assert {row["slug"] for row in await owner.fetch("SELECT slug FROM shared.tenants")} == genuine
        await healed(amqp_url=config.amqp_url)
        assert await unacknowledged(rabbit) == 0
        assert await owner.fetchval("SELECT sum(in_hand) FROM shared.heartbeats") == 0


@pytest.mark.parametrize("exchange", [topology.SIGNUP, topology.COMMANDS, topology.DEAD])
async def test_deeply_nested_messages_as_many_as_are_prefetched_hold_up_nobody(
    rabbit_config: Settings, rabbit: RabbitNode, owner: asyncpg.Connection, exchange: str
) -> None:
    bodies = [
        b'{"data":%s%d%s,"type":"tenant.signup"}' % (b"[" * 3_000, number, b"]" * 3_000)
        for number in range(rabbit_config.prefetch)
    ]
    await fuzz.publish(rabbit.url, [Sent(exchange, body, b"\0\0") for body in bodies])
    async with flow(rabbit_config) as shop, provisioning(rabbit_config):
        await shop.sends(event("1", name="Bakery", slug="bakery"))
        assert (await shop.hears())["type"] == "tenant.requested"

        async def parked() -> bool:
            rows = await owner.fetch(
                "SELECT raw_body, error_class FROM shared.messages WHERE type = 'unknown'"
            )
            assert sorted(row["raw_body"] for row in rows) == sorted(bodies)
            return True

        await eventually(parked, what="all parked")

        async def settled() -> bool:
            return await unacknowledged(rabbit) == 0

        await eventually(settled, what="all settled")
