"""``alembic`` at a shell: one tenant, the shared lineage, the whole fleet, and dry runs that change nothing."""

import asyncio

import asyncpg
from msgspec.structs import replace

from db.migrations.fingerprint import structure
from db.migrations.lineages import lineage
from db.settings import Settings
from tests.migrations import BEFORE, CHAIN, EVERY, HEAD
from tests.shell import alembic, typed
from tests.support import Client, Service, Tenant, sign_up


async def revision_of(owner: asyncpg.Connection, slug: str) -> tuple[str | None, str | None]:
    """Return what the registry says of a tenant's revision, and what its schema does."""
    schema, recorded = await owner.fetchrow(
        "SELECT schema_name, revision FROM shared.tenants WHERE slug = $1", slug
    )  # type: ignore[misc]
    return recorded, await owner.fetchval(f"SELECT version_num FROM {schema}.alembic_version")


async def test_one_tenant_goes_down_and_up_and_the_registry_follows(
    config: Settings, owner: asyncpg.Connection, tenant: Tenant
) -> None:
    await alembic(config, "-x", "tenant=bakery", "downgrade", BEFORE)
    assert await revision_of(owner, "bakery") == (BEFORE, BEFORE)
    await alembic(config, "-x", "tenant=bakery", "upgrade", "head")
    assert await revision_of(owner, "bakery") == (HEAD, HEAD)


async def test_each_revision_is_told_as_an_event(
    config: Settings, owner: asyncpg.Connection, tenant: Tenant
) -> None:
    await alembic(config, "-x", "tenant=bakery", "downgrade", CHAIN.base)
    await alembic(config, "-x", "tenant=bakery", "upgrade", "head")
    rows = await owner.fetch(
        "SELECT payload->'data'->>'revision' AS revision, tenant_version FROM shared.messages"
        " WHERE type = 'tenant.migrated' ORDER BY tenant_version"
    )
    of_all = [row["revision"] for row in rows if row["revision"] in EVERY]
    assert of_all == [*EVERY[-2::-1], *EVERY[1:]]
    assert len({row["tenant_version"] for row in rows}) == len(rows)


async def test_grants_are_true_after_an_upgrade_by_hand(
    api: Client, config: Settings, tenant: Tenant
) -> None:
    await alembic(config, "-x", "tenant=bakery", "downgrade", "base")
    await alembic(config, "-x", "tenant=bakery", "upgrade", "head")
    answer = await api.post("/users", headers=tenant.headers, json={"email": "again@example.com"})
    assert answer.status_code == 201, answer.text


async def test_the_other_tenants_are_left_alone(
    api: Client, config: Settings, owner: asyncpg.Connection, tenant: Tenant, provisioner: Service
) -> None:
    await sign_up(api, "florist")
    await alembic(config, "-x", "tenant=bakery", "downgrade", BEFORE)
    assert await revision_of(owner, "florist") == (HEAD, HEAD)


async def test_a_dry_run_prints_the_sql_and_changes_nothing(
    config: Settings, owner: asyncpg.Connection, tenant: Tenant
) -> None:
    await alembic(config, "-x", "tenant=bakery", "downgrade", "base")
    schema = await owner.fetchval("SELECT schema_name FROM shared.tenants")
    before = await structure(owner, schema)
    done = await alembic(config, "-x", "dry_run=True", "-x", "tenant=bakery", "upgrade", "head")
    assert "CREATE TABLE users" in done.out
    assert await structure(owner, schema) == before
    assert await revision_of(owner, "bakery") == (None, None)


async def test_dry_run_false_means_false(config: Settings, owner: asyncpg.Connection, tenant: Tenant) -> None:
    await alembic(config, "-x", "tenant=bakery", "downgrade", BEFORE)
    await alembic(config, "-x", "dry_run=False", "-x", "tenant=bakery", "upgrade", "head")
    assert await revision_of(owner, "bakery") == (HEAD, HEAD)


async def test_public_is_an_alias_of_the_shared_lineage(config: Settings, owner: asyncpg.Connection) -> None:
    await alembic(config, "-x", "tenant=public", "upgrade", "d6ba8c13303e")
    head = lineage("shared", config.alembic_config).head
    assert await owner.fetchval("SELECT version_num FROM shared.alembic_version") == head
    done = await alembic(config, "-x", "tenant=shared", "current")
    assert head in done.out


async def test_the_whole_fleet_goes_down_and_up(
    api: Client, config: Settings, owner: asyncpg.Connection, tenant: Tenant, provisioner: Service
) -> None:
    await sign_up(api, "florist")
    shared = await owner.fetchval("SELECT version_num FROM shared.alembic_version")
    await alembic(config, "-x", "yes=True", "downgrade", BEFORE)
    for slug in ("bakery", "florist"):
        assert await revision_of(owner, slug) == (BEFORE, BEFORE)
    assert await owner.fetchval("SELECT version_num FROM shared.alembic_version") == shared
    await alembic(config, "upgrade", "head")
    for slug in ("bakery", "florist"):
        assert await revision_of(owner, slug) == (HEAD, HEAD)


async def test_many_at_once_take_turns(config: Settings, owner: asyncpg.Connection, tenant: Tenant) -> None:
    await alembic(config, "-x", "tenant=bakery", "downgrade", "base")
    await asyncio.gather(*(alembic(config, "-x", "tenant=bakery", "upgrade", "head") for _ in range(3)))
    assert await revision_of(owner, "bakery") == (HEAD, HEAD)


async def test_wrong_arguments_are_refused_with_words(config: Settings, tenant: Tenant) -> None:
    for arguments, words in (
        (("-x", "tenant=nobody", "upgrade", "head"), "nobody"),
        (("-x", "dry_run=maybe", "upgrade", "head"), "True or False"),
        (("-x", "tennant=bakery", "upgrade", "head"), "tennant"),
        (("-x", "tenant=bakery", "upgrade", "ffffffffffff"), "ffffffffffff"),
    ):
        done = await typed(config, "alembic", *arguments)
        assert done.code != 0
        assert words in done.err + done.out
        assert "Traceback" not in done.err


async def test_autogenerate_finds_the_models_equal_to_the_migrations(
    config: Settings, template: object
) -> None:
    for arguments in (("check",), ("-x", "tenant=shared", "check")):
        done = await typed(config, "alembic", *arguments)
        assert done.code == 0, done.out + done.err


async def test_a_tenant_that_is_worked_on_is_waited_for_within_a_bound(
    config: Settings, owner: asyncpg.Connection, tenant: Tenant
) -> None:
    async with owner.transaction():
        await owner.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", tenant.id)
        hurried = replace(config, tenant_lock_wait=0.5)
        done = await typed(hurried, "alembic", "-x", "tenant=bakery", "upgrade", "head")
    assert done.code != 0
    assert "is being worked on" in done.err + done.out
