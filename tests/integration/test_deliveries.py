"""Deliveries: repeated, simultaneous or unknown ones have their effects once, and nothing is lost."""

import asyncio
import json
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from db.ledger import inbox
from provisioner.attempt import Policy
from provisioner.delivery import Deliveries
from provisioner.handlers.provision import ProvisionHandler
from tests.commands import POLICY, events, message, pending, tenant_status
from tests.support import its_time_comes, one


async def test_ten_copies_at_once_are_one_attempt(consumer: Deliveries, owner: asyncpg.Connection) -> None:
    tenant, message_id = await pending(owner)
    await asyncio.gather(*(consumer.command(str(message_id), b"{}") for _ in range(10)))
    row = await message(owner, message_id)
    assert (row["status"], row["attempts"]) == ("handled", 1)
    assert await tenant_status(owner, tenant) == "active"


async def test_copies_at_ten_provisioners_at_once_are_one_attempt_with_one_effect(
    pool: asyncpg.Pool, provision: ProvisionHandler, owner: asyncpg.Connection
) -> None:
    tenant, message_id = await pending(owner)
    consumers = [Deliveries(pool, {"tenant.provision": provision}, POLICY) for _ in range(10)]
    await asyncio.gather(*(each.command(str(message_id), b"{}") for each in consumers))
    row = await message(owner, message_id)
    assert (row["status"], row["attempts"]) == ("handled", 1)
    assert await tenant_status(owner, tenant) == "active"
    assert (await events(owner, tenant)).count("tenant.provisioned") == 1
    assert (
        await owner.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = $1", tenant.schema_name) == 1
    )


async def test_a_late_copy_of_a_handled_command_changes_nothing(
    consumer: Deliveries, owner: asyncpg.Connection
) -> None:
    tenant, message_id = await pending(owner)
    await consumer.command(str(message_id), b"{}")
    before = await one(owner, "SELECT * FROM shared.tenants WHERE id = $1", tenant.id)
    await consumer.command(str(message_id), b"{}")
    assert await one(owner, "SELECT * FROM shared.tenants WHERE id = $1", tenant.id) == before
    assert (await message(owner, message_id))["attempts"] == 1


async def test_copies_of_a_command_that_waits_for_its_retry_change_nothing(
    pool: asyncpg.Pool, provision: ProvisionHandler, owner: asyncpg.Connection
) -> None:
    _, message_id = await pending(owner)
    policy = Policy(attempts=8, retry_base=300, retry_cap=300, lock_timeout=0.2)
    consumers = [Deliveries(pool, {"tenant.provision": provision}, policy) for _ in range(10)]
    async with owner.transaction():
        await owner.execute("LOCK TABLE shared.pending_admins IN ACCESS EXCLUSIVE MODE")
        await asyncio.gather(*(each.command(str(message_id), b"{}") for each in consumers))
        failed = await message(owner, message_id)
    assert (failed["status"], failed["attempts"]) == ("pending", 1)
    assert (failed["error_class"], len(json.loads(failed["failures"]))) == ("LockNotAvailableError", 1)
    assert failed["available_at"] > failed["published_at"] + timedelta(seconds=100)
    await consumers[0].command(str(message_id), b"{}")
    await consumers[0].dead(str(message_id), b"{}")
    assert await message(owner, message_id) == failed


async def test_a_command_in_hand_elsewhere_is_come_back_to_without_spending_an_attempt(
    consumer: Deliveries, owner: asyncpg.Connection
) -> None:
    """The process that holds it may be dead without PostgreSQL knowing yet."""
    tenant, message_id = await pending(owner)
    await owner.execute("UPDATE shared.messages SET status = 'published', attempts = 8")
    await inbox.hold(owner, message_id, wait=1)
    for deliver in (consumer.command, consumer.dead):
        await deliver(str(message_id), b"{}")
        row = await message(owner, message_id)
        assert (row["status"], row["attempts"]) == ("pending", 8)
        soon = await owner.fetchval("SELECT now() + interval '5 s'")
        assert row["available_at"] > soon  # not again and again
        await its_time_comes(owner, message_id)
    await owner.execute("SELECT pg_advisory_unlock_all()")
    await owner.execute("UPDATE shared.messages SET attempts = 7")
    await consumer.command(str(message_id), b"{}")
    assert (await message(owner, message_id))["attempts"] == 8
    assert await tenant_status(owner, tenant) == "active"


async def test_a_command_whose_row_is_locked_elsewhere_is_left_alone(
    consumer: Deliveries, owner: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    """It is at work; nobody waits for as long as a migration may take."""
    _, message_id = await pending(owner)
    await owner.execute("UPDATE shared.messages SET status = 'published'")
    before = await message(owner, message_id)
    async with pool.acquire() as holder:
        await inbox.hold(holder, message_id, wait=1)
        async with holder.transaction():
            assert await inbox.lock_open(holder, message_id) is not None
            for deliver in (consumer.command, consumer.dead):
                await asyncio.wait_for(deliver(str(message_id), b"{}"), 20)
    assert await message(owner, message_id) == before


@pytest.mark.parametrize("message_id", [None, "", "not-a-uuid", str(UUID(int=7))])
async def test_what_the_ledger_does_not_know_is_parked_as_unknown_once(
    consumer: Deliveries, owner: asyncpg.Connection, message_id: str | None
) -> None:
    for _ in range(2):
        await consumer.command(message_id, b'{"forged": true}')
    row = await one(owner, "SELECT type, status, raw_body FROM shared.messages")
    assert tuple(row) == ("unknown", "parked", b'{"forged": true}')


async def test_a_dead_letter_goes_back_to_pending_and_is_parked_only_at_its_limit(
    consumer: Deliveries, owner: asyncpg.Connection
) -> None:
    tenant, message_id = await pending(owner)
    await owner.execute(
        "UPDATE shared.messages SET attempts = 3, status = 'published' WHERE id = $1", message_id
    )
    await consumer.dead(str(message_id), b"{}")
    assert (await message(owner, message_id))["status"] == "pending"
    await owner.execute(
        "UPDATE shared.messages SET attempts = 8, status = 'published' WHERE id = $1", message_id
    )
    await consumer.dead(str(message_id), b"{}")
    row = await message(owner, message_id)
    assert (row["status"], row["error_class"]) == ("parked", "crash_loop")
    assert await tenant_status(owner, tenant) == "failed"
