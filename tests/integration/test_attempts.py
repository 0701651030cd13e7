"""Attempts: each ends in the ledger, whether the work succeeds, fails, has to wait or is cut off."""

import asyncio

import asyncpg
import pytest

from db.ledger import contracts, history, inbox
from db.ledger.inbox import Failure
from db.session.connection import Connection
from provisioner.delivery import Deliveries
from provisioner.handlers.handler import Handler, Job, Outcome
from provisioner.transport import DatabaseAwayError
from tests.commands import POLICY, events, message, pending, tenant_status
from tests.support import its_time_comes


async def test_the_command_of_a_deleted_tenant_is_superseded(
    consumer: Deliveries, owner: asyncpg.Connection
) -> None:
    tenant, message_id = await pending(owner)
    await owner.execute(
        "UPDATE shared.tenants SET status = 'deleted', status_before = 'pending' WHERE id = $1", tenant.id
    )
    await consumer.command(str(message_id), b"{}")
    assert (await message(owner, message_id))["status"] == "superseded"
    assert await owner.fetchval("SELECT to_regnamespace($1)", tenant.schema_name) is None


async def test_a_busy_tenant_is_come_back_to_without_spending_an_attempt(
    consumer: Deliveries, owner: asyncpg.Connection
) -> None:
    tenant, message_id = await pending(owner)
    async with owner.transaction():
        await owner.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", str(tenant.id))
        await consumer.command(str(message_id), b"{}")
    row = await message(owner, message_id)
    assert (row["status"], row["attempts"]) == ("pending", 0)
    await its_time_comes(owner, message_id)
    await consumer.command(str(message_id), b"{}")
    assert await tenant_status(owner, tenant) == "active"


async def test_a_permanent_failure_parks_the_message_and_leaves_no_schema(
    consumer: Deliveries, owner: asyncpg.Connection
) -> None:
    tenant, message_id = await pending(owner)
    await owner.execute(f"CREATE SCHEMA {tenant.schema_name}")  # so that CREATE SCHEMA fails
    await consumer.command(str(message_id), b"{}")
    row = await message(owner, message_id)
    assert (row["status"], row["error_class"]) == ("parked", "DuplicateSchemaError")
    assert "DuplicateSchemaError" in row["traceback"]
    assert await tenant_status(owner, tenant) == "failed"
    assert await events(owner, tenant) == [
        "tenant.requested",
        "tenant.provisioning_failed",
        "message.parked",
    ]
    assert await owner.fetchval("SELECT to_regrole($1)", tenant.schema_name) is None  # rolled back with it


async def test_a_transient_failure_waits_in_the_ledger(
    consumer: Deliveries, owner: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    tenant, message_id = await pending(owner)
    async with pool.acquire() as other, other.transaction():
        await other.execute("LOCK TABLE shared.pending_admins IN ACCESS EXCLUSIVE MODE")
        await consumer.command(str(message_id), b"{}")
    row = await message(owner, message_id)
    assert (row["status"], row["error_class"], row["attempts"]) == ("pending", "LockNotAvailableError", 1)
    assert row["leased_until"] is None
    assert await tenant_status(owner, tenant) == "provisioning"
    await its_time_comes(owner, message_id)
    await consumer.command(str(message_id), b"{}")
    assert await tenant_status(owner, tenant) == "active"


async def test_transient_failures_are_parked_at_the_limit(
    consumer: Deliveries, owner: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    tenant, message_id = await pending(owner)
    await owner.execute("UPDATE shared.messages SET attempts = 7 WHERE id = $1", message_id)
    async with pool.acquire() as other, other.transaction():
        await other.execute("LOCK TABLE shared.pending_admins IN ACCESS EXCLUSIVE MODE")
        await consumer.command(str(message_id), b"{}")
    assert (await message(owner, message_id))["status"] == "parked"
    assert await tenant_status(owner, tenant) == "failed"


async def test_each_failed_attempt_is_kept_the_last_twenty(
    consumer: Deliveries, owner: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    _, message_id = await pending(owner)
    async with pool.acquire() as other, other.transaction():
        await other.execute("LOCK TABLE shared.pending_admins IN ACCESS EXCLUSIVE MODE")
        await consumer.command(str(message_id), b"{}")
    await its_time_comes(owner, message_id)
    await owner.execute("UPDATE shared.messages SET payload = payload - 'data'")
    await consumer.command(str(message_id), b"{}")
    detail = await history.get(owner, message_id)
    assert detail is not None
    tried = [(failed.attempt, failed.error_class) for failed in detail.failures]
    assert tried == [(1, "LockNotAvailableError"), (2, "ContractError")]
    assert "LockNotAvailableError" in (detail.failures[0].traceback or "")
    assert detail.failures[1].error == detail.last_error
    for _ in range(inbox.KEPT_FAILURES):
        await inbox.retry(owner, message_id, Failure("ignored", "it is parked"), delay=0)
        await owner.execute("UPDATE shared.messages SET status = 'pending', attempts = attempts + 1")
        await inbox.park(owner, message_id, Failure("again", "and again"))
    detail = await history.get(owner, message_id)
    assert detail is not None
    assert [failed.attempt for failed in detail.failures] == list(range(3, 3 + inbox.KEPT_FAILURES))


async def test_attempts_that_never_ended_are_a_crash_loop(
    consumer: Deliveries, owner: asyncpg.Connection
) -> None:
    tenant, message_id = await pending(owner)
    await owner.execute("UPDATE shared.messages SET attempts = 8 WHERE id = $1", message_id)
    await consumer.command(str(message_id), b"{}")
    row = await message(owner, message_id)
    assert (row["status"], row["error_class"]) == ("parked", "crash_loop")
    assert await tenant_status(owner, tenant) == "failed"
    assert await owner.fetchval("SELECT to_regnamespace($1)", tenant.schema_name) is None


async def test_a_command_that_breaks_its_contract_is_parked(
    consumer: Deliveries, owner: asyncpg.Connection
) -> None:
    tenant, message_id = await pending(owner)
    await owner.execute(
        """UPDATE shared.messages SET payload = jsonb_set(payload, '{data}', '{"tenant": 1}') WHERE id = $1""",
        message_id,
    )
    await consumer.command(str(message_id), b"{}")
    row = await message(owner, message_id)
    assert (row["status"], row["error_class"]) == ("parked", "ContractError")
    assert await tenant_status(owner, tenant) == "failed"


class Waiting(Handler[contracts.Provision]):
    """A handler that stops in the middle of its work until it is cut off."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()

    async def work(self, _: Connection, __: Job[contracts.Provision], /) -> Outcome:
        self.reached.set()
        await asyncio.Event().wait()
        return "handled"

    async def gave_up(self, *_: object) -> None:
        raise AssertionError("nobody gave up")


async def test_work_cut_off_by_a_shutdown_gives_its_attempt_back(
    pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    _, message_id = await pending(owner)
    handler = Waiting()
    consumer = Deliveries(pool, {"tenant.provision": handler}, POLICY)
    task = asyncio.create_task(consumer.command(str(message_id), b"{}"))
    await asyncio.wait_for(handler.reached.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    row = await message(owner, message_id)
    assert (row["status"], row["attempts"]) == ("pending", 0)
    await inbox.hold(owner, message_id, wait=1)  # nobody else has it any more


class Cut(Waiting):
    """A handler whose connection to PostgreSQL is lost."""

    async def work(self, _: Connection, __: Job[contracts.Provision], /) -> Outcome:
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")


async def test_an_attempt_that_the_absence_of_postgres_cost_is_taken_back(
    pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    _, message_id = await pending(owner)
    consumer = Deliveries(pool, {"tenant.provision": Cut()}, POLICY)
    with pytest.raises(DatabaseAwayError):
        await consumer.command(str(message_id), b"{}")
    assert (await message(owner, message_id))["attempts"] == 1
    await consumer.database_back()
    row = await message(owner, message_id)
    assert (row["status"], row["attempts"]) == ("pending", 0)


async def test_what_another_provisioner_made_of_it_meanwhile_stays(
    pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    _, message_id = await pending(owner)
    consumer = Deliveries(pool, {"tenant.provision": Cut()}, POLICY)
    for there in (False, True):
        with pytest.raises(DatabaseAwayError):
            await consumer.command(str(message_id), b"{}")
        if there:  # at work: nobody waits for it
            async with pool.acquire() as other, other.transaction():
                assert await inbox.lock_open(other, message_id) is not None
                await asyncio.wait_for(consumer.database_back(), 20)
            assert (await message(owner, message_id))["attempts"] == 1
        else:  # failed: its retry keeps its time
            await inbox.retry(owner, message_id, Failure("Disk", "full"), delay=300)
            waits_until = (await message(owner, message_id))["available_at"]
            await consumer.database_back()
            row = await message(owner, message_id)
            assert (row["attempts"], row["available_at"]) == (0, waits_until)
            await its_time_comes(owner, message_id)


async def test_a_failures_values_are_not_kept(consumer: Deliveries, owner: asyncpg.Connection) -> None:
    """PostgreSQL's DETAIL quotes the row that was refused; a row may hold anything."""
    tenant, message_id = await pending(owner)
    await owner.execute(
        "INSERT INTO shared.pending_admins (tenant_id, email, first_name, password_hash)"
        " VALUES ($1, 'ann@example.com', 'Ann', 'canary-hash')",
        tenant.id,
    )
    await owner.execute("ALTER TABLE shared.pending_admins ALTER COLUMN email DROP NOT NULL")
    await owner.execute("UPDATE shared.pending_admins SET email = NULL")
    await consumer.command(str(message_id), b"{}")
    row = await message(owner, message_id)
    assert (row["status"], row["error_class"]) == ("parked", "NotNullViolationError")
    assert "canary-hash" not in f"{row['last_error']}{row['traceback']}"
