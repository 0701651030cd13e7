"""The ledger on its own: order, leases, room in flight, and marks that come too late."""

import asyncio
from uuid import UUID

import asyncpg
import pytest

from db.ledger import envelope, inbox, outbox
from db.ledger.contracts import Migrate, Provision, Requested
from db.ledger.envelope import BULK, SIGN_UP, message
from db.ledger.inbox import Failure
from db.ledger.outbox import Leased
from db.settings import Settings
from db.tenants import registry
from tests.support import eventually, one, signed_up


async def a_tenant(owner: asyncpg.Connection, slug: str = "bakery") -> registry.Tenant:
    """Return a registered tenant, its two messages out of the way."""
    async with owner.transaction():
        made = await signed_up(owner, slug)
        await owner.execute("DELETE FROM shared.messages")
    return made.tenant


async def a_command(
    owner: asyncpg.Connection, tenant: registry.Tenant, version: int, priority: int = BULK
) -> UUID:
    """Write a command of the tenant at a version."""
    made = message(
        Provision(tenant_id=tenant.id), tenant_id=tenant.id, tenant_version=version, priority=priority
    )
    await outbox.append(owner, [made])
    return made.id


async def lease(owner: asyncpg.Connection, *, seconds: float = 30, in_flight: int = 100) -> list[Leased]:
    return await outbox.lease(owner, limit=10, seconds=seconds, in_flight=in_flight)


async def status(owner: asyncpg.Connection, message_id: UUID) -> str:
    return str(await owner.fetchval("SELECT status FROM shared.messages WHERE id = $1", message_id))


async def test_a_claimed_row_is_nobody_elses_until_its_lease_ends(owner: asyncpg.Connection) -> None:
    await a_command(owner, await a_tenant(owner), 1)
    first = await lease(owner, seconds=30)
    assert len(first) == 1
    assert await lease(owner) == []
    await owner.execute("UPDATE shared.messages SET leased_until = now() - interval '1 second'")
    again = await lease(owner)
    assert [c.id for c in again] == [first[0].id]
    assert again[0].deliveries == 2


async def test_within_a_tenant_an_older_message_goes_first(owner: asyncpg.Connection) -> None:
    tenant = await a_tenant(owner)
    newer = await a_command(owner, tenant, 2)
    older = await a_command(owner, tenant, 1)
    leased = await lease(owner)
    assert [c.id for c in leased] == [older]
    await outbox.mark_published(owner, leased)
    assert await lease(owner) == []  # a command holds its tenant until it is handled
    await inbox.mark_handled(owner, older)
    assert [c.id for c in await lease(owner)] == [newer]


@pytest.mark.parametrize("settled", ["parked", "archived", "superseded"])
async def test_a_message_that_gave_up_blocks_nobody(owner: asyncpg.Connection, settled: str) -> None:
    tenant = await a_tenant(owner)
    older = await a_command(owner, tenant, 1)
    newer = await a_command(owner, tenant, 2)
    await owner.execute("UPDATE shared.messages SET status = $2 WHERE id = $1", older, settled)
    assert [c.id for c in await lease(owner)] == [newer]


async def test_a_published_event_blocks_nobody(owner: asyncpg.Connection) -> None:
    tenant = await a_tenant(owner)
    event = message(
        Requested(tenant_id=tenant.id, slug="bakery", name="b"), tenant_id=tenant.id, tenant_version=1
    )
    await outbox.append(owner, [event])
    newer = await a_command(owner, tenant, 2)
    leased = await lease(owner)
    assert [c.id for c in leased] == [event.id]
    await outbox.mark_published(owner, leased)
    assert [c.id for c in await lease(owner)] == [newer]


async def test_signups_go_before_bulk_work(owner: asyncpg.Connection) -> None:
    bulk = [await a_command(owner, await a_tenant(owner, f"b{n}"), 1) for n in range(3)]
    urgent = message(Provision(tenant_id=(await a_tenant(owner, "u")).id), priority=SIGN_UP)
    for message_id in bulk:  # `a_tenant` clears the ledger
        await outbox.append(owner, [envelope.message(Migrate(tenant_id=message_id, revision="r"))])
    await outbox.append(owner, [urgent])
    leased = await lease(owner, in_flight=2)
    assert leased[0].id == urgent.id
    assert len(leased) == 2


async def test_bulk_work_takes_no_room_from_sign_ups(owner: asyncpg.Connection) -> None:
    bulk = [await a_tenant(owner, f"b{n}") for n in range(4)]
    people = [await a_tenant(owner, f"u{n}") for n in range(3)]
    for tenant in bulk:
        await a_command(owner, tenant, 1)
    leased = await outbox.lease(owner, limit=10, seconds=30, in_flight=2, bulk_in_flight=3)
    assert len(leased) == 2  # of both together
    await outbox.mark_published(owner, leased)
    waited_for = {await a_command(owner, tenant, 1, SIGN_UP) for tenant in people}
    leased = await lease(owner, in_flight=2)
    assert len(leased) == 2
    assert {row.id for row in leased} < waited_for
    await outbox.mark_published(owner, leased)
    assert await lease(owner, in_flight=2) == []
    leased = await outbox.lease(owner, limit=10, seconds=30, in_flight=100, bulk_in_flight=3)
    assert [row.is_bulk for row in leased] == [False, True]  # the last sign-up, and a third of bulk work


async def test_no_more_commands_are_in_flight_than_allowed_and_events_go_on(
    owner: asyncpg.Connection,
) -> None:
    tenants = [await a_tenant(owner, f"t{n}") for n in range(3)]
    for tenant in tenants:
        await a_command(owner, tenant, 1)
    event = message(Requested(tenant_id=tenants[0].id, slug="t0", name="t"))
    await outbox.append(owner, [event])
    leased = await lease(owner, in_flight=2)
    assert sorted(c.kind for c in leased) == ["command", "command", "event"]
    await outbox.mark_published(owner, leased)
    assert await lease(owner, in_flight=2) == []


async def test_a_mark_that_comes_after_a_retry_was_scheduled_changes_nothing(
    owner: asyncpg.Connection,
) -> None:
    message_id = await a_command(owner, await a_tenant(owner), 1)
    leased = await lease(owner)
    await inbox.retry(owner, message_id, Failure("X", "x"), delay=0)  # delivered, failed, before the mark
    await outbox.mark_published(owner, leased)
    assert await status(owner, message_id) == "pending"
    assert [c.id for c in await lease(owner)] == [message_id]


async def test_a_delivery_may_overtake_the_mark(owner: asyncpg.Connection) -> None:
    message_id = await a_command(owner, await a_tenant(owner), 1)
    leased = await lease(owner)
    await inbox.mark_handled(owner, message_id)
    await outbox.mark_published(owner, leased)
    assert await status(owner, message_id) == "handled"


async def test_a_delivery_proves_that_it_was_published(owner: asyncpg.Connection) -> None:
    message_id = await a_command(owner, await a_tenant(owner), 1)
    leased = await lease(owner)
    await inbox.begin_attempt(owner, message_id)
    row = await one(owner, "SELECT status, published_at, leased_until FROM shared.messages")
    assert (row["status"], row["leased_until"]) == ("published", None)
    assert row["published_at"] is not None
    await outbox.mark_unpublished(owner, leased[0], error="timed out", delay=0)
    assert await status(owner, message_id) == "published"


async def test_nobody_waits_for_a_message_that_is_worked_on(
    config: Settings, owner: asyncpg.Connection
) -> None:
    """Its work may take as long as a migration does, and has its row locked."""
    bakery, florist = await a_tenant(owner), await a_tenant(owner, "florist")
    working, other = await a_command(owner, bakery, 1), await a_command(owner, florist, 1)
    leased = await lease(owner)
    assert {each.id for each in leased} == {working, other}
    worker = await asyncpg.connect(config.require("owner_database_url"))
    await owner.execute("SET lock_timeout = '2s'")
    async with worker.transaction():
        assert await inbox.lock_open(worker, working) is not None
        await outbox.mark_published(owner, leased)
        assert (await status(owner, working), await status(owner, other)) == ("pending", "published")
        held = next(each for each in leased if each.id == working)
        await outbox.mark_unpublished(owner, held, error="timed out", delay=0)
        await owner.execute("UPDATE shared.messages SET published_at = '-infinity' WHERE id = $1", other)
        await inbox.mark_handled(worker, working)
    async with worker.transaction():
        assert await inbox.lock_open(worker, other) is not None
        assert await outbox.republish(owner, older_than=1, held=0) == 0
    assert await outbox.republish(owner, older_than=1, held=0) == 1
    assert (await status(owner, working), await status(owner, other)) == ("handled", "pending")
    await worker.close()


async def test_a_mark_waits_for_another_relay_that_looks_at_its_rows(
    config: Settings, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease keeps the locks of rows that it has looked at and left, for as long as it takes to commit."""
    monkeypatch.setattr(outbox, "_MARK_LOCK_TIMEOUT", 20_000)  # this machine may be slow
    message_id = await a_command(owner, await a_tenant(owner), 1)
    leased = await lease(owner)
    other = await asyncpg.connect(config.require("owner_database_url"))
    async with other.transaction():
        await other.execute("SELECT FROM shared.messages FOR UPDATE SKIP LOCKED")
        marking = asyncio.create_task(outbox.mark_published(owner, leased))

        async def waits() -> bool:
            return bool(await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

        await eventually(waits, what="the mark at the lock")
    await marking
    await other.close()
    assert await status(owner, message_id) == "published"


async def test_what_did_not_reach_the_broker_is_put_off(owner: asyncpg.Connection) -> None:
    message_id = await a_command(owner, await a_tenant(owner), 1)
    (leased,) = await lease(owner)
    await outbox.mark_unpublished(owner, leased, error="nacked", delay=60)
    row = await one(owner, "SELECT *, leased_until > now() AS later FROM shared.messages")
    assert (row["status"], row["later"], row["last_error"]) == ("pending", True, "nacked")
    assert await lease(owner) == []
    assert 50 < (await outbox.next_due(owner, looked=1) or 0) <= 60
    await owner.execute("UPDATE shared.messages SET leased_until = now()")
    assert [each.id for each in await lease(owner)] == [message_id]


async def test_what_reached_the_broker_after_all_is_welcome(owner: asyncpg.Connection) -> None:
    """Only its confirm did not come; it does not wait for the next publication."""
    message_id = await a_command(owner, await a_tenant(owner), 1)
    (leased,) = await lease(owner)
    await outbox.mark_unpublished(owner, leased, error="no confirm in time", delay=60)
    assert await inbox.begin_attempt(owner, message_id) is not None
    assert await status(owner, message_id) == "published"


async def test_the_next_look_is_at_the_first_time_to_come(owner: asyncpg.Connection) -> None:
    """A row that waits for an older one of its tenant is not looked at until that one's time."""
    tenant = await a_tenant(owner)
    older, newer = await a_command(owner, tenant, 1), await a_command(owner, tenant, 2)
    await owner.execute("UPDATE shared.messages SET available_at = now() - interval '1 minute'")
    assert await outbox.next_due(owner, looked=1) is None
    await owner.execute(
        "UPDATE shared.messages SET available_at = now() + interval '3 s' WHERE id = $1", older
    )
    assert 1 < (await outbox.next_due(owner, looked=1) or 0) <= 3
    await owner.execute("UPDATE shared.messages SET available_at = now() WHERE id = $1", newer)
    assert await outbox.next_due(owner, looked=30) == 0  # it became due during the look


async def test_a_command_that_nobody_holds_is_published_again(owner: asyncpg.Connection) -> None:
    message_id = await a_command(owner, await a_tenant(owner), 1)
    await outbox.mark_published(owner, await lease(owner))
    assert await outbox.republish(owner, older_than=60, held=0) == 0  # too soon
    await owner.execute("UPDATE shared.messages SET published_at = now() - interval '2 minutes'")
    assert await outbox.republish(owner, older_than=60, held=1) == 0  # the broker still has it
    assert await outbox.republish(owner, older_than=60, held=0) == 1
    assert [c.id for c in await lease(owner)] == [message_id]


async def test_an_attempt_that_never_began_is_given_back(owner: asyncpg.Connection) -> None:
    message_id = await a_command(owner, await a_tenant(owner), 1)
    entry = await inbox.begin_attempt(owner, message_id)
    assert entry is not None
    assert entry.attempts == 1
    await inbox.give_back_attempt(owner, message_id, delay=0)
    assert await owner.fetchval("SELECT attempts FROM shared.messages WHERE id = $1", message_id) == 0


async def test_an_unknown_body_is_kept_once(owner: asyncpg.Connection) -> None:
    for _ in range(3):
        await inbox.park_unknown(owner, b"\xff\x00 not json", Failure("unknown", "?"))
    row = await one(owner, "SELECT type, kind, status, raw_body FROM shared.messages")
    assert tuple(row) == ("unknown", "command", "parked", b"\xff\x00 not json")


async def test_only_old_and_settled_rows_are_swept(owner: asyncpg.Connection) -> None:
    tenant = await a_tenant(owner)
    old = {name: await a_command(owner, tenant, 1) for name in ("handled", "parked", "pending", "archived")}
    for name, message_id in old.items():
        await owner.execute(
            "UPDATE shared.messages SET status = $2, created_at = now() - interval '40 days',"
            " handled_at = CASE WHEN $2 = 'handled' THEN now() - interval '31 days' END WHERE id = $1",
            message_id,
            name,
        )
    fresh = await a_command(owner, tenant, 1)
    await inbox.mark_handled(owner, fresh)
    replayed = await a_command(owner, tenant, 1)
    await owner.execute(
        "UPDATE shared.messages SET created_at = now() - interval '40 days' WHERE id = $1", replayed
    )
    await inbox.mark_handled(owner, replayed)  # old, but handled only now
    assert await outbox.sweep(owner, days=30) == 1
    left = {row["id"] for row in await owner.fetch("SELECT id FROM shared.messages")}
    assert left == {fresh, replayed, *(m for name, m in old.items() if name != "handled")}
