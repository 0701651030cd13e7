"""A release and its rollback in the order of ``docs/how-to.md``, beside the version before: nothing stops."""

from pathlib import Path

import asyncpg

from db.settings import Settings
from tests.migrations import HEAD, SCRIPT, release
from tests.rollouts import Fleet, moved
from tests.shell import alembic
from tests.support import Client, Tenant, problem, provisioning, serving, sign_up


async def all_served(tenants: list[Tenant], *apis: Client) -> None:
    """Check that each tenant is served by each API."""
    for api in apis:
        for tenant in tenants:
            answer = await api.get("/users", headers=tenant.headers)
            assert answer.status_code == 200, (tenant.slug, answer.text)


async def test_two_releases_side_by_side_there_and_back(
    config: Settings, owner: asyncpg.Connection, as_operator: dict[str, str], tmp_path: Path
) -> None:
    newer = release(config, tmp_path, SCRIPT)
    async with serving(config) as before:
        async with provisioning(config):
            tenants = [await sign_up(before, slug) for slug in ("bakery", "florist")]
            async with provisioning(newer):  # beside the one of the version before; either takes a sign-up
                tenants += [await sign_up(before, f"during{number}") for number in range(4)]
                await all_served(tenants, before)
        async with provisioning(newer), serving(newer) as after:
            tenants.append(await sign_up(before, "later"))
            await all_served(tenants, before, after)
            assert await moved(owner) >= 1
            problem(
                await Fleet(before, as_operator).asks(target="r1"), 400, "validation"
            )  # it does not know it
            fleet = Fleet(after, as_operator)
            await fleet.becomes(await fleet.begins(target="head"), "finished")
            assert await moved(owner) == len(tenants)
            await all_served(tenants, before, after)
        async with provisioning(config):  # and back: the version before takes over
            tenants.append(await sign_up(before, "again"))
            await all_served(tenants, before)
        await alembic(newer, *("-c", f"{newer.alembic_config}", "-x", "yes=True"), "downgrade", HEAD)
        assert await moved(owner, HEAD) == len(tenants)
        await all_served(tenants, before)
