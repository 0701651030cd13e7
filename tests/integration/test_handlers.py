"""The contract of handlers: a command about a tenant, about none yet, and what each part does by default."""

import json
from typing import Any, ClassVar
from uuid import UUID

import asyncpg
import pytest
import uuid_utils.compat as uuid7

from db.ledger.inbox import Entry, Failure
from db.session.connection import Connection
from db.tenants.registry import Tenant
from provisioner.delivery import Deliveries
from provisioner.handlers.handler import Handler, Job, Outcome, by_type
from tests.commands import POLICY
from tests.support import one, signed_up


class Counting(Handler[dict[str, int]]):
    """A command about no tenant at all, with data of its own."""

    types: ClassVar = ("fleet.count",)
    about_tenant: ClassVar = False

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def read(self, entry: Entry) -> dict[str, int]:
        data: dict[str, int] = json.loads(entry.payload or "")["data"]
        return data

    async def work(self, connection: Connection, job: Job[dict[str, int]], /) -> Outcome:
        self.told.append(("work", job.command["to"]))
        assert job.subject is None
        await connection.execute("SELECT 1 / $1", job.command["to"])
        return "handled"

    async def gave_up(self, _: Connection, entry: Entry, tenant: Tenant | None, failure: Failure, /) -> None:
        self.told.append(("gave up", (entry.type, tenant, failure.error_class)))


class Idle(Handler[Any]):
    """A handler that leaves everything to the defaults."""

    types: ClassVar = ("tenant.provision",)


async def count_to(owner: asyncpg.Connection, to: int) -> UUID:
    """Write a command about no tenant."""
    message_id = uuid7.uuid7()
    await owner.execute(
        "INSERT INTO shared.messages (id, kind, type, payload) VALUES ($1, 'command', 'fleet.count', $2::jsonb)",
        message_id,
        json.dumps({"data": {"to": to}}),
    )
    return message_id


async def status(owner: asyncpg.Connection, message_id: UUID) -> tuple[str, str | None]:
    row = await one(owner, "SELECT status, error_class FROM shared.messages WHERE id = $1", message_id)
    return row["status"], row["error_class"]


async def test_a_command_about_no_tenant_takes_the_same_way(
    pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    handler = Counting()
    message_id = await count_to(owner, 3)
    await Deliveries(pool, by_type(handler), POLICY).command(str(message_id), b"")
    assert await status(owner, message_id) == ("handled", None)
    assert handler.told == [("work", 3)]


async def test_a_command_about_no_tenant_that_fails_is_parked_and_its_handler_told(
    pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    handler = Counting()
    message_id = await count_to(owner, 0)
    await Deliveries(pool, by_type(handler), POLICY).command(str(message_id), b"")
    assert await status(owner, message_id) == ("parked", "DivisionByZeroError")
    assert handler.told[1] == ("gave up", ("fleet.count", None, "DivisionByZeroError"))
    parked = await one(owner, "SELECT tenant_id FROM shared.messages WHERE type = 'message.parked'")
    assert parked["tenant_id"] is None


async def test_every_part_of_a_handler_has_a_default(pool: asyncpg.Pool, owner: asyncpg.Connection) -> None:
    async with owner.transaction():
        await signed_up(owner, "bakery")
    message_id = await owner.fetchval("SELECT id FROM shared.messages WHERE kind = 'command'")
    await Deliveries(pool, by_type(Idle()), POLICY).command(str(message_id), b"")
    assert await status(owner, message_id) == ("handled", None)


@pytest.mark.parametrize("type_", ["count", "Fleet.Count", "fleet..count", "fleet.count!", ""])
async def test_a_command_whose_type_is_none_is_parked(
    pool: asyncpg.Pool, owner: asyncpg.Connection, type_: str
) -> None:
    message_id = await count_to(owner, 3)
    await owner.execute("UPDATE shared.messages SET type = $1", type_)
    await Deliveries(pool, by_type(Idle()), POLICY).command(str(message_id), b"")
    assert await status(owner, message_id) == ("parked", "ContractError")
