"""The warm pool: a sign-up takes a schema that is ready, and gets the same as one that is built on demand."""

import asyncio
from pathlib import Path

import asyncpg
import pytest
from asyncpg import Pool
from msgspec.structs import replace

from db.migrations import warm_pool
from db.migrations.fingerprint import fingerprint, structure
from db.migrations.lineages import lineage
from db.settings import Settings
from tests.invariants import Healed, roles
from tests.migrations import HEAD, SCRIPT, release
from tests.support import Client, becomes, eventually, provisioning, requested, serving, sign_up


@pytest.fixture
async def healed(config: Settings, owner: asyncpg.Connection) -> Healed:
    """Checks that no schema and no role is nobody's."""
    return Healed(config, await roles(owner))


def admin(slug: str) -> dict[str, str]:
    """Return a sign-up's administrator."""
    return {"email": f"{slug}@example.com", "password": "correct horse"}


async def filled(owner: asyncpg.Connection, config: Settings, size: int) -> list[str]:
    """Fill the pool, and return its schemas."""
    while await warm_pool.refill(owner, lineage("tenant", config.alembic_config), size=size):
        pass
    return await there(owner)


async def there(owner: asyncpg.Connection) -> list[str]:
    """Return the pool's schemas."""
    return [
        row[0] for row in await owner.fetch("SELECT schema_name FROM shared.pool_schemas ORDER BY created_at")
    ]


async def schema_of(owner: asyncpg.Connection, slug: str) -> str:
    """Return a tenant's schema."""
    return str(await owner.fetchval("SELECT schema_name FROM shared.tenants WHERE slug = $1", slug))


async def test_a_sign_up_takes_a_schema_that_is_ready_and_another_is_built_on_demand(
    config: Settings, api: Client, owner: asyncpg.Connection, healed: Healed
) -> None:
    first, second = await filled(owner, config, 2)
    async with provisioning(config):
        bakery = await sign_up(api, "bakery", admin=admin("bakery"))
        assert await schema_of(owner, "bakery") in {first, second}
        florist = await sign_up(api, "florist", admin=admin("florist"))
        cooper = await sign_up(api, "cooper", admin=admin("cooper"))
        assert await there(owner) == []
        assert await schema_of(owner, "cooper") not in {first, second}
        for tenant in (bakery, florist, cooper):
            answer = await api.get("/users", headers=tenant.headers)
            assert [user["email"] for user in answer.json()["items"]] == [f"{tenant.slug}@example.com"]
        taken = await structure(owner, await schema_of(owner, "bakery"))
        assert taken == await structure(owner, await schema_of(owner, "cooper"))
        await healed()


async def test_a_provisioner_keeps_the_pool_full(
    config: Settings, api: Client, owner: asyncpg.Connection, healed: Healed
) -> None:
    async def full() -> bool:
        return len(await there(owner)) == 2

    async with provisioning(replace(config, pool_schemas=2)):
        await eventually(full, what="a full pool")
        before = await there(owner)
        await sign_up(api, "bakery")
        assert await schema_of(owner, "bakery") == before[0]
        await eventually(full, what="a full pool again")
        await healed()


async def test_nothing_is_built_while_a_sign_up_waits(
    config: Settings, api: Client, owner: asyncpg.Connection
) -> None:
    await requested(api, "bakery")
    assert await filled(owner, config, 2) == []


async def test_just_after_a_sign_up_half_a_pool_is_enough(
    config: Settings, api: Client, owner: asyncpg.Connection
) -> None:
    async with provisioning(config):
        await sign_up(api, "bakery")
    await owner.execute("UPDATE shared.tenants SET created_at = now() + interval '1 minute'")
    assert len(await filled(owner, config, 4)) == 2
    await owner.execute("UPDATE shared.tenants SET created_at = now() - interval '1 minute'")
    assert len(await filled(owner, config, 4)) == 4


async def test_a_schema_that_is_not_as_it_was_built_goes_to_nobody(
    config: Settings, api: Client, owner: asyncpg.Connection, healed: Healed
) -> None:
    altered, good = await filled(owner, config, 2)
    await owner.execute(f"ALTER TABLE {altered}.users ADD COLUMN backdoor text")
    async with provisioning(config):
        await sign_up(api, "bakery")
        assert await schema_of(owner, "bakery") == good
        assert await owner.fetchval("SELECT to_regnamespace($1) IS NULL", altered)
        await healed()  # its role is gone too


@pytest.mark.parametrize("lost", ["schema", "role"])
async def test_a_schema_that_a_restored_dump_lacks_in_part_goes_to_nobody(
    config: Settings, api: Client, owner: asyncpg.Connection, superuser: asyncpg.Connection, lost: str
) -> None:
    (schema,) = await filled(owner, config, 1)
    await owner.execute(f"DROP SCHEMA {schema} CASCADE")
    if lost == "role":
        await superuser.execute(f"DROP ROLE {schema}; CREATE SCHEMA {schema} AUTHORIZATION tenantry_owner")
    async with provisioning(config):
        await sign_up(api, "bakery")
    assert await schema_of(owner, "bakery") != schema
    assert await there(owner) == []


async def test_sign_ups_at_once_take_different_schemas(
    config: Settings, api: Client, owner: asyncpg.Connection, healed: Healed
) -> None:
    ready = set(await filled(owner, config, 3))
    slugs = [f"shop{number}" for number in range(6)]
    requests = [await requested(api, slug) for slug in slugs]
    async with provisioning(config), provisioning(config):
        for tenant in requests:
            await becomes(api, tenant, "active")
        schemas = [await schema_of(owner, slug) for slug in slugs]
        assert len(set(schemas)) == 6
        assert ready < set(schemas)
        await healed()


async def test_an_attempt_that_fails_gives_the_schema_back(
    config: Settings, api: Client, owner: asyncpg.Connection, superuser: asyncpg.Connection
) -> None:
    (schema,) = await filled(owner, config, 1)
    tenant = await requested(api, "bakery", admin=admin("bakery"))
    await superuser.execute(
        f"""
        CREATE FUNCTION shared.broken() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE division_by_zero; END $$;
        CREATE TRIGGER broken BEFORE INSERT ON {schema}.users EXECUTE FUNCTION shared.broken()
        """
    )
    await superuser.execute(
        "UPDATE shared.pool_schemas SET fingerprint = $1", await fingerprint(owner, schema)
    )
    async with provisioning(config):
        await becomes(api, tenant, "failed")
    assert await there(owner) == [schema]
    assert await schema_of(owner, "bakery") != schema


@pytest.mark.parametrize("renewed", [True, False])
async def test_a_schema_of_an_older_release_is_brought_up_before_or_when_it_is_taken(
    config: Settings, owner: asyncpg.Connection, tmp_path: Path, renewed: bool, healed: Healed
) -> None:
    (schema,) = await filled(owner, config, 1)
    newer = release(config, tmp_path, SCRIPT)
    if renewed:
        assert await filled(owner, newer, 1) == [schema]
        assert await owner.fetchval("SELECT revision FROM shared.pool_schemas") == "r1"
    async with serving(newer) as api, provisioning(newer):
        await sign_up(api, "bakery")
        await sign_up(api, "florist")
        assert await schema_of(owner, "bakery") == schema
        taken = await structure(owner, await schema_of(owner, "bakery"))
        assert taken == await structure(owner, await schema_of(owner, "florist"))
        await healed()


async def test_a_schema_of_a_newer_release_is_left_to_it(
    config: Settings, api: Client, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    (schema,) = await filled(owner, release(config, tmp_path, SCRIPT), 1)
    async with provisioning(config):
        await sign_up(api, "bakery")
    assert await there(owner) == [schema]
    assert await owner.fetchval("SELECT revision FROM shared.tenants WHERE slug = 'bakery'") == HEAD


async def test_what_is_too_much_is_dropped_with_its_role(config: Settings, owner: asyncpg.Connection) -> None:
    before = await roles(owner)
    ready = await filled(owner, config, 3)
    assert await roles(owner) == before | set(ready)
    (left,) = await filled(owner, config, 1)
    assert await roles(owner) == before | {left}
    assert await filled(owner, config, 0) == []
    assert await roles(owner) == before


async def test_warmers_at_once_build_no_more_than_there_are_to_be(config: Settings, pool: Pool) -> None:
    async def warm() -> None:
        async with pool.acquire() as connection:
            for _ in range(4):
                await warm_pool.refill(connection, lineage("tenant", config.alembic_config), size=3)

    await asyncio.gather(*(warm() for _ in range(4)))
    async with pool.acquire() as connection:
        assert 1 <= await connection.fetchval("SELECT count(*) FROM shared.pool_schemas") <= 3
