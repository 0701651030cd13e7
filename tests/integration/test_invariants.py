"""The checker of the fault tests can fail: it reports each thing that is broken on purpose."""

from uuid import UUID, uuid4

import asyncpg
import pytest

from db.settings import Settings
from tests import invariants
from tests.support import Client, becomes, provisioning, requested, sign_up

THE = "(SELECT id FROM shared.tenants WHERE slug = 'bakery')"
COPY = (
    "INSERT INTO shared.messages (id, kind, type, tenant_id, tenant_version, payload, status, caused_by)"
    " SELECT gen_random_uuid(), kind, type, tenant_id, tenant_version {more}, payload, status, caused_by"
    " FROM shared.messages WHERE type = '{type}'"
)

BREAKS = {
    "is pending (not quiet)": "UPDATE shared.messages SET status = 'pending' WHERE type = 'tenant.requested'",
    "is published (not quiet)": "UPDATE shared.messages SET status = 'published' WHERE kind = 'command'",
    "a tenant is left half-way": f"UPDATE shared.tenants SET status = 'provisioning' WHERE id = {THE}",
    "a failed tenant has no parked message": "UPDATE shared.messages SET status = 'archived' WHERE status = 'parked'",
    "a parked provisioning has a tenant that is not failed": (
        "UPDATE shared.messages SET status = 'parked' WHERE status = 'handled'"
    ),
    "a schema has no tenant": "CREATE SCHEMA t_aaaaaaaaaaaaaaaa",
    "a provisioned tenant has no handled command": (
        "UPDATE shared.messages SET status = 'superseded' WHERE status = 'handled'"
    ),
    "a handled provisioning left nothing": (
        "UPDATE shared.messages SET status = 'handled' WHERE status = 'parked'"
    ),
    "a sign-up was not told of exactly once: bakery: 0": (
        f"DELETE FROM shared.messages WHERE type = 'tenant.requested' AND tenant_id = {THE}"
    ),
    "a provisioning was not told of exactly once: bakery: 0": (
        "DELETE FROM shared.messages WHERE type = 'tenant.provisioned'"
    ),
    "a provisioning was not told of exactly once: bakery: 2": COPY.format(
        more="+ 1", type="tenant.provisioned"
    ),
    "a failure was not told of exactly once": "DELETE FROM shared.messages WHERE type = 'message.parked'",
    "a failed provisioning was not told of exactly once": (
        "DELETE FROM shared.messages WHERE type = 'tenant.provisioning_failed'"
    ),
    "a suspension or its end is missing": (
        f"UPDATE shared.tenants SET status = 'suspended' WHERE id = {THE}"
    ),
    "a deletion or its undoing is missing": (
        f"UPDATE shared.tenants SET status = 'deleted', status_before = 'active' WHERE id = {THE}"
    ),
    "a change was told of twice": COPY.format(more="", type="tenant.provisioned"),
    "an event is of a version that never was": f"UPDATE shared.tenants SET version = 2 WHERE id = {THE}",
    "a settled message is still leased": "UPDATE shared.messages SET leased_until = now()",
    "an administrator still waits": (
        f"INSERT INTO shared.pending_admins (tenant_id, email) VALUES ({THE}, 'ann@example.com')"
    ),
    "an administrator is not active": (
        f"INSERT INTO shared.shared_users (email, tenant_id) VALUES ('ann@example.com', {THE})"
    ),
    "bakery is active, its schema there: False": "DROP SCHEMA {schema} CASCADE",
    "bakery has no role": "ALTER ROLE {schema} RENAME TO renamed",
    "bakery is at []": "DELETE FROM {schema}.alembic_version",
    "bakery is at ['4c1f0e7a92d3']": "UPDATE {schema}.alembic_version SET version_num = '4c1f0e7a92d3'",
    "a role has no tenant": "CREATE ROLE t_aaaaaaaaaaaaaaaa",
}


@pytest.fixture
async def sound(api: Client, config: Settings, owner: asyncpg.Connection) -> frozenset[str]:
    """An active and a failed tenant, with nothing broken; returns the roles that there were before them."""
    foreign = await invariants.roles(owner)
    async with provisioning(config):
        await sign_up(api, "bakery")
        await owner.execute(
            "CREATE FUNCTION shared.refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'refused'; END $$;"
            "CREATE TRIGGER refuse BEFORE UPDATE ON shared.tenants FOR EACH ROW"
            " WHEN (NEW.status = 'active') EXECUTE FUNCTION shared.refuse()"
        )
        await becomes(api, await requested(api, "florist"), "failed")
        await owner.execute("DROP FUNCTION shared.refuse CASCADE")
        await invariants.quiet(owner)
    return foreign


async def test_nothing_is_found_where_all_is_sound_and_each_break_is(
    superuser: asyncpg.Connection, sound: frozenset[str]
) -> None:
    assert await invariants.violations(superuser, foreign=sound) == []
    schema = await superuser.fetchval("SELECT schema_name FROM shared.tenants WHERE slug = 'bakery'")
    missed = {}
    for wanted, sql in BREAKS.items():
        transaction = superuser.transaction()
        await transaction.start()
        await superuser.execute(sql.replace("{schema}", schema))
        found = await invariants.violations(superuser, foreign=sound)
        await transaction.rollback()
        if not any(wanted in line for line in found):
            missed[wanted] = found
    assert missed == {}
    assert await invariants.violations(superuser, foreign=sound) == []


async def test_a_listener_that_missed_or_heard_too_much_is_found(
    superuser: asyncpg.Connection, sound: frozenset[str]
) -> None:
    rows = await superuser.fetch("SELECT id FROM shared.messages WHERE kind = 'event'")
    heard: dict[UUID, list[bytes]] = {row["id"]: [b"{}", b"{}"] for row in rows}
    assert await invariants.unheard(superuser, heard) == []
    first, second, *_ = heard
    changed = {**heard, second: [b"{}", b"{1}"]}
    del changed[first]
    changed[uuid4()] = [b"{}"]
    found = await invariants.unheard(superuser, changed)
    assert [line.split(":")[0] for line in found] == [
        "never heard",
        "heard, but not in the ledger",
        "two bodies of one id",
    ]


async def test_it_does_not_wait_for_ever(config: Settings, owner: asyncpg.Connection, api: Client) -> None:
    await requested(api, "bakery")  # and nobody provisions it
    with pytest.raises(AssertionError, match="quiet did not come true"):
        await invariants.Healed(config)(within=0.3)
